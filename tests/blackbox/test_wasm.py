"""WebAssembly functions: the example as a user builds it, and the tests' own guest, through the API, a URL and the CLI."""

import base64
import http.client
import json
import subprocess
import threading
import time

import pytest
from conftest import ROLE, ROOT, eventually, invoke, package

TARGET = ROOT / "target/guest"
PROVIDED = {"Runtime": "provided.al2023", "Handler": "bootstrap.wasm"}


def build(directory, name):
    done = subprocess.run(["cargo", "build", "--quiet", "--release", "--target", "wasm32-wasip2", "--target-dir", str(TARGET)],
                          cwd=ROOT / directory, capture_output=True, text=True)
    assert done.returncode == 0, f"`rustup target add wasm32-wasip2` brings the target\n{done.stderr}"
    return (TARGET / "wasm32-wasip2/release" / f"{name}.wasm")


@pytest.fixture(scope="module")
def guest():
    build("crates/sandbox-wasm/tests/guest", "http")
    return lambda name: (TARGET / "wasm32-wasip2/release" / f"{name}.wasm").read_bytes()


@pytest.fixture
def url(shared):
    """Opens a function's URL to everyone; gives (host, port) and the host name to ask for."""
    lam = shared.client("lambda")

    def make(name):
        lam.add_permission(FunctionName=name, StatementId="open", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")
        return lam.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"].split("/")[2]

    return make


def ask(shared, host, path, body=None, method=None, headers=None):
    c = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=30)
    method, headers = method or ("POST" if body is not None else "GET"), {"Host": host, **(headers or {})}
    c.request(method, path, body, headers, encode_chunked="Transfer-Encoding" in headers)
    return c.getresponse()


def test_the_example(shared, tmp_path):
    """`wadi deploy file.wasm`, asked by its URL, invoked by its name, its log read, its usage counted."""
    component = build("examples/wasm-hello", "bootstrap")
    out = json.loads(shared.cli("deploy", str(component), "--name", "wasm-hello", "--json").stdout)
    lam, logs = shared.client("lambda"), shared.client("logs")
    try:
        assert (out["Runtime"], out["State"]) == ("provided.al2023", "Active")
        host = out["FunctionUrl"].split("/")[2]
        response = ask(shared, host, "/x", "Ada")
        assert (response.status, response.getheader("content-type"), response.read()) == (200, "text/plain", b"Hello, Ada!\n")
        request_id = response.getheader("x-amzn-requestid")
        r = lam.invoke(FunctionName="wasm-hello", Payload=b'"Bob"', LogType="Tail")
        assert r["Payload"].read() == b'Hello, "Bob"!\n' and "FunctionError" not in r
        tail = base64.b64decode(r["LogResult"]).decode()
        assert "greeting" in tail and "REPORT RequestId: " + r["ResponseMetadata"]["RequestId"] in tail and "Ada" not in tail
        eventually(lambda: any(f"REPORT RequestId: {request_id}" in e["message"] for e in logs.filter_log_events(logGroupName="/aws/lambda/wasm-hello")["events"]))
        runs = eventually(lambda: [r for r in shared.get("/_wadi/api/invocations", function="wasm-hello")["Invocations"]] or None)
        assert any(r["RequestId"] == request_id for r in runs), runs
    finally:
        lam.delete_function(FunctionName="wasm-hello")


