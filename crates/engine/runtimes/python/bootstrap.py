"""Wadi's Python runtime: speaks the Lambda Runtime API and behaves as AWS's managed Python runtimes document it.

Standard library only, Python 3.8 and newer. Runs as `python -u -S -s /var/runtime/bootstrap.pyc`; everything that is
slow to import and not always needed is imported where it is needed.
"""

import sys

# What the interpreter has anyway or gets from C: `json`, `logging`, `socket` and `threading` take longer to import than
# the interpreter takes to start.
import _json
import _socket
import _thread
import builtins
import os
import time
from _frozen_importlib_external import PathFinder

PYTHON = "python%d.%d" % sys.version_info[:2]
# As on AWS: the function, the layers, what the runtime brings; then the standard library.
sys.path[:1] = [
    "/var/task",
    "/opt/python/lib/%s/site-packages" % PYTHON,
    "/opt/python",
    "/var/runtime/site-packages",
]
while "/var/runtime" in sys.path:
    sys.path.remove("/var/runtime")

NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: runtime\r\n\r\n"
TEXT_FRAME = b"\xa5\x5a\x00\x03"
ERROR_FRAME = b"\xa5\x5a\x00\x17"
# Larger bodies are not worth joining with the request that follows them.
JOIN_BYTES_MAX = 64 * 1024
# A call as the Runtime API gives one, and how often a template goes through it.
REHEARSAL = (
    b"HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: -\r\nlambda-runtime-deadline-ms: 1\r\ncontent-length: 36\r\n\r\n"
    b'{"a":[1,2.5,true,null],"b":"\\u00e9"}'
)
REHEARSALS = 40


class Fault(Exception):
    """A failure that is the runtime's to word, not an exception of the handler."""

    def __init__(self, error_type, message, trace=None):
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.trace = trace or []


# --- what the function writes -------------------------------------------------------------------------------------


