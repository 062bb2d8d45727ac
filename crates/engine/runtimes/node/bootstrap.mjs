// Wadi's Node.js runtime: speaks the Lambda Runtime API and behaves as AWS's managed Node.js runtimes document it.
//
// Node's own modules only, Node.js 20 and newer. Runs as `node … /var/runtime/index.mjs`.

import { existsSync, readFileSync, readdirSync, writeSync } from "node:fs";
import module, { createRequire } from "node:module";
import net from "node:net";
import path from "node:path";
import { types, format } from "node:util";

const require = createRequire(import.meta.url);
// The runtime that the function asked for, which another version may stand in for.
const MAJOR = Number(/nodejs(\d+)/.exec(process.env.AWS_EXECUTION_ENV ?? "")?.[1] ?? process.versions.node.split(".")[0]);
// From Node.js 24 AWS knows async handlers only.
const ASYNC_ONLY = MAJOR >= 24;
// Larger bodies are not worth joining with the request that follows them.
const JOIN_BYTES_MAX = 64 * 1024;

// --- errors -------------------------------------------------------------------------------------------------------

/** A failure that is the runtime's to word, not an exception of the handler. */
function fault(name) {
  const type = class extends Error {};
  // On the prototype, so that the trace begins with it.
  type.prototype.name = `Runtime.${name}`;
  return type;
}

const ImportModuleError = fault("ImportModuleError");
const HandlerNotFound = fault("HandlerNotFound");
const MalformedHandlerName = fault("MalformedHandlerName");
const UserCodeSyntaxError = fault("UserCodeSyntaxError");
const MalformedStreamingHandler = fault("MalformedStreamingHandler");
const UnhandledPromiseRejection = fault("UnhandledPromiseRejection");
const CallbackHandlerDeprecated = fault("CallbackHandlerDeprecated");
const NodeJsExit = fault("NodeJsExit");

/** Whether it has what an error has, also where it was made in another realm. */
function isError(value) {
  return types.isNativeError(value) || [value?.name, value?.message, value?.stack].every((part) => part && typeof part === "string");
}

/** What the caller of the function gets to see of an error. */
function errorDocument(error) {
  try {
    if (!isError(error)) {
      return { errorType: typeof error, errorMessage: String(error), trace: [] };
    }
    return { errorType: error.name, errorMessage: error.message, trace: error.stack.split("\n") };
  } catch {
    const message = "callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack";
    return { errorType: "handled", errorMessage: message };
  }
}

/** As AWS logs it: with what the function itself has put on the error. */
function logError(head, error) {
  const whole = (_, value) => {
    if (!(value instanceof Error)) return value;
    const fields = { errorType: value.name, errorMessage: value.message, code: value.code, ...value };
    return typeof value.stack === "string" ? { ...fields, stack: value.stack.split("\n") } : fields;
  };
  let text;
  try {
    text = JSON.stringify(error instanceof Error ? error : new Error(error), whole);
  } catch {
    text = JSON.stringify(errorDocument(error));
  }
  console.error(head, "\t" + text);
}

// --- what the function writes -------------------------------------------------------------------------------------

let lastRequestId;
/** The id of the call that runs here. */
let requestId = () => lastRequestId;

/** `console` writes `<time>\t<request id>\t<level>\t<message>`, framed where the platform gave a descriptor for it. */
function setUpConsole() {
  const fd = process.env._LAMBDA_TELEMETRY_LOG_FD;
  delete process.env._LAMBDA_TELEMETRY_LOG_FD;
  const write = fd === undefined ? writeLine : (text, date, mask) => writeFrame(Number(fd), text, date, mask);
  const levels = { trace: ["TRACE", 4], debug: ["DEBUG", 8], info: ["INFO", 12], warn: ["WARN", 16], error: ["ERROR", 20], fatal: ["FATAL", 24] };
  for (const [method, [level, mask]] of Object.entries(levels)) {
    console[method] = (message, ...parts) => {
      const date = new Date();
      write(`${date.toISOString()}\t${requestId()}\t${level}\t${format(message, ...parts)}`, date, mask);
    };
  }
  console.log = console.info;
}

