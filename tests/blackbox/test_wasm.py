"""WebAssembly functions: the example as a user builds it, and the tests' own guest, through the API, a URL and the CLI, in the
node's process (`wasm`) and in one of their own in a sandbox (`wasm-process`)."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

import bombs
import pytest
from conftest import ROLE, ROOT, RUNTIME, eventually, invoke, nothing_is_left, package, process_tree

TARGET = ROOT / "target/guest"
PROVIDED = {"Runtime": "provided.al2023", "Handler": "bootstrap.wasm"}
TIERS = pytest.mark.parametrize("tier", ["wasm", "wasm-process"])


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


def of(tier, **more):
    return {**PROVIDED, "Tags": {"wadi:isolation": tier}, **more}


def event(path, query=""):
    return {"version": "2.0", "rawPath": path, "rawQueryString": query, "headers": {}, "requestContext": {"http": {"method": "GET"}}}


def below(node, verb):
    """The processes below a node that are its program with this verb."""
    found = []
    for pid in process_tree(node.process.pid):
        with contextlib.suppress(OSError):
            if verb in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def workers(node):
    """Those that run components."""
    return below(node, b"wasm-worker")


def compilers(node):
    return below(node, b"component-compiler")


def begun(lam, name, content, tier):
    """A function is created of this component, which is then to be compiled."""
    lam.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": package(**{"bootstrap.wasm": content})}, **of(tier))


def settled(lam, name, seconds=150):
    got = eventually(lambda: (c := lam.get_function_configuration(FunctionName=name))["State"] != "Pending" and c, seconds)
    return got["State"], got.get("StateReasonCode", ""), got.get("StateReason", "")


def resident(node):
    return int(pathlib.Path(f"/proc/{node.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


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


@TIERS
def test_events(shared, function, guest, tier):
    lam = shared.client("lambda", read_timeout=60)
    name = function(package(**{"bootstrap.wasm": guest("http")}), **of(tier), Timeout=2, Environment={"Variables": {"STAGE": "test"}})
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
    # What is written is the function's log, between START and END of its own run.
    r = lam.invoke(FunctionName=name, Payload=json.dumps(event("/log")), LogType="Tail")
    lines = base64.b64decode(r["LogResult"]).decode().splitlines()
    at = [next(i for i, line in enumerate(lines) if line.startswith(word)) for word in ("START", "said", "complained", "END", "REPORT")]
    assert at == sorted(at), lines


@TIERS
def test_the_network_none(shared, function, guest, tier):
    """Not even the platform; and its own Runtime API, where there is one, is none of a component's."""
    lam = shared.client("lambda")
    name = function(package(**{"bootstrap.wasm": guest("http")}), **of(tier), VpcConfig={"SecurityGroupIds": ["sg-none"]})
    for place in ("127.0.0.1:4566/_wadi/health", "127.0.0.1:9001/2018-06-01/ping"):
        got, _ = invoke(lam, name, event("/fetch", place))
        assert "HttpRequestDenied" in got["body"], got
    assert invoke(lam, name, event("/connect", "127.0.0.1:9001"))[0]["body"] == "permission denied"


@TIERS
def test_commands(shared, function, guest, tier):
    lam = shared.client("lambda")
    name = function(package(**{"bootstrap.wasm": guest("command"), "data.txt": "x"}), **of(tier))
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


@TIERS
def test_what_cannot_run_says_so(own, tier):
    lam = own.start().client("lambda")
    for name, content, expect in [
        ("wasm-core", b"\0asm\x01\0\0\0", "a core WebAssembly module, not a component"),
        ("wasm-empty", b"\0asm\x0d\0\x01\0", "it exports nothing, and a function exports wasi:http/incoming-handler@0.2"),
        ("wasm-text", b"hello, world", "it is not WebAssembly"),
    ]:
        lam.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": package(**{"bootstrap.wasm": content})}, **of(tier))
        try:
            got = eventually(lambda: (c := lam.get_function_configuration(FunctionName=name))["State"] != "Pending" and c)
            assert (got["State"], got["StateReasonCode"]) == ("Failed", "InvalidZipFileException")
            assert got["StateReason"].startswith("bootstrap.wasm cannot run: ") and expect in got["StateReason"], got
        finally:
            lam.delete_function(FunctionName=name)


