// Greets whoever asks: GET /?name=Ada

import ms from "ms";

const started = Date.now();

export const handler = async (event, context) => {
  const name = event.queryStringParameters?.name ?? "world";
  console.log(`greeting ${name}`);
  return {
    statusCode: 200,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ hello: name, from: context.functionName, up: ms(Date.now() - started) }),
  };
};