function writeLine(text) {
  process.stdout.write(text.replaceAll("\n", "\r") + "\n");
}

function writeFrame(fd, text, date, mask) {
  const body = Buffer.from(text + "\n");
  const frame = Buffer.allocUnsafe(16 + body.length);
  frame.writeUInt32BE((0xa55a0003 | mask) >>> 0, 0);
  frame.writeUInt32BE(body.length, 4);
  frame.writeBigUInt64BE(BigInt(date.getTime()) * 1000n, 8);
  body.copy(frame, 16);
  for (let written = 0; written < frame.length; ) {
    written += writeSync(fd, frame, written);
  }
}

// --- the Runtime API ----------------------------------------------------------------------------------------------

/** One connection, kept open, spoken to in plain HTTP/1.1. It keeps the process alive only while an answer is due. */
class Api {
  #socket;
  #held = [];
  #heldBytes = 0;
  #due = [];
  #next;

  constructor(address) {
    const [host, port] = address.split(":");
    this.#socket = net.connect({ host, port: Number(port), noDelay: true });
    this.#socket.on("data", (data) => this.#take(data));
    this.#socket.on("error", () => process.exit(1));
    this.#socket.on("close", () => process.exit(1));
    this.#socket.unref();
  }

  /** The next call: `{headers, body}`. */
  async next() {
    const reply = this.#next ?? this.#ask("invocation/next");
    this.#next = undefined;
    return this.#found(await reply);
  }

  /** What a process that was started ahead is to run. */
  async calling() {
    return JSON.parse(this.#found(await this.#ask("init/cell")).body);
  }

  #found(reply) {
    if (reply.status !== 200) throw new Error(`the Runtime API answered ${reply.status}: ${reply.body}`);
    return reply;
  }