class Frames:
    """Messages with their bounds, on the descriptor the platform gave, so that many lines stay one event."""

    def __init__(self, fd):
        self.fd = fd
        self.among = None
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self):
        self.lock = _thread.allocate_lock()
        self.owner = None

    def share(self, lock):
        """Other processes write here too, which hold `lock` while they do."""
        self.among = lock

    def write(self, text, kind=TEXT_FRAME):
        data = text.encode("utf-8", "backslashreplace")
        me = _thread.get_ident()
        if self.fd is None or self.owner == me:
            # Not framed, or called again from within (a signal handler, a finaliser): a second frame inside the first
            # would garble both.
            write_all(1, data if data.endswith(b"\n") else data + b"\n")
            return
        head = kind + len(data).to_bytes(4, "big") + (time.time_ns() // 1000).to_bytes(8, "big")
        with self.lock:
            self.owner = me
            try:
                if self.among is None:
                    write_all(self.fd, head + data)
                else:
                    with self.among:
                        write_all(self.fd, head + data)
            finally:
                self.owner = None


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Stream:
    """`sys.stdout` and `sys.stderr`: what is written up to a line's end is one message."""

    LIMIT = 64 * 1024

    def __init__(self, under, frames):
        self._under = under
        self._frames = frames
        self._held = _thread._local()

    def __getattr__(self, name):
        return getattr(self._under, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        return iter(self._under)

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not " + type(text).__name__)
        held = self._held.__dict__
        parts = held.setdefault("parts", [])
        parts.append(text)
        held["size"] = held.get("size", 0) + len(text)
        if text.endswith("\n") or held["size"] > self.LIMIT:
            self.flush()
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        held = self._held.__dict__
        text = "".join(held.get("parts", ()))
        held["parts"], held["size"] = [], 0
        if text:
            self._frames.write(text)


class StandardFirst:
    """Finds modules that AWS's runtime has loaded by the time a function is, and that ours has not: a package's file of
    the same name does not take their place. `logging` is set up when it is loaded."""

    NAMES = ("decimal", "http", "json", "logging", "socket", "threading", "traceback")
    PLACE = [os.path.dirname(os.__file__)]
    # What AWS's runtime brings for functions that take part in being copied, unless they bring it themselves.
    HOOKS = "snapshot_restore_py"

    def __init__(self, frames):
        self.frames = frames

    def find_spec(self, name, path=None, target=None):
        if name == self.HOOKS:
            return PathFinder.find_spec(name) or PathFinder.find_spec(name, ["/var/runtime"])
        if name not in self.NAMES:
            return None
        spec = PathFinder.find_spec(name, self.PLACE)
        if name == "logging" and spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                set_up_logging(module, self.frames)

            spec.loader.exec_module = exec_module
        return spec


# The call that runs.
REQUEST_ID = None
# Modules that a package's file of the same name never replaces.
KEPT = StandardFirst.NAMES + ("__main__",)


def set_up_logging(logging, frames):
    class Handler(logging.Handler):
        def emit(self, record):
            try:
                frames.write(self.format(record))
            except Exception:
                self.handleError(record)

    class RequestId(logging.Filter):
        def filter(self, record):
            record.aws_request_id = REQUEST_ID or ""
            return True

    logging.Formatter.converter = time.gmtime
    handler = Handler()
    handler.setFormatter(
        logging.Formatter(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n", "%Y-%m-%dT%H:%M:%S"
        )
    )
    handler.addFilter(RequestId())
    logging.getLogger().addHandler(handler)


# --- JSON ---------------------------------------------------------------------------------------------------------
#
# AWS's runtime reads and writes JSON by `simplejson`; what that takes beyond `json` is taken here: numbers of `decimal`
# digit for digit, bytes as text, whatever has `_asdict` (named tuples) as an object.


class Scanner:
    """What C's scanner asks of its context: `json.JSONDecoder()`'s."""

    strict = True
    object_hook = object_pairs_hook = array_hook = None
    parse_float, parse_int = float, int
    parse_constant = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}.__getitem__
    memo = {}


SCAN = _json.make_scanner(Scanner)
BLANK = " \t\n\r"


def from_json(data):
    try:
        text = data.decode("utf-8").strip(BLANK)
        value, end = SCAN(text, 0)
        if end == len(text):
            return value
    except (StopIteration, UnicodeDecodeError):
        pass
    # It is not JSON, or not in UTF-8: the library words it.
    import json

    return json.loads(data)


def is_ascii_only():
    """As AWS's runtimes before 3.12, by the name the function asked for."""
    name = os.environ.get("AWS_EXECUTION_ENV", "").rpartition("python3.")[2]
    return int(name) < 12 if name.isdigit() else sys.version_info < (3, 12)


class Encoder:
    def __init__(self):
        self.mark = None
        self.numbers = []

    def text(self, value):
        quote = _json.encode_basestring_ascii if is_ascii_only() else _json.encode_basestring
        encode = _json.make_encoder({}, self.default, quote, None, ": ", ", ", False, False, True)
        text = "".join(encode(plain(value), 0))
        if not self.numbers:
            return text
        # They come in the order in which they were met.
        parts = text.split('"%s"' % self.mark)
        return parts[0] + "".join(number + part for number, part in zip(self.numbers, parts[1:]))

    def default(self, o):
        if isinstance(o, bytes):
            return o.decode("utf-8")
        if callable(getattr(o, "_asdict", None)):
            return plain(o._asdict())
        decimal = sys.modules.get("decimal")
        if decimal is None or not isinstance(o, decimal.Decimal):
            raise TypeError("Object of type %s is not JSON serializable" % o.__class__.__name__)
        if o.is_nan():
            return float("nan")
        if self.mark is None:
            self.mark = "decimal-" + os.urandom(12).hex()
        self.numbers.append(str(o))
        return self.mark


def plain(value):
    """The value as C's encoder takes it: it would write named tuples as arrays, and refuse keys of bytes."""
    stack, seen = [value], set()
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            if any(isinstance(key, bytes) for key in one):
                return rebuilt(value, set())
            inner = one.values()
        elif isinstance(one, (list, tuple)):
            if hasattr(one, "_asdict"):
                return rebuilt(value, set())
            inner = one
        else:
            continue
        if id(one) not in seen:
            seen.add(id(one))
            stack.extend([part for part in inner if isinstance(part, (dict, list, tuple))])
    return value


def rebuilt(value, within):
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) in within:
        raise ValueError("Circular reference detected")
    within.add(id(value))
    try:
        if callable(getattr(value, "_asdict", None)):
            return rebuilt(value._asdict(), within)
        if isinstance(value, dict):
            return {
                key.decode("utf-8") if isinstance(key, bytes) else key: rebuilt(part, within)
                for key, part in value.items()
            }
        return [rebuilt(part, within) for part in value]
    finally:
        within.discard(id(value))


