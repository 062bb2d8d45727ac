// Several calls at once in Wadi's Node.js runtime: each on a connection of its own, all in one thread and one event loop.
//
// A call's id and trace go with it through whatever it awaits, so that its lines bear its id and the AWS SDK sends its trace on.

import { AsyncLocalStorage } from "node:async_hooks";

const storage = new AsyncLocalStorage();

/** The id of the call that runs here. */
export function requestId() {
  return storage.getStore()?.requestId;
}

/** What the AWS SDK asks of a call; functions may keep something of theirs in it. */
function invokeStore() {
  const get = (key) => storage.getStore()?.[key];
  return {
    run: (context, inner) => storage.run(context, inner),
    getContext: () => storage.getStore(),
    hasContext: () => storage.getStore() !== undefined,
    get: (key) => storage.getStore()?.own?.get(key),
    set: (key, value) => {
      const store = storage.getStore();
      if (store) (store.own ??= new Map()).set(key, value);
    },
    getRequestId: () => get("requestId") ?? "-",
    getXRayTraceId: () => get("traceId"),
    getTenantId: () => get("tenantId"),
  };
}

/**
 * Takes up to `calls` calls at once, for ever. `connect` gives a connection, `begin(to, headers, body, next)` runs the handler
 * with a call and calls `next` when it is over. There is always a connection that waits, until there are so many.
 */
export function takeCalls({ calls, connect, begin }) {
  globalThis.awslambda.InvokeStore = invokeStore();
  let lines = 0;
  let waiting = 0;
  const open = () => {
    lines += 1;
    take(connect());
  };
  const take = async (to) => {
    waiting += 1;
    const { headers, body } = await to.next();
    waiting -= 1;
    if (waiting === 0 && lines < calls) open();
    const store = {
      requestId: headers["lambda-runtime-aws-request-id"],
      traceId: headers["lambda-runtime-trace-id"],
      tenantId: headers["lambda-runtime-aws-tenant-id"],
    };
    // Out of the call before, and out of this one when it is over.
    storage.run(store, () => begin(to, headers, body, () => storage.exit(() => take(to))));
  };
  open();
}