def test_a_url_of_workers(shared, function, guest, url):
    """The request comes whole, as an event; the response goes out as it is made, where the URL streams."""
    lam = shared.client("lambda")
    name = function(package(**{"bootstrap.wasm": guest("http")}), **of("wasm-process"), Timeout=20)
    host = url(name)
    assert ask(shared, host, "/count", bytes(range(256)) * 4096).read() == str(1 << 20).encode()
    assert ask(shared, host, "/stream").read() == b"piece 0\npiece 1\npiece 2\n"
    assert (ask(shared, host, "/status?418").status, ask(shared, host, "/panic").status) == (418, 502)
    assert ask(shared, host, "/", bytes(5 << 20)).status == 413
    lam.update_function_url_config(FunctionName=name, InvokeMode="RESPONSE_STREAM")
    response = ask(shared, host, "/stream")
    started = time.time()
    assert (response.status, response.readline()) == (200, b"piece 0\n")
    first = time.time() - started
    assert response.read() == b"piece 1\npiece 2\n" and time.time() - started > first + 0.15
    assert (ask(shared, host, "/status?418").status, ask(shared, host, "/panic").status) == (418, 502)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        ask(shared, host, "/half").read()
    assert ask(shared, host, "/env?AWS_LAMBDA_FUNCTION_NAME").read() == name.encode()
    streamed = lam.invoke_with_response_stream(FunctionName=name, Payload=b'{"a":1}')["EventStream"]
    text = b"".join(e["PayloadChunk"]["Payload"] for e in streamed if "PayloadChunk" in e).decode()
    assert text.startswith("Method::Post / ") and text.endswith('\n{"a":1}')


def test_a_worker_has_one_call_whatever_the_function_says(own, guest):
    """Several calls at once in one instance are nothing for a worker: each has its own, and waits for no other."""
    lam = own.start().client("lambda", read_timeout=60)
    zipped = {"ZipFile": package(**{"bootstrap.wasm": guest("http")})}
    tags = {"wadi:isolation": "wasm-process", "wadi:concurrency": "4"}
    lam.create_function(FunctionName="f", Role=ROLE, Code=zipped, **{**of("wasm-process", Timeout=20), "Tags": tags})
    lam.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1})
    assert invoke(lam, "f", event("/env", "AWS_LAMBDA_MAX_CONCURRENCY"))[0]["body"] == ""
    answers = []
    call = lambda: answers.append(invoke(lam, "f", event("/stream"))[0]["statusCode"])
    threads = [threading.Thread(target=call) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert answers == [200, 200] and len(workers(own)) == 2


def test_workers_are_instances(own, guest, tmp_path):
    """They are kept, end with their run's time, are replaced when they are killed, and leave nothing behind."""
    lam = own.start().client("lambda", read_timeout=60)
    zipped = {"ZipFile": package(**{"bootstrap.wasm": guest("http")})}
    # What would steer a program of the machine's steers no worker.
    env = {"Variables": {"LD_PRELOAD": "/var/task/none.so", "LD_DEBUG": "all"}}
    lam.create_function(FunctionName="f", Role=ROLE, Code=zipped, **of("wasm-process"), Timeout=2, Environment=env)
    lam.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1})
    assert workers(own) == []
    say = lambda path, query="": invoke(lam, "f", event(path, query))[0]
    assert say("/env", "LD_PRELOAD")["body"] == "/var/task/none.so"
    first = workers(own)
    assert len(first) == 1 and say("/env")["statusCode"] == 200 and workers(own) == first
    # A fault of the component's is one of its instance, which the worker outlives.
    assert say("/panic")["errorType"] == "Runtime.ExitError" and say("/env")["statusCode"] == 200 and workers(own) == first
    os.kill(first[0], signal.SIGKILL)
    # A call that comes before the node knows may still be handed to it.
    answers = [say("/env"), say("/env")]
    assert answers[0].get("errorType") in (None, "Runtime.ExitError")
    assert answers[1]["statusCode"] == 200 and workers(own) != first
    assert say("/loop")["errorType"] == "Sandbox.Timedout"
    eventually(lambda: workers(own) == [])
    assert say("/env")["statusCode"] == 200
    runs = eventually(lambda: (r := own.get("/_wadi/api/invocations", function="f")["Invocations"]) and len(r) == 7 and r)
    assert {r["Start"] for r in runs} == {"cold", "warm"}, runs
    pids = process_tree(own.process.pid)
    own.stop()
    nothing_is_left(own, pids)


