"""Wadi's Python runtime: speaks the Lambda Runtime API and behaves as AWS's managed Python runtimes document it.

Standard library only, Python 3.8 and newer. Runs as `python -u -S -s /var/runtime/bootstrap.py`; everything that is
slow to import and not always needed is imported where it is needed.
"""

import sys

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

import builtins
import json
import logging
import os
import socket
import threading
import time

NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: runtime\r\n\r\n"
THIS_FILE = __file__
TEXT_FRAME = b"\xa5\x5a\x00\x03"
ERROR_FRAME = b"\xa5\x5a\x00\x17"
# Larger bodies are not worth joining with the request that follows them.
JOIN_BYTES_MAX = 64 * 1024


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
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self):
        self.lock = threading.Lock()
        self.owner = None

    def write(self, text, kind=TEXT_FRAME):
        data = text.encode("utf-8", "backslashreplace")
        me = threading.get_ident()
        if self.fd is None or self.owner == me:
            # Not framed, or called again from within (a signal handler, a finaliser): a second frame inside the first
            # would garble both.
            write_all(1, data if data.endswith(b"\n") else data + b"\n")
            return
        head = kind + len(data).to_bytes(4, "big") + (time.time_ns() // 1000).to_bytes(8, "big")
        with self.lock:
            self.owner = me
            try:
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
        self._held = threading.local()

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


class LogHandler(logging.Handler):
    def __init__(self, frames):
        super().__init__()
        self.frames = frames

    def emit(self, record):
        try:
            self.frames.write(self.format(record))
        except Exception:
            self.handleError(record)


class RequestId(logging.Filter):
    current = ""

    def filter(self, record):
        record.aws_request_id = RequestId.current
        return True


def set_up_logging(frames):
    logging.Formatter.converter = time.gmtime
    handler = LogHandler(frames)
    handler.setFormatter(
        logging.Formatter(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n", "%Y-%m-%dT%H:%M:%S"
        )
    )
    handler.addFilter(RequestId())
    logging.getLogger().addHandler(handler)


# --- JSON ---------------------------------------------------------------------------------------------------------


class Encoder(json.JSONEncoder):
    """Numbers of `decimal` are written as numbers, digit for digit, by way of a mark that is replaced afterwards."""

    def __init__(self):
        super().__init__(ensure_ascii=sys.version_info < (3, 12))
        self.mark = None
        self.numbers = []

    def default(self, o):
        if isinstance(o, bytes):
            return o.decode("utf-8")
        decimal = sys.modules.get("decimal")
        if decimal is None or not isinstance(o, decimal.Decimal):
            return super().default(o)
        if o.is_nan():
            return float("nan")
        if self.mark is None:
            self.mark = "decimal-" + os.urandom(12).hex()
        self.numbers.append(str(o))
        return "%s-%d-" % (self.mark, len(self.numbers) - 1)

    def text(self, value):
        text = self.encode(value)
        for index, number in enumerate(self.numbers):
            text = text.replace('"%s-%d-"' % (self.mark, index), number, 1)
        return text


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
        self.sock = socket.create_connection(self.address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.held = b""

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
        return json.loads(text)
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
        while mine < len(frames) and (frames[mine].filename == THIS_FILE or "importlib" in frames[mine].filename):
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
        event = json.loads(body)
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
    # What `site` would have set; functions call exit() and quit().
    builtins.exit = builtins.quit = sys.exit
    fd = os.environ.pop("_LAMBDA_TELEMETRY_LOG_FD", None)
    frames = Frames(int(fd) if fd else None)
    sys.stdout, sys.stderr = Stream(sys.stdout, frames), Stream(sys.stderr, frames)
    set_up_logging(frames)
    api = Api(os.environ["AWS_LAMBDA_RUNTIME_API"])

    try:
        handler = find_handler(os.environ["_HANDLER"])
    except Exception as e:
        document = error_document(e)
        flush()
        log_error(document, frames)
        api.post("init/error", to_json(document).encode("utf-8"), document["errorType"])
        sys.exit(1)

    flush()
    while True:
        headers, body = api.next()
        request_id = RequestId.current = headers["lambda-runtime-aws-request-id"]
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


def flush():
    """A function may have replaced the streams; what it left there still goes out."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


if __name__ == "__main__":
    main()
