"""Responses that stream: InvokeWithResponseStream read by botocore, function URLs on a raw socket, and a runtime of one's
own. That something arrives early is shown by cause: the handler goes on only when what it waits for has happened, and
that happens only when the client has what it waited for."""

import base64
import http.client
import json
import socket
import uuid

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import eventually, invoke, package
from test_nodejs import pytestmark as needs_node, node

# `passed()` comes back when an object is there: the test puts it when it has seen enough.
WAIT = """
import http from "node:http";
import { once } from "node:events";
const { hostname, port } = new URL(process.env.AWS_ENDPOINT_URL);
const get = (path) => new Promise((resolve, reject) =>
  http.get({ hostname, port, path, headers: { Host: "127.0.0.1:4566" } }, (r) => { r.resume(); resolve(r.statusCode); }).on("error", reject));
export const passed = async (path) => { while ((await get(path)) !== 200) await new Promise((r) => setTimeout(r, 20)); };
"""

HANDLER = """
import { passed } from "./wait.mjs";
export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
  const asked = event.rawPath ? { ...event.queryStringParameters, wait: event.body } : event;
  if (asked.fail === "before") throw new TypeError("not at all");
  if (asked.type) stream.setContentType(asked.type);
  if (asked.http) stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { "Content-Type": "text/event-stream", "X-Own": "1" }, cookies: ["a=1", "b=2"] });
  stream.write("data: first\\n\\n");
  if (asked.wait) await passed(asked.wait);
  if (asked.fail === "throw") throw new RangeError("halfway: " + "é".repeat(Number(asked.long ?? 0)));
  if (asked.fail === "uncaught") setTimeout(() => { throw new Error("nobody catches this"); });
  if (asked.fail === "exit") setTimeout(() => process.exit(7), 100);
  if (asked.fail === "late" || asked.fail === "uncaught" || asked.fail === "exit") await new Promise((r) => setTimeout(r, 60000));
  if (asked.fail === "never") return;
  for (let sent = 0, piece = Buffer.alloc(1 << 20, "x"); sent < Number(asked.mb ?? 0); sent++) {
    if (!stream.write(piece)) await new Promise((r) => stream.once("drain", r));
  }
  stream.write({ "json": true });
  stream.end("data: last\\n\\n");
  if (asked.after) { await passed(asked.after); console.log("after all"); }
});
"""


def gates(shared, count=1):
    """[(path that the handler polls, what lets it pass)]"""
    s3 = shared.client("s3", s3={"addressing_style": "path"})
    bucket = f"gates-{uuid.uuid4()}"
    s3.create_bucket(Bucket=bucket)
    inside = boto3.client("s3", endpoint_url="http://127.0.0.1:4566", region_name="us-east-1", aws_access_key_id="test",
                          aws_secret_access_key="test", config=Config(s3={"addressing_style": "path"}, signature_version="s3v4"))

    def gate(key):
        url = inside.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})
        return url.removeprefix("http://127.0.0.1:4566"), lambda: s3.put_object(Bucket=bucket, Key=key, Body=b"")

    return [gate(str(n)) for n in range(count)]


@pytest.fixture
def streaming(shared, function):
    if needs_node.args[0]:
        pytest.skip(needs_node.kwargs["reason"])
    return node(function, {"index.mjs": HANDLER, "wait.mjs": WAIT}, Timeout=20)