  #ask(what) {
    return this.#send(`GET /2018-06-01/runtime/${what} HTTP/1.1\r\nHost: runtime\r\n\r\n`);
  }

  /** Posts an answer. With `thenNext` the request for the next call travels with it: one packet and one wait less. */
  async post(where, body, { errorType, thenNext = false } = {}) {
    let head = `POST /2018-06-01/runtime/${where} HTTP/1.1\r\nHost: runtime\r\nContent-Type: application/json\r\n`;
    if (errorType) {
      head += `Lambda-Runtime-Function-Error-Type: ${String(errorType).replace(/[^ -~]/g, "")}\r\n`;
    }
    const bytes = Buffer.from(body);
    this.#socket.cork();
    const posted = this.#send(`${head}Content-Length: ${bytes.length}\r\n\r\n`, bytes);
    if (thenNext && bytes.length <= JOIN_BYTES_MAX) this.#next = this.#ask("invocation/next");
    this.#socket.uncork();
    await this.#taken(posted);
  }

  /** Sends a part of a request; `callback` is told when the system has taken it. */
  part(pieces, callback) {
    this.#socket.cork();
    for (const piece of pieces) this.#socket.write(piece);
    this.#socket.write("", callback);
    this.#socket.uncork();
  }

  /** Sends the last part of a request and waits until the platform has taken it all. */
  async last(...pieces) {
    await this.#taken(this.#send(...pieces));
  }

  async #taken(posted) {
    const { status, body } = await posted;
    if (status !== 202) throw new Error(`the Runtime API answered ${status}: ${body}`);
  }

  #send(...parts) {
    this.#socket.ref();
    for (const part of parts) this.#socket.write(part);
    return new Promise((resolve) => this.#due.push(resolve));
  }

  #take(data) {
    this.#held.push(data);
    this.#heldBytes += data.length;
    while (this.#due.length > 0) {
      const reply = this.#reply();
      if (!reply) return;
      this.#due.shift()(reply);
    }
    this.#socket.unref();
  }

  #wanted = 0;
  /** A whole reply, if it has come. Pieces are joined only when enough of them are there. */
  #reply() {
    if (this.#heldBytes < this.#wanted || this.#heldBytes === 0) return undefined;
    const held = this.#held.length === 1 ? this.#held[0] : Buffer.concat(this.#held);
    this.#held = [held];
    const end = held.indexOf("\r\n\r\n");
    if (end < 0) return undefined;
    const [first, ...lines] = held.toString("utf8", 0, end).split("\r\n");
    const headers = {};
    for (const line of lines) {
      const colon = line.indexOf(":");
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    this.#wanted = end + 4 + Number(headers["content-length"] ?? 0);
    if (held.length < this.#wanted) return undefined;
    const body = held.toString("utf8", end + 4, this.#wanted);
    this.#held = held.length > this.#wanted ? [held.subarray(this.#wanted)] : [];
    this.#heldBytes = held.length - this.#wanted;
    this.#wanted = 0;
    return { status: Number(first.split(" ")[1]), headers, body };
  }
}

// --- the function's module ----------------------------------------------------------------------------------------

const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");
const HIGH_WATER_MARK = Symbol.for("aws.lambda.runtime.handler.streaming.highWaterMark");

/** What streaming handlers find: `awslambda.streamifyResponse` and `awslambda.HttpResponseStream`. */
function setUpStreaming() {
  const from = (stream, prelude) => {
    stream.setContentType("application/vnd.awslambda.http-integration-response");
    stream._onBeforeFirstWrite = (write) => {
      write(JSON.stringify(prelude));
      write(new Uint8Array(8));
    };
    return stream;
  };
  const streamifyResponse = (handler, options) =>
    Object.assign(handler, { [STREAMING]: "response", [HIGH_WATER_MARK]: options?.highWaterMark });
  globalThis.awslambda = { streamifyResponse, HttpResponseStream: { from } };
}

/** ES modules find packages through NODE_PATH too, as on AWS. Only where there is something to find: before Node.js 22.15
 * the hooks need a thread of their own. */
function setUpImports(isModule) {
  const has = (dir) => {
    try {
      return path.basename(dir) === "node_modules" && readdirSync(dir).length > 0;
    } catch {
      return false;
    }
  };
  const places = (process.env.NODE_PATH ?? "").split(":").filter(has);
  if (places.length === 0) return undefined;
  if (module.registerHooks) return import("/var/runtime/resolve.mjs").then((hooks) => module.registerHooks(hooks.inThread(places)));
  if (isModule) module.register("file:///var/runtime/resolve.mjs", { data: places });
  return undefined;
}

/** Whether the nearest package.json says `"type": "module"`. */
function isInModulePackage(folder) {
  for (; !folder.endsWith("/node_modules"); folder = path.dirname(folder)) {
    try {
      return JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"))?.type === "module";
    } catch (error) {
      if (error.code !== "ENOENT") return false;
    }
    if (folder === "/") return false;
  }
  return false;
}

async function loadModule(root, folder, name) {
  const base = path.resolve(root, folder, name);
  const found = ["", ".js", ".mjs", ".cjs"].find((suffix) => existsSync(base + suffix));
  const isModule = found === ".mjs" || (found === ".js" && isInModulePackage(path.dirname(base)));
  await setUpImports(isModule);
  if (isModule) return import(base + found);
  if (found !== undefined) return require(base + found);
  return require(require.resolve(name, { paths: [root, path.join(root, folder)] }));
}

async function findHandler(root, full) {
  if (full.includes("..")) {
    const advice = "is not a valid handler name. Use absolute paths when specifying root directories in handler names.";
    throw new MalformedHandlerName(`'${full}' ${advice}`);
  }
  const last = path.basename(full);
  const [, name, exported] = /^([^.]*)\.(.*)$/.exec(last) ?? [];
  if (name === undefined) throw new MalformedHandlerName("Bad handler");
  let loaded;
  try {
    loaded = await loadModule(root, full.slice(0, full.indexOf(last)), name);
  } catch (error) {
    if (error instanceof SyntaxError) throw Object.assign(new UserCodeSyntaxError(error), { stack: error.stack });
    if (error?.code === "MODULE_NOT_FOUND") throw new ImportModuleError(error);
    throw error;
  }
  const handler = exported.split(".").reduce((inner, key) => inner && inner[key], loaded);
  if (!handler) throw new HandlerNotFound(`${full} is undefined or not exported`);
  if (typeof handler !== "function") throw new HandlerNotFound(`${full} is not a function`);
  if (handler[STREAMING] && handler[STREAMING] !== "response") {
    throw new MalformedStreamingHandler("Only response streaming is supported.");
  }
  if (ASYNC_ONLY && handler.length >= 3 && !handler[STREAMING]) {
    throw new CallbackHandlerDeprecated(
      "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this function to use a supported handler signature to use Node.js 24 or later. For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.",
    );
  }
  return handler;
}

// --- a call -------------------------------------------------------------------------------------------------------

const api = new Api(process.env.AWS_LAMBDA_RUNTIME_API);
/** What to do when nothing is left that could happen: the answer that waited for it, or that there will be none. */
let whenIdle = () => {};
/** The call that has no answer yet. */
let current;
/** Where several calls run at once: those that have no answer yet, with what to do when nothing is left that could happen. */
let running;
/** Whether there was a call. */
let begun = false;
/** Whether the process ends for an error. */
let ending = false;

/** Says what to do for a call when nothing is left that could happen. */
function onIdle(call, then) {
  if (running) running.set(call, then);
  else whenIdle = then;
}

class Call {
  answered = false;

  constructor(id, { to = api, next = takeCall } = {}) {
    Object.assign(this, { id, to, next });
  }

  /** The first answer counts. */
  #once(answer) {
    if (this.answered) return;
    this.answered = true;
    current = undefined;
    onIdle(this, () => {});
    answer();
  }

  succeed(result) {
    let body;
    try {
      body = JSON.stringify(result === undefined ? null : result) ?? "null";
    } catch {
      this.fail(new Error("Unable to stringify response body"));
      return;
    }
    this.respond(body);
  }

  respond(body) {
    this.#once(() => this.#post("response", body).then(this.next));
  }

  fail(error) {
    this.#once(() => {
      logError("Invoke Error", error);
      const document = errorDocument(error);
      this.#post("error", JSON.stringify(document), document.errorType).then(this.next);
    });
  }

  /** The answer of a process that ends for it. */
  async die(error) {
    this.answered = true;
    const document = errorDocument(error);
    await api.post(`invocation/${this.id}/error`, JSON.stringify(document), { errorType: document.errorType });
  }

  #post(how, body, errorType) {
    return this.to.post(`invocation/${this.id}/${how}`, body, { errorType, thenNext: true });
  }
}