def test_events(shared, function, guest):
    lam = shared.client("lambda", read_timeout=60)
    name = function(package(**{"bootstrap.wasm": guest("http")}), **PROVIDED, Timeout=2, Environment={"Variables": {"STAGE": "test"}})
    event = lambda path, query="": {"version": "2.0", "rawPath": path, "rawQueryString": query, "headers": {}, "requestContext": {"http": {"method": "GET"}}}
    got, _ = invoke(lam, name, event("/env", "STAGE"))
    assert got == {"statusCode": 200, "headers": {}, "body": "test", "isBase64Encoded": False}
    body = lam.invoke(FunctionName=name, Payload=b'{"a":1}')["Payload"].read().decode()
    assert body.startswith("Method::Post / ") and body.endswith('\n{"a":1}')
    for path, error, message in [
        ("/panic", "Runtime.ExitError", "wasm trap: wasm `unreachable` instruction executed"),
        ("/overflow", "Runtime.ExitError", "wasm trap: call stack exhausted"),
        ("/grow", "Runtime.OutOfMemory", "signal: killed"),
        ("/loop", "Sandbox.Timedout", "Task timed out after 2.00 seconds"),
    ]:
        got, r = invoke(lam, name, event(path))
        assert r["FunctionError"] == "Unhandled" and got["errorType"] == error and message in got["errorMessage"], got
    # A function calls the platform, and nothing else.
    got, _ = invoke(lam, name, event("/fetch", "127.0.0.1:4566/_wadi/health"))
    assert got["body"] == "200", got
    got, _ = invoke(lam, name, event("/fetch", f"127.0.0.1:{shared.port}/_wadi/health"))
    assert "HttpRequestDenied" in got["body"], got


def test_commands(shared, function, guest):
    lam = shared.client("lambda")
    name = function(package(**{"bootstrap.wasm": guest("command"), "data.txt": "x"}), **PROVIDED)
    assert invoke(lam, name, {"n": [1, 2]})[0] == {"n": [1, 2]}
    r = lam.invoke(FunctionName=name, Payload=b'"panic"')
    assert "FunctionError" not in r, "a string in JSON is no word of the guest's"


def test_a_url_streams_both_ways(shared, function, guest, url):
    name = function(package(**{"bootstrap.wasm": guest("http")}), **PROVIDED, Timeout=20)
    host = url(name)
    response = ask(shared, host, "/stream")
    started = time.time()
    assert response.readline() == b"piece 0\n"
    first = time.time() - started
    assert response.read() == b"piece 1\npiece 2\n" and time.time() - started > first + 0.15
    large = ask(shared, host, "/count", iter([b"x" * (1 << 20)] * 32), headers={"Transfer-Encoding": "chunked"})
    assert large.read() == str(32 << 20).encode()
    assert ask(shared, host, "/panic").status == 502
    assert ask(shared, host, "/status?418").status == 418
    # A change of the function is seen by the next request, whatever was kept of it.
    lam = shared.client("lambda")
    lam.update_function_configuration(FunctionName=name, Environment={"Variables": {"STAGE": "two"}})
    lam.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert ask(shared, host, "/env?STAGE").read() == b"two"
    lam.remove_permission(FunctionName=name, StatementId="open")
    assert ask(shared, host, "/env?STAGE").status == 403
    lam.delete_function_url_config(FunctionName=name)
    assert ask(shared, host, "/env?STAGE").status == 404


def test_many_at_once_beside_endless_loops(shared, function, guest, url):
    name = function(package(**{"bootstrap.wasm": guest("http")}), **PROVIDED, Timeout=3)
    host = url(name)
    loops = [threading.Thread(target=lambda: ask(shared, host, "/loop").read()) for _ in range(8)]
    [t.start() for t in loops]
    took = []
    for _ in range(20):
        before = time.time()
        assert ask(shared, host, "/", "x").status == 200
        took.append(time.time() - before)
    [t.join() for t in loops]
    assert sorted(took)[10] < 1, took
    assert ask(shared, host, "/loop").status == 502


def test_what_cannot_run_says_so(own):
    lam = own.start().client("lambda")
    for name, content, expect in [
        ("wasm-core", b"\0asm\x01\0\0\0", "a core WebAssembly module, not a component"),
        ("wasm-empty", b"\0asm\x0d\0\x01\0", "it exports nothing, and a function exports wasi:http/incoming-handler@0.2"),
        ("wasm-text", b"hello, world", "it is not WebAssembly"),
    ]:
        lam.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": package(**{"bootstrap.wasm": content})}, **PROVIDED)
        try:
            got = eventually(lambda: (c := lam.get_function_configuration(FunctionName=name))["State"] != "Pending" and c)
            assert (got["State"], got["StateReasonCode"]) == ("Failed", "InvalidZipFileException")
            assert got["StateReason"].startswith("bootstrap.wasm cannot run: ") and expect in got["StateReason"], got
        finally:
            lam.delete_function(FunctionName=name)