def to_json(value):
    return Encoder().text(value)


# --- the Runtime API ----------------------------------------------------------------------------------------------


class Api:
    """One connection, kept open, spoken to in plain HTTP/1.1."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.address = (host, int(port))
        self.sock = None
        self.held = b""
        self.asked = False

    def connect(self):
        self.sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        self.sock.connect(self.address)
        self.sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self.held = b""

    def fileno(self):
        return -1 if self.sock is None else self.sock.fileno()

    def close(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def send(self, data):
        if self.sock is None:
            self.connect()
        self.sock.sendall(data)

    def next(self):
        """The next call: `(headers, body)`; header names in lower case."""
        if not self.asked:
            self.send(NEXT)
        self.asked = False
        status, headers, body = self.receive()
        if status != 200:
            raise RuntimeError("the Runtime API answered %d: %s" % (status, body.decode("utf-8", "replace")))
        return headers, body

    def post(self, path, body, error_type=None, then_next=False):
        head = "POST /2018-06-01/runtime/%s HTTP/1.1\r\nHost: runtime\r\nContent-Type: application/json\r\n" % path
        if error_type:
            clean = "".join(c for c in error_type if " " <= c <= "~")
            head += "Lambda-Runtime-Function-Error-Type: %s\r\n" % clean
        request = (head + "Content-Length: %d\r\n\r\n" % len(body)).encode("ascii")
        # The next request travels with the answer: one packet and one wait less a call.
        if then_next and len(body) <= JOIN_BYTES_MAX:
            self.send(request + body + NEXT)
            self.asked = True
        else:
            self.send(request)
            self.sock.sendall(body)
        status, _, reply = self.receive()
        if status != 202:
            raise RuntimeError("the Runtime API answered %d: %s" % (status, reply.decode("utf-8", "replace")))

    def receive(self):
        held = self.held
        while True:
            end = held.find(b"\r\n\r\n")
            if end >= 0:
                break
            held += self.more()
        lines = held[:end].decode("utf-8", "replace").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        body = held[end + 4 :]
        if len(body) < length:
            parts, size = [body], len(body)
            while size < length:
                parts.append(self.more())
                size += len(parts[-1])
            body = b"".join(parts)
        self.held = body[length:]
        return int(lines[0].split(" ", 2)[1]), headers, body[:length]

    def more(self):
        data = self.sock.recv(256 * 1024)
        if not data:
            raise ConnectionError("the Runtime API closed the connection")
        return data


# --- what a handler is given --------------------------------------------------------------------------------------


class Record:
    """An object with the given fields, filled from a dictionary."""

    FIELDS = ()

    def __init__(self, values=None):
        for field in self.FIELDS:
            setattr(self, field, (values or {}).get(field))

    def __repr__(self):
        return "%s([%s])" % (type(self).__name__, ",".join("%s=%s" % (f, getattr(self, f)) for f in self.FIELDS))


class CognitoIdentity(Record):
    FIELDS = ("cognito_identity_id", "cognito_identity_pool_id")


class Client(Record):
    FIELDS = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")


class ClientContext(Record):
    FIELDS = ("custom", "env", "client")


class LambdaContext(Record):
    FIELDS = (
        "aws_request_id",
        "log_group_name",
        "log_stream_name",
        "function_name",
        "memory_limit_in_mb",
        "function_version",
        "invoked_function_arn",
        "client_context",
        "identity",
        "tenant_id",
    )

    def __init__(self, headers):
        environ = os.environ
        super().__init__(
            {
                "aws_request_id": headers.get("lambda-runtime-aws-request-id"),
                "log_group_name": environ.get("AWS_LAMBDA_LOG_GROUP_NAME"),
                "log_stream_name": environ.get("AWS_LAMBDA_LOG_STREAM_NAME"),
                "function_name": environ.get("AWS_LAMBDA_FUNCTION_NAME"),
                "memory_limit_in_mb": environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
                "function_version": environ.get("AWS_LAMBDA_FUNCTION_VERSION"),
                "invoked_function_arn": headers.get("lambda-runtime-invoked-function-arn"),
                "tenant_id": headers.get("lambda-runtime-aws-tenant-id"),
            }
        )
        self._deadline_ms = int(headers.get("lambda-runtime-deadline-ms", "0"))
        context = parse_header(headers.get("lambda-runtime-client-context"), "Client Context")
        if isinstance(context, dict):
            self.client_context = ClientContext(context)
            if isinstance(self.client_context.client, dict):
                self.client_context.client = Client(self.client_context.client)
        identity = parse_header(headers.get("lambda-runtime-cognito-identity"), "Cognito Identity") or {}
        self.identity = CognitoIdentity(
            {
                "cognito_identity_id": identity.get("cognitoIdentityId"),
                "cognito_identity_pool_id": identity.get("cognitoIdentityPoolId"),
            }
        )

    def get_remaining_time_in_millis(self):
        return max(self._deadline_ms - int(time.time() * 1000), 0)

    def log(self, message):
        sys.stdout.write(str(message))


def parse_header(text, name):
    if not text:
        return None
    try:
        return from_json(text.encode("utf-8"))
    except ValueError as e:
        raise Fault("Runtime.LambdaContextUnmarshalError", "Unable to parse %s JSON: %s" % (name, e))


# --- errors -------------------------------------------------------------------------------------------------------


def error_document(error, request_id=""):
    if isinstance(error, Fault):
        message, error_type, trace = error.message, error.error_type, error.trace
    else:
        import traceback

        frames = traceback.extract_tb(error.__traceback__)
        mine = 0
        while mine < len(frames) and "/bootstrap.py" in frames[mine].filename:
            mine += 1
        message, error_type = str(error), type(error).__name__
        # As plain tuples, without columns: AWS's traces have no carets.
        kept = [(f.filename, f.lineno, f.name, f.line) for f in (frames[mine:] if mine < len(frames) else frames)]
        trace = traceback.format_list(kept)
    return {"errorMessage": message, "errorType": error_type, "requestId": request_id, "stackTrace": trace}


def log_error(document, frames):
    head = "[ERROR] " + document["errorType"]
    if document["errorMessage"]:
        head += ": " + document["errorMessage"]
    lines = [head, "Traceback (most recent call last):"]
    for entry in document["stackTrace"]:
        for line in entry.splitlines():
            text = line.lstrip(" ")
            # AWS indents with no-break spaces, so that no viewer collapses them.
            lines.append("\u00a0" * (len(line) - len(text)) + text)
    frames.write("\n".join(lines) + "\n", ERROR_FRAME)


# --- the loop -----------------------------------------------------------------------------------------------------


def find_handler(name):
    import importlib

    module_name, dot, function_name = name.rpartition(".")
    if not dot:
        reason = "not enough values to unpack (expected 2, got 1)"
        raise Fault("Runtime.MalformedHandlerName", "Bad handler '%s': %s" % (name, reason))
    if module_name.split(".")[0] in sys.builtin_module_names:
        reason = "Cannot use built-in module %s as a handler module" % module_name
        raise Fault("Runtime.BuiltInModuleConflict", reason)
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as e:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module_name, e))
    except SyntaxError as e:
        trace = ['  File "%s" Line %s\n    %s' % (e.filename, e.lineno, e.text)]
        raise Fault("Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s" % (module_name, e), trace)
    try:
        return getattr(module, function_name)
    except AttributeError:
        reason = "Handler '%s' missing on module '%s'" % (function_name, module_name)
        raise Fault("Runtime.HandlerNotFound", reason)


def run_handler(handler, headers, body):
    context = LambdaContext(headers)
    try:
        event = from_json(body)
    except ValueError as e:
        raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % e)
    result = handler(event, context)
    if isinstance(result, bytes):
        return result
    try:
        return to_json(result).encode("utf-8")
    except Exception as e:
        raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % e)


def main():
    global REQUEST_ID
    # What `site` would have set; functions call exit() and quit().
    builtins.exit = builtins.quit = sys.exit
    fd = os.environ.pop("_LAMBDA_TELEMETRY_LOG_FD", None)
    frames = Frames(int(fd) if fd else None)
    sys.stdout, sys.stderr = Stream(sys.stdout, frames), Stream(sys.stderr, frames)
    sys.meta_path.insert(0, StandardFirst(frames))
    copies, role = None, "instance"
    if sys.argv[1:] == ["base"]:
        copies = load("template")
        role, environment = copies.base(KEPT)
        os.environ.pop("_LAMBDA_TELEMETRY_LOG_FD", None)
    api = Api(os.environ["AWS_LAMBDA_RUNTIME_API"])
    slot, calls = None, int(os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "1"))
    if calls > 1:
        workers = load("workers")
        frames.share(workers.FrameLock())
        slot = workers.start(calls, lambda request_id, reason: fail_call(request_id, reason, frames))

    try:
        handler = find_handler(os.environ["_HANDLER"])
        if role == "template":
            flush()
            call_hooks("before_snapshot")
    except Exception as e:
        fail_init(api, e, frames, told=slot is None or not slot.any_ready())

    flush()
    if slot is not None:
        slot.ready()
    if role == "template":
        reason = copies.obstacle(api.fileno())
        api.post("init/template", to_json({"refused": reason}).encode("utf-8"))
        if reason is None:
            api.close()
            for _ in range(REHEARSALS):
                rehearse(api)
            copies.template(environment)
            api = Api(os.environ["AWS_LAMBDA_RUNTIME_API"])
            try:
                call_hooks("after_restore")
            except Exception as e:
                fail_init(api, e, frames)
            rehearse(api)

    while True:
        headers, body = api.next()
        request_id = REQUEST_ID = headers["lambda-runtime-aws-request-id"]
        if slot is not None:
            slot.begin(request_id)
        trace_id = headers.get("lambda-runtime-trace-id")
        if trace_id:
            os.environ["_X_AMZN_TRACE_ID"] = trace_id
        else:
            os.environ.pop("_X_AMZN_TRACE_ID", None)
        try:
            result = run_handler(handler, headers, body)
        except Exception as e:
            document = error_document(e, request_id)
            flush()
            log_error(document, frames)
            path = "invocation/%s/error" % request_id
            api.post(path, to_json(document).encode("utf-8"), document["errorType"], then_next=True)
        else:
            flush()
            api.post("invocation/%s/response" % request_id, result, then_next=True)
        if slot is not None:
            slot.end()


def rehearse(api):
    """Goes the way of a call without one. A template does so until the interpreter has adapted to it, which would be
    done in each copy else; a copy so that the memory that it takes is its own before a call waits for it."""
    api.held = REHEARSAL
    _, headers, body = api.receive()
    run_handler(lambda event, context: event, headers, body)
    flush()


def fail_init(api, error, frames, told=True):
    """`told` is whether the platform is: one worker of several that cannot initialise itself is no failure of all."""
    document = error_document(error)
    flush()
    log_error(document, frames)
    if told:
        api.post("init/error", to_json(document).encode("utf-8"), document["errorType"])
    sys.exit(1)


def fail_call(request_id, reason, frames):
    """Answers the call of a worker that has ended."""
    message = "RequestId: %s Error: %s" % (request_id, reason)
    frames.write(message + "\n", ERROR_FRAME)
    document = {"errorType": "Runtime.ExitError", "errorMessage": message}
    api = Api(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        api.post("invocation/%s/error" % request_id, to_json(document).encode("utf-8"), document["errorType"])
    except (OSError, RuntimeError):
        # It was answered before, or nobody listens any more.
        pass
    finally:
        api.close()


def load(name):
    """A part of the runtime that few instances load: those that are copied, and those with several workers."""
    from importlib.machinery import SourcelessFileLoader
    from importlib.util import module_from_spec, spec_from_loader

    loader = SourcelessFileLoader("wadi_" + name, "/var/runtime/%s.pyc" % name)
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def call_hooks(when):
    """What the function registered with `snapshot_restore_py`: the last first before, the first first after."""
    hooks = sys.modules.get(StandardFirst.HOOKS)
    if hooks is not None:
        registered = list(getattr(hooks, "get_" + when)())
        for function, args, kwargs in reversed(registered) if when == "before_snapshot" else registered:
            function(*args, **kwargs)


def flush():
    """A function may have replaced the streams; what it left there still goes out."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


if __name__ == "__main__":
    main()
