// Streaming handlers of Wadi's Node.js runtime: a response goes out while it is made, over the connection that everything
// goes over, as chunks of HTTP/1.1; an error in the middle of it follows in the trailers.

import { Writable } from "node:stream";

const ERROR_TYPE = "Lambda-Runtime-Function-Error-Type";
const ERROR_BODY = "Lambda-Runtime-Function-Error-Body";
/** The platform takes 16 KB of trailers; of an error that is longer its trace is left out. */
const ERROR_BYTES_MAX = 10 * 1024;

class InvalidStreamingOperation extends Error {}
InvalidStreamingOperation.prototype.name = "Runtime.InvalidStreamingOperation";

function bytesOf(chunk, encoding) {
  if (typeof chunk === "string") return Buffer.from(chunk, encoding);
  return chunk instanceof Uint8Array ? chunk : Buffer.from(JSON.stringify(chunk) ?? "null");
}

/** What a header may hold. */
function headerValue(text) {
  return String(text).replace(/[^ -~]/g, "");
}

/**
 * The class of calls whose handler streams. `next` takes the next call; `idle` says what to do when nothing is left that
 * could happen.
 */
export function streamingCalls({ api, errorDocument, logError, next, idle }) {
  return class StreamingCall {
    /** Whether the last of the response, or an error, is on its way. */
    answered = false;
    /** `context.callbackWaitsForEmptyEventLoop` */
    waits = true;
    #contentType = "application/octet-stream";
    #begun = false;
    #over = false;

    constructor(id, highWaterMark) {
      this.id = id;
      this.stream = this.#open(highWaterMark);
      this.finished = new Promise((resolve, reject) => {
        this.stream.once("finish", resolve).on("error", reject);
        this.stream.once("close", () => reject("Response stream is not finished."));
      });
      this.finished.catch(() => {});
    }

    /** What the handler writes to. A chunk that is neither text nor bytes is written as JSON. */
    #open(highWaterMark) {
      const stream = new Writable({
        ...(highWaterMark === undefined ? {} : { highWaterMark }),
        write: (chunk, _, callback) => this.#send(chunk, callback),
        writev: (chunks, callback) => this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), callback),
        final: (callback) => this.#end().then(() => callback(), callback),
      });
      const { write, end } = stream;
      let first = true;
      stream.write = (chunk, encoding, callback) => {
        if (typeof encoding === "function") [encoding, callback] = [undefined, encoding];
        const bytes = bytesOf(chunk, encoding);
        if (first) {
          first = false;
          stream._onBeforeFirstWrite?.((before) => write.call(stream, bytesOf(before)));
        }
        return write.call(stream, bytes, callback);
      };
      stream.end = (chunk, encoding, callback) => {
        if (typeof chunk === "function") [chunk, callback] = [undefined, chunk];
        if (typeof encoding === "function") [encoding, callback] = [undefined, encoding];
        if (chunk !== undefined && chunk !== null) stream.write(chunk, encoding);
        return end.call(stream, callback);
      };
      stream.setContentType = (contentType) => {
        if (!first) throw new InvalidStreamingOperation("Cannot set content-type, too late.");
        this.#contentType = headerValue(contentType);
      };
      return stream;
    }

    /** The head of the request, before its first part. */
    #head() {
      if (this.#begun) return "";
      this.#begun = true;
      const lines = [
        `POST /2018-06-01/runtime/invocation/${this.id}/response HTTP/1.1`,
        "Host: runtime",
        `Content-Type: ${this.#contentType}`,
        "Lambda-Runtime-Function-Response-Mode: streaming",
        "Transfer-Encoding: chunked",
        `Trailer: ${ERROR_TYPE}, ${ERROR_BODY}`,
      ];
      return lines.join("\r\n") + "\r\n\r\n";
    }

    #send(bytes, callback) {
      // A chunk without bytes would be the last; after an error nothing follows.
      if (bytes.length === 0 || this.answered) callback();
      else api.part([`${this.#head()}${bytes.length.toString(16)}\r\n`, bytes, "\r\n"], callback);
    }

    async #end() {
      if (this.answered) return;
      this.answered = true;
      await api.last(`${this.#head()}0\r\n\r\n`);
    }

    async fail(error) {
      logError("Invoke Error", error);
      await this.#report(error);
      this.over({ waits: false });
    }

    /** The answer of a process that ends for it. */
    async die(error) {
      await this.#report(error);
    }

    /** Tells the caller, if the response is not over yet: as an error if it has not begun, else in the trailers. */
    async #report(error) {
      if (this.answered) return;
      this.answered = true;
      const document = errorDocument(error);
      if (!this.#begun) {
        await api.post(`invocation/${this.id}/error`, JSON.stringify(document), { errorType: document.errorType });
        return;
      }
      let body = Buffer.from(JSON.stringify(document));
      if (body.length > ERROR_BYTES_MAX) {
        const errorMessage = String(document.errorMessage).slice(0, 1024);
        body = Buffer.from(JSON.stringify({ errorType: document.errorType, errorMessage, trace: [] }));
      }
      const trailers = [
        `${ERROR_TYPE}: ${headerValue(document.errorType).slice(0, 256)}`,
        `${ERROR_BODY}: ${body.toString("base64")}`,
      ];
      await api.last(`0\r\n${trailers.join("\r\n")}\r\n\r\n`);
    }

    /** The handler has ended: at once, or when nothing of it is left in the event loop, the next call may come. */
    over({ waits = this.waits } = {}) {
      if (this.#over) return;
      const take = () => {
        if (this.#over) return;
        this.#over = true;
        idle(() => {});
        next();
      };
      if (waits) idle(take);
      else take();
    }
  };
}