function contextOf(headers) {
  const { env } = process;
  const parsed = (name, shown) => {
    if (headers[name] === undefined) return undefined;
    try {
      return JSON.parse(headers[name]);
    } catch (error) {
      throw new Error(`Cannot parse ${shown} as json: ${error}`);
    }
  };
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  return {
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parsed("lambda-runtime-client-context", "ClientContext"),
    identity: parsed("lambda-runtime-cognito-identity", "CognitoIdentity"),
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    tenantId: headers["lambda-runtime-aws-tenant-id"],
    // The environment has that of one call only.
    ...(running && { xRayTraceId: headers["lambda-runtime-trace-id"] }),
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
}

function exited() {
  return new NodeJsExit(
    "The Lambda runtime client detected an unexpected Node.js exit code. This is most commonly caused by a Promise that was never settled. For more information, see https://nodejs.org/docs/latest/api/process.html#exit-codes",
  );
}

/** Up to Node.js 22: callbacks, `context.done` and its kin, promises; what a plain function returns is nothing. */
function runWithCallback(handler, call, event, headers) {
  const context = contextOf(headers);
  let waits = true;
  Object.defineProperty(context, "callbackWaitsForEmptyEventLoop", { enumerable: true, get: () => waits, set: (value) => (waits = value) });
  const missing = (error) => error === undefined || error === null;
  let called = false;
  const first = (answer) => (...values) => {
    if (called) return;
    called = true;
    answer(...values);
  };
  const done = (error, result) => (missing(error) ? call.succeed(result) : call.fail(error));
  const callback = first((error, result) => {
    // With others beside it the event loop is never empty.
    if (missing(error) && waits && !running) onIdle(call, () => setImmediate(() => call.succeed(result)));
    else done(error, result);
  });
  const succeed = first((result) => done(null, result));
  const fail = first((error) => done(error ?? "handled"));
  const answers = { done: first(done), succeed, fail };
  // Whether the handler may answer later, though it gave no promise: with others beside it, nothing else tells.
  let later = handler.length >= 3;
  for (const [name, answer] of Object.entries(running ? answers : {})) {
    const property = { enumerable: true, configurable: true };
    const set = (value) => Object.defineProperty(context, name, { ...property, writable: true, value });
    Object.defineProperty(context, name, { ...property, get: () => ((later = true), answer), set });
  }
  if (!running) Object.assign(context, answers);
  onIdle(call, () => (types.isAsyncFunction(handler) ? call.fail(exited()) : call.succeed(null)));
  try {
    const result = handler(event(), context, callback);
    if (typeof result?.then === "function") result.then(succeed, fail);
    else if (running && !later) call.succeed(null);
  } catch (error) {
    callback(error);
  }
}

async function runAsync(handler, call, event, headers) {
  onIdle(call, () => call.fail(exited()));
  try {
    call.succeed(await handler(event(), contextOf(headers)));
  } catch (error) {
    call.fail(error);
  }
}

async function runStreaming(handler, call, event, headers) {
  const context = contextOf(headers);
  const waits = { enumerable: true, get: () => call.waits, set: (value) => (call.waits = value) };
  Object.defineProperty(context, "callbackWaitsForEmptyEventLoop", waits);
  onIdle(call, () => (call.answered ? call.over({ waits: false }) : call.fail("Response stream is not finished.")));
  try {
    const result = handler(event(), call.stream, context);
    if (typeof result?.then !== "function") throw "Streaming does not support non-async handlers.";
    if ((await result) !== undefined) console.warn("Streaming handlers ignore return values.");
    await call.finished;
    call.over();
  } catch (error) {
    call.fail(error);
  }
}

let handler;
/** Makes the class of calls of a streaming handler. */
let streamingCalls;
/** That class, where one call runs at a time. */
let StreamingCall;

function takeCall() {
  setImmediate(async () => {
    if (ending) return;
    const { headers, body } = await api.next();
    begun = true;
    lastRequestId = headers["lambda-runtime-aws-request-id"];
    const trace = headers["lambda-runtime-trace-id"];
    if (trace) process.env._X_AMZN_TRACE_ID = trace;
    else delete process.env._X_AMZN_TRACE_ID;
    const event = () => JSON.parse(body);
    if (StreamingCall) {
      current = new StreamingCall(lastRequestId, handler[HIGH_WATER_MARK]);
      runStreaming(handler, current, event, headers);
    } else {
      current = new Call(lastRequestId);
      (ASYNC_ONLY ? runAsync : runWithCallback)(handler, current, event, headers);
    }
  });
}

/** Runs one of several calls. Its connection is `to`; `next` is to be called when it is over. */
function beginBesides(to, headers, body, next) {
  begun = true;
  const id = headers["lambda-runtime-aws-request-id"];
  const over = () => {
    running.delete(call);
    if (!ending) next();
  };
  const event = () => JSON.parse(body);
  let call;
  if (streamingCalls) {
    const Streaming = streamingCalls({ api: to, errorDocument, logError, next: over, idle: (then) => then() });
    call = new Streaming(id, handler[HIGH_WATER_MARK]);
    runStreaming(handler, call, event, headers);
  } else {
    call = new Call(id, { to, next: over });
    (ASYNC_ONLY ? runAsync : runWithCallback)(handler, call, event, headers);
  }
}

/** Up to `calls` calls at once. */
async function takeCalls(calls) {
  const concurrent = await import("/var/runtime/concurrent.mjs");
  requestId = concurrent.requestId;
  running = new Map();
  whenIdle = () => [...running.values()].forEach((then) => then());
  delete process.env._X_AMZN_TRACE_ID;
  let first = api;
  const connect = () => {
    const to = first ?? new Api(process.env.AWS_LAMBDA_RUNTIME_API);
    first = undefined;
    return to;
  };
  concurrent.takeCalls({ calls, connect, begin: beginBesides });
}

// --- a process that is started ahead ------------------------------------------------------------------------------

/**
 * Goes through the start of a function and a call of it once, with a function of ours: so what Node.js loads and compiles for
 * that is there before the function is known. Nothing of it is left that the function could find.
 */
async function rehearse() {
  const handler = await findHandler("/var/runtime", "rehearsal.handler");
  compiled = require("/var/runtime/compiled.cjs");
  for (const name of ["rehearsal", "compiled"]) delete require.cache[`/var/runtime/${name}.cjs`];
  await import("/var/runtime/streaming.mjs");
  const to = { post: async () => {} };
  await new Promise((next) => (ASYNC_ONLY ? runAsync : runWithCallback)(handler, new Call("", { to, next }), () => JSON.parse("{}"), {}));
  whenIdle = () => {};
}

let compiled;
/** Gives the compiled code that the next instances can have, where this one is to make it. */
let harvest = () => undefined;

/** Becomes the process that would have been started for the function with this environment. */
function become({ env, cwd, compile }) {
  for (const name of Object.keys(process.env)) if (!(name in env)) delete process.env[name];
  for (const [name, value] of Object.entries(env)) if (process.env[name] !== value) process.env[name] = value;
  delete process.env._LAMBDA_TELEMETRY_LOG_FD;
  process.chdir(cwd);
  if (compile === "use") compiled.use(readFileSync("/var/runtime/compiled/code"));
  if (compile === "make") harvest = compiled.make();
}

// --- the process --------------------------------------------------------------------------------------------------

/** Tells the platform, whatever the function was doing, and ends. */
async function die(head, error, code) {
  logError(head, error);
  if (ending) return;
  ending = true;
  try {
    if (current) await current.die(error);
    else if (!begun) {
      const document = errorDocument(error);
      await api.post("init/error", JSON.stringify(document), { errorType: document.errorType });
    }
  } finally {
    process.exit(code);
  }
}

setUpConsole();
setUpStreaming();
process.on("uncaughtException", (error) => die("Uncaught Exception", error, 129));
process.on("unhandledRejection", (reason, promise) => {
  const error = Object.assign(new UnhandledPromiseRejection(reason), { reason, promise });
  die("Unhandled Promise Rejection", error, 128);
});
process.on("beforeExit", () => whenIdle());

try {
  if (process.env._WADI_CELL) {
    await rehearse();
    become(await api.calling());
  }
  handler = await findHandler(process.cwd(), process.env._HANDLER);
  if (handler[STREAMING]) {
    ({ streamingCalls } = await import("/var/runtime/streaming.mjs"));
    StreamingCall = streamingCalls({ api, errorDocument, logError, next: takeCall, idle: (then) => (whenIdle = then) });
  }
  const kept = harvest();
  if (kept) await api.post("init/compiled", kept);
  const calls = Number(process.env.AWS_LAMBDA_MAX_CONCURRENCY ?? 1);
  if (calls > 1) await takeCalls(calls);
  else takeCall();
} catch (error) {
  die("Uncaught Exception", error, 129);
}