def test_which_tier(own, guest, tmp_path):
    """A node whose components have processes of their own gives them to all, and nobody a lesser wall."""
    own.flags += ["--component-isolation", "wasm-process"]
    lam = own.start().client("lambda")
    component, python = package(**{"bootstrap.wasm": guest("http")}), package(app="def handler(event, context): return 1")
    in_python = {"Runtime": RUNTIME, "Handler": "app.handler"}

    def make(name, code, **config):
        lam.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": code}, **config)
        got = eventually(lambda: (c := lam.get_function_configuration(FunctionName=name))["State"] != "Pending" and c)
        return got["State"], got.get("StateReason", "")

    assert make("usual", component, **PROVIDED)[0] == "Active"
    assert invoke(lam, "usual", event("/env"))[0]["statusCode"] == 200 and len(workers(own)) == 1
    for name, code, config, reason in [
        ("less", component, of("wasm"), "The isolation `wasm` is less than this node's components have to have"),
        ("moat", component, of("gvisor"), "WebAssembly components have the isolation `wasm` or `wasm-process`, and not `gvisor`"),
        ("snake", python, {**of("wasm-process"), **in_python}, "The isolation `wasm-process` is one of WebAssembly components, and this function is none"),
    ]:
        state, said = make(name, code, **config)
        assert (state, reason in said) == ("Failed", True), said
    rows = {row["Name"]: row["Detail"] for row in json.loads(own.cli("doctor", "--json").stdout)["Checks"]}
    lam.tag_resource(Resource=lam.get_function_configuration(FunctionName="usual")["FunctionArn"], Tags={"wadi:isolation": "wasm-process"})
    assert "isolation  wasm-process\n" in own.cli("functions", "show", "usual").stdout
    assert rows["isolation: components"].startswith("wasm-process"), rows


@TIERS
def test_a_bomb_is_the_compilers(own, guest, tier):
    """What takes all memory that compiling has is refused, while others are answered and the node grows by nothing."""
    lam = own.start().client("lambda", read_timeout=60)
    begun(lam, "neighbour", guest("http"), tier)
    assert settled(lam, "neighbour")[0] == "Active" and invoke(lam, "neighbour", event("/env"))[0]["statusCode"] == 200
    before, took, most = resident(own), [], 0
    begun(lam, "bomb", bombs.of_memory(), tier)
    while lam.get_function_configuration(FunctionName="bomb")["State"] == "Pending":
        began = time.time()
        assert invoke(lam, "neighbour", event("/env"))[0]["statusCode"] == 200
        took.append(time.time() - began)
        most = max(most, resident(own))
    state, code, reason = settled(lam, "bomb")
    assert (state, code) == ("Failed", "InvalidZipFileException") and "compiling it takes more than 2048 MB of memory" in reason, reason
    assert took and max(took) < 5 and most - before < 64 << 20, (took, before, most)
    assert compilers(own) == []


@TIERS
def test_a_compiler_that_is_killed(own, guest, tier):
    """Its function fails and says why, nothing half is kept, and the next is compiled; what was compiled is not again."""
    lam = own.start().client("lambda", read_timeout=60)
    begun(lam, "killed", bombs.of_time(), tier)
    pid, = eventually(lambda: compilers(own))
    eventually(lambda: "Seccomp:\t2" in pathlib.Path(f"/proc/{pid}/status").read_text())
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert (int(status["CapPrm"], 16), int(status["CapEff"], 16), status["NoNewPrivs"]) == (0, 0, "1"), status
    if os.geteuid() == 0:
        assert set(status["Uid"].split()) == {"2032768"}
    os.kill(pid, signal.SIGKILL)
    state, code, reason = settled(lam, "killed")
    assert (state, code) == ("Failed", "InternalError") and "the component is not compiled: its process was killed" in reason, (code, reason)
    kept = own.data_dir / "components"
    assert list(kept.iterdir()) == []
    begun(lam, "next", guest("http"), tier)
    assert settled(lam, "next")[0] == "Active"
    (was,) = [path.stat().st_ino for path in kept.glob("*.cwasm")]
    begun(lam, "again", guest("http"), tier)
    assert settled(lam, "again")[0] == "Active" and invoke(lam, "again", event("/env"))[0]["statusCode"] == 200
    assert [path.stat().st_ino for path in kept.glob("*.cwasm")] == [was]
