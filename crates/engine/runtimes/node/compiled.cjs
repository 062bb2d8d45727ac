// V8's compiled code of a function's CommonJS modules, kept for the next instances of its version: in the place of
// `Module.prototype._compile`, for modules of the package, its layers and the SDK, which never change, and only as long as
// nobody else has put something between the files and their compilation.

"use strict";

const Module = require("node:module");
const path = require("node:path");
const vm = require("node:vm");

const PLACES = ["/var/task/", "/opt/", "/var/runtime/node_modules/"];
const BYTES_MAX = 32 * 1024 * 1024;

function requireOf(module) {
  const require = (id) => module.require(id);
  require.resolve = (request, options) => Module._resolveFilename(request, module, false, options);
  require.resolve.paths = (request) => Module._resolveLookupPaths(request, module);
  return Object.assign(require, { main: process.mainModule, extensions: Module._extensions, cache: Module._cache });
}

/** Has modules compiled with what `dataOf` has for them; `compiled` gets each. */
function hook(dataOf, compiled) {
  const plain = Module.prototype._compile;
  const extensions = { ...Module._extensions };
  const options = { columnOffset: -Module.wrapper[0].length, importModuleDynamically: vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER };
  const isOurs = (filename, format) =>
    (format === undefined || format === "commonjs") &&
    PLACES.some((place) => filename.startsWith(place)) &&
    [".js", ".cjs"].includes(path.extname(filename)) &&
    Object.entries(extensions).every(([name, load]) => Module._extensions[name] === load);
  Module.prototype._compile = function _compile(content, filename, format) {
    // What V8 takes from a cache has lost whom to ask for `import()`.
    if (!options.importModuleDynamically || !isOurs(filename, format) || /\bimport\b/.test(content)) return plain.call(this, content, filename, format);
    let script;
    try {
      script = new vm.Script(Module.wrap(content), { ...options, filename, cachedData: dataOf(filename) });
    } catch {
      // An ES module, or an error that is Node's to tell.
      return plain.call(this, content, filename, format);
    }
    compiled(filename, script);
    return script.runInThisContext().call(this.exports, this.exports, requireOf(this), this, filename, path.dirname(filename));
  };
}

/** Compiles with what an earlier instance has made: `[length of index][index: name → [offset, length]][data …]`. */
exports.use = (kept) => {
  const begin = 4 + kept.readUInt32LE(0);
  const index = new Map(Object.entries(JSON.parse(kept.toString("utf8", 4, begin))));
  const dataOf = (filename) => {
    const [at, length] = index.get(filename) ?? [];
    return length === undefined ? undefined : kept.subarray(begin + at, begin + at + length);
  };
  hook(dataOf, () => {});
};

/** Compiles as ever. Returns what gives, after the initialisation, the bytes to keep; none if they are too many. */
exports.make = () => {
  const scripts = new Map();
  hook(() => undefined, (filename, script) => scripts.set(filename, script));
  return () => {
    const [index, parts] = [{}, []];
    let bytes = 0;
    for (const [filename, script] of scripts) {
      const data = script.createCachedData();
      index[filename] = [bytes, data.length];
      parts.push(data);
      bytes += data.length;
    }
    scripts.clear();
    const head = Buffer.from(JSON.stringify(index));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(head.length);
    return bytes > 0 && bytes + head.length < BYTES_MAX ? Buffer.concat([length, head, ...parts]) : undefined;
  };
};