def stream(shared, name, event, **kw):
    response = shared.client("lambda", read_timeout=60).invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event).encode(), **kw)
    assert (response["StatusCode"], response["ExecutedVersion"]) == (200, "$LATEST")
    assert response["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    return iter(response["EventStream"])


def rest(events):
    """(all chunks joined, InvokeComplete)"""
    *chunks, last = events
    return b"".join(c["PayloadChunk"]["Payload"] for c in chunks), last["InvokeComplete"]


def usage(shared, name):
    return shared.get("/_wadi/api/invocations", function=name)["Invocations"]


LAST = b'{"json":true}data: last\n\n'


def test_the_first_chunk_comes_while_the_handler_runs(shared, streaming):
    for start in ("Init Duration", "REPORT"):
        (path, let_pass), = gates(shared)
        events = stream(shared, streaming, {"wait": path}, LogType="Tail")
        assert next(events) == {"PayloadChunk": {"Payload": b"data: first\n\n"}}
        let_pass()
        body, complete = rest(events)
        assert body == LAST and "ErrorCode" not in complete
        log = base64.b64decode(complete["LogResult"]).decode()
        assert log.startswith("START RequestId: ") and "\nEND RequestId: " in log and start in log
    runs = eventually(lambda: (u := usage(shared, streaming)) and len(u) == 2 and u)
    assert [u["BytesOut"] for u in runs] == [len(b"data: first\n\n" + LAST)] * 2


def test_the_run_is_over_when_the_handler_is(shared, streaming):
    """The response is whole before the handler is; the run goes on, and so do the log and the bill."""
    (path, let_pass), = gates(shared)
    events = stream(shared, streaming, {"after": path}, LogType="Tail")
    body = b""
    while not body.endswith(LAST):
        body += next(events)["PayloadChunk"]["Payload"]
    assert not usage(shared, streaming)
    let_pass()
    assert "after all" in base64.b64decode(next(events)["InvokeComplete"]["LogResult"]).decode()
    assert next(events, None) is None


def test_errors(shared, streaming):
    for event, chunk, code, message in [
        ({"fail": "before"}, b"", "TypeError", "not at all"),
        ({"fail": "throw"}, b"data: first\n\n", "RangeError", "halfway: "),
        ({"fail": "throw", "long": "20000"}, b"data: first\n\n", "RangeError", "halfway: é"),
        ({"fail": "uncaught"}, b"data: first\n\n", "Error", "nobody catches this"),
        ({"fail": "exit"}, b"data: first\n\n", "Runtime.ExitError", "Runtime exited with error: exit status 7"),
        ({"fail": "never"}, b"data: first\n\n", "string", "Response stream is not finished."),
    ]:
        body, complete = rest(stream(shared, streaming, event))
        assert (body, complete["ErrorCode"]) == (chunk, code), complete
        details = json.loads(complete["ErrorDetails"])
        assert details["errorType"] == code and message in details["errorMessage"], details
        assert rest(stream(shared, streaming, {}))[1] == {}, f"after {event}"
    # A plain invocation gets the same as one error, and no piece of the response.
    body, response = invoke(shared.client("lambda"), streaming, {"fail": "throw"})
    assert (response["FunctionError"], body["errorType"]) == ("Unhandled", "RangeError")


def test_the_timeout_is_for_the_whole_run(shared, streaming):
    shared.client("lambda").update_function_configuration(FunctionName=streaming, Timeout=1)
    shared.client("lambda").get_waiter("function_updated_v2").wait(FunctionName=streaming, WaiterConfig={"Delay": 1})
    body, complete = rest(stream(shared, streaming, {"fail": "late"}))
    assert (body, complete["ErrorCode"]) == (b"data: first\n\n", "Sandbox.Timedout")
    assert "Task timed out after 1.00 seconds" in complete["ErrorDetails"]


def test_what_answers_whole_and_what_is_asked_whole(shared, function, streaming):
    lam = shared.client("lambda")
    assert lam.invoke(FunctionName=streaming, Payload=b"{}")["Payload"].read() == b"data: first\n\n" + LAST
    python = function("def handler(event, context):\n    return event['n'] * 'x'")
    body, complete = rest(stream(shared, python, {"n": 3_000_000}))
    assert (body, complete) == (b'"' + b"x" * 3_000_000 + b'"', {})
    body, complete = rest(stream(shared, python, {}))
    assert (body, complete["ErrorCode"]) == (b"", "KeyError") and "stackTrace" in complete["ErrorDetails"]
    dry = lam.invoke_with_response_stream(FunctionName=python, InvocationType="DryRun")
    assert dry["StatusCode"] == 204 and list(dry["EventStream"]) == []
    for name, code in ((python, "ValidationException"), ("nobody", "ResourceNotFoundException")):
        with pytest.raises(ClientError) as refused:
            kind = "RequestResponse" if name == "nobody" else "Event"
            lam.invoke_with_response_stream(FunctionName=name, InvocationType=kind)
        assert refused.value.response["Error"]["Code"] == code


def test_more_than_6_mb_and_more_than_200(shared, streaming):
    body, complete = rest(stream(shared, streaming, {"mb": 32}))
    assert len(body) == (32 << 20) + len(b"data: first\n\n" + LAST) and complete == {}
    assert invoke(shared.client("lambda", read_timeout=60), streaming, {"mb": 7})[0]["errorType"] == "Function.ResponseSizeTooLarge"
    shared.client("lambda").update_function_configuration(FunctionName=streaming, Timeout=120)
    shared.client("lambda").get_waiter("function_updated_v2").wait(FunctionName=streaming, WaiterConfig={"Delay": 1})
    size = 0
    for event in stream(shared, streaming, {"mb": 201}):
        size += len(event.get("PayloadChunk", {}).get("Payload", b""))
        last = event
    assert (size, last["InvokeComplete"]["ErrorCode"]) == (200 << 20, "Function.ResponseSizeTooLarge")


def url_of(shared, name, mode="RESPONSE_STREAM"):
    lam = shared.client("lambda")
    made = lam.create_function_url_config(FunctionName=name, AuthType="NONE", InvokeMode=mode)
    assert (made["InvokeMode"], lam.get_function_url_config(FunctionName=name)["InvokeMode"]) == (mode, mode)
    lam.add_permission(FunctionName=name, StatementId="all", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")
    return made["FunctionUrl"].removeprefix("http://").rstrip("/")


def ask(shared, host, path="/", body=""):
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=30)
    connection.request("POST", path, body, {"Host": host, "Content-Type": "text/plain"})
    return connection.getresponse()


def test_server_sent_events(shared, streaming):
    host = url_of(shared, streaming)
    (path, let_pass), = gates(shared)
    response = ask(shared, host, "/?http=1", path)
    assert (response.status, response.headers["content-type"], response.headers["x-own"]) == (201, "text/event-stream", "1")
    assert response.headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert response.readline() + response.readline() == b"data: first\n\n"
    let_pass()
    assert response.read() == LAST
    response = ask(shared, host, "/?type=text/plain")
    assert (response.status, response.headers["content-type"], response.read()) == (200, "text/plain", b"data: first\n\n" + LAST)
    response = ask(shared, host, "/?fail=before")
    assert (response.status, json.load(response)) == (502, {"Message": "Internal Server Error"})
    response = ask(shared, host, "/?fail=throw")
    assert (response.status, response.headers["content-type"]) == (200, "application/octet-stream")
    with pytest.raises(http.client.IncompleteRead) as broken:
        response.read()
    assert broken.value.partial == b"data: first\n\n"
    lam = shared.client("lambda")
    assert lam.update_function_url_config(FunctionName=streaming, InvokeMode="BUFFERED")["InvokeMode"] == "BUFFERED"
    assert ask(shared, host).status == 502, "what it streams is no reply of a buffered function"


def test_deploy(shared, tmp_path):
    if needs_node.args[0]:
        pytest.skip(needs_node.kwargs["reason"])
    (tmp_path / "index.mjs").write_text(HANDLER)
    (tmp_path / "wait.mjs").write_text(WAIT)
    shared.cli("deploy", str(tmp_path), "--name", "deployed-stream")
    lam = shared.client("lambda")
    assert lam.get_function_url_config(FunctionName="deployed-stream")["InvokeMode"] == "BUFFERED"
    out = shared.cli("deploy", str(tmp_path), "--name", "deployed-stream", "--stream").stdout
    host = out.split("http://")[1].strip().rstrip("/")
    assert ask(shared, host, "/?http=1").read() == b"data: first\n\n" + LAST
    shared.cli("deploy", str(tmp_path), "--name", "deployed-stream")
    assert lam.get_function_url_config(FunctionName="deployed-stream")["InvokeMode"] == "RESPONSE_STREAM", "it stays as it is"
    lam.delete_function(FunctionName="deployed-stream")


def test_a_client_that_goes_away(shared, streaming):
    """The run goes on and is metered; nothing waits for a client that is not there."""
    host = url_of(shared, streaming)
    (path, let_pass), = gates(shared)
    with socket.create_connection(("127.0.0.1", shared.port)) as c:
        request = f"POST /?mb=40 HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\nContent-Length: {len(path)}\r\n\r\n{path}"
        c.sendall(request.encode())
        c.settimeout(30)
        seen = b""
        while b"data: first" not in seen:
            seen += c.recv(65536)
    let_pass()
    run, = eventually(lambda: usage(shared, streaming))
    assert run["BytesOut"] == (40 << 20) + len(b"data: first\n\n" + LAST) and "Error" not in run


RUNTIME = r"""#!/usr/bin/python3 -S
import base64, json, os, socket
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
def ask(request, *parts):
    c = socket.create_connection((host, int(port)))
    c.sendall(request.replace("\n", "\r\n").encode() + b"\r\n")
    for part in parts:
        c.sendall(part)
    reply = b""
    while b"\r\n\r\n" not in reply or len(reply.partition(b"\r\n\r\n")[2]) < int(head(reply, "content-length")):
        reply += c.recv(65536)
    return reply
def head(reply, name):
    lines = reply.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return next(l.partition(":")[2].strip() for l in lines if l.lower().startswith(name + ":"))
def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)
while True:
    call = ask("GET /2018-06-01/runtime/invocation/next HTTP/1.1\nHost: x\n")
    id, event = head(call, "lambda-runtime-aws-request-id"), json.loads(call.partition(b"\r\n\r\n")[2])
    mode = event.get("mode", "streaming")
    begin = f"POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\nLambda-Runtime-Function-Response-Mode: {mode}\nContent-Type: text/csv\nTrailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\n"
    end = b"0\r\n"
    if event.get("fail"):
        document = base64.b64encode(json.dumps({"errorType": "Own.Type", "errorMessage": "of my own"}).encode())
        end += b"Lambda-Runtime-Function-Error-Type: Own.Type\r\nLambda-Runtime-Function-Error-Body: " + document + b"\r\n"
    ask(begin, chunk(b"a,b\n"), chunk(b"1,2\n"), end + b"\r\n")
"""


def test_a_runtime_of_ones_own(shared, function):
    name = function(package(bootstrap=RUNTIME), Runtime="provided.al2023", Timeout=10)
    host = url_of(shared, name)
    for _ in range(3):
        assert rest(stream(shared, name, {})) == (b"a,b\n1,2\n", {})
    body, complete = rest(stream(shared, name, {"fail": True}))
    assert (body, complete["ErrorCode"], json.loads(complete["ErrorDetails"])["errorMessage"]) == (b"a,b\n1,2\n", "Own.Type", "of my own")
    body, complete = rest(stream(shared, name, {"mode": "sideways"}))
    assert (body, complete["ErrorCode"]) == (b"", "Runtime.InvalidResponseModeHeader")
    response = ask(shared, host)
    assert (response.status, response.headers["content-type"], response.read()) == (200, "text/csv", b"a,b\n1,2\n")
    runs = eventually(lambda: (u := usage(shared, name)) and len(u) == 6 and u)
    assert len([u for u in runs if u["Start"] == "cold"]) == 2, "an error of the handler's own keeps its instance"
