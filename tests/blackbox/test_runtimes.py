"""Runtimes that are not ours: the public Rust runtime crate and AWS's own Python client, both as `provided`."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROLE, ROOT, RUNTIME, eventually, invoke, package


def test_rust_lambda_runtime(shared, function):
    subprocess.run(["cargo", "build", "--quiet", "--workspace", "--bins", "--tests"], cwd=ROOT, check=True)
    name = function(package(bootstrap=(ROOT / "target/debug/bootstrap").read_bytes()), Runtime="provided.al2023", Handler="bootstrap")
    lam = shared.client("lambda")
    got, response = invoke(lam, name, {"name": "Ada"})
    assert got["greeting"] == "Hello, Ada!" and got["request"] == response["ResponseMetadata"]["RequestId"]
    body, response = invoke(lam, name, {})
    assert response["FunctionError"] == "Unhandled" and "has no" in body["errorMessage"]
    assert invoke(lam, name, {"name": "B"})[0]["greeting"] == "Hello, B!"
    eventually(lambda: any("greeting Ada" in e["message"] for e in shared.client("logs").filter_log_events(logGroupName="/aws/lambda/" + name)["events"]))


@pytest.fixture(scope="module")
def awslambdaric(shared, tmp_path_factory):
    """A layer with AWS's own runtime interface client for Python from PyPI, with its native part, and the bootstrap that
    starts it: on the system's interpreter, the only one that a `provided` sandbox has."""
    system = subprocess.run(["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True)
    if system.returncode:
        pytest.skip("no /usr/bin/python3")
    version, target = system.stdout.strip(), tmp_path_factory.mktemp("awslambdaric")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(target), "--python-version", version,
                    "--only-binary", ":all:", "awslambdaric==4.2.2"], check=True)
    files = {f"python/{f.relative_to(target)}": f.read_bytes() for f in target.rglob("*") if f.is_file() and "__pycache__" not in f.parts and "." in f.name}
    files["bootstrap"] = f"#!/bin/sh\nexport AWS_EXECUTION_ENV=AWS_Lambda_{RUNTIME}\nexec /usr/bin/python3 -m awslambdaric $_HANDLER\n"
    lam = shared.client("lambda")
    layer = lam.publish_layer_version(LayerName="awslambdaric", Content={"ZipFile": package(**files)})["LayerVersionArn"]
    return {"Runtime": "provided.al2023", "Layers": [layer], "Environment": {"Variables": {"PYTHONPATH": "/opt/python"}}}


def test_awslambdaric(shared, function, awslambdaric):
    source = "def handler(event, context):\n    if event == 'boom': raise ValueError('boom')\n    return [event, context.aws_request_id]\n"
    name = function(source, Timeout=10, **awslambdaric)
    lam = shared.client("lambda")
    for i in range(3):
        got, response = invoke(lam, name, i)
        assert got == [i, response["ResponseMetadata"]["RequestId"]], got
    body, response = invoke(lam, name, "boom")
    assert body["errorType"] == "ValueError" and response["FunctionError"] == "Unhandled"


# What handlers return or raise that runtimes may see differently: an expression each, or a statement.
TRICKY = {
    "named tuples": "return [Point(1, Point(2, None)), {'in': Point(b'x', ())}]",
    "decimals": "return [Decimal('1.230'), {'d': Decimal('1E+3')}, Decimal('-0'), Decimal('NaN'), Decimal('-Infinity'), 'decimal-0']",
    "floats": "return [float('nan'), float('inf'), -0.0, 1e300, 0.1]",
    "bytes": "return b'not \\xc3\\xa9 JSON'",
    "bytes within": "return {'b': b'\\xc3\\xa9', b'k': [b'']}",
    "bytes that are no text": "return {'b': b'\\xff'}",
    "keys": "return {1: 'a', 1.5: 'b', None: 'c', True: 'd', 'e': 'é\\u2028\\U0001f600\\x00'}",
    "a tuple as key": "return {(1, 2): 3}",
    "a set": "return {'s': {1}}",
    "a date": "return datetime.datetime(2024, 2, 29)",
    "a generator": "return (i for i in range(3))",
    "an object with _asdict": "return [Row()]",
    "subclasses": "return [Colour.RED, Text('t'), OrderedDict(b=1, a=2), Level.HIGH]",
    "a cycle": "l = []; l.append(l); return l",
    "large numbers": "return [2 ** 70, -1, True]",
    "nothing": "pass",
    "an error": "raise KeyError('ключ')",
    "an error without words": "raise ValueError",
    "an error with a cause": "try: 1 / 0\n    except ZeroDivisionError as e: raise Odd('worse', 2) from e",
    "an error deep down": "return json.loads('{')",
    "an error in a comprehension": "return [1 // n for n in (1, 0)]",
    "an end": "sys.exit(3)",
}
PREAMBLE = """
import collections, datetime, enum, json, sys
from collections import OrderedDict
from decimal import Decimal
Point = collections.namedtuple("Point", "x y")
class Colour(str, enum.Enum): RED = "red"
class Level(enum.IntEnum): HIGH = 3
class Text(str): pass
class Odd(Exception): pass
class Row:
    def _asdict(self): return {"a": Point(1, 2)}
"""
# Modules that cannot be loaded, with their handler's name.
BROKEN = {
    "raises": ("def f(): raise Odd('no')\nclass Odd(Exception): pass\nf()", "app.handler"),
    "imports what is not there": ("import nothing_like_it", "app.handler"),
    "is no Python": ("def handler(e, c)\n    pass", "app.handler"),
    "has no handler": ("x = 1", "app.handler"),
    "is not there": ("x = 1", "other.handler"),
}


def test_results_are_those_of_awss_client(shared, function, awslambdaric):
    """The same handlers on our Python runtime and on AWS's: the same bodies, but for request ids."""
    lam = shared.client("lambda")

    def body(name, payload):
        response = lam.invoke(FunctionName=name, Payload=json.dumps(payload).encode())
        text = response["Payload"].read().decode("utf-8", "surrogateescape").replace(response["ResponseMetadata"]["RequestId"], "ID")
        # The two interpreters are not the same one.
        return response.get("FunctionError"), re.sub(r'File \\"(?!/var/task)[^"]*?([^/"]+\\"), line \d+', r"File \1", text)

    source = PREAMBLE + "".join(f"def case_{i}():\n    {text}\n" for i, text in enumerate(TRICKY.values())) + "def handler(i, c): return globals()[f'case_{i}']()\n"
    ours, theirs = function(source), function(source, Timeout=10, **awslambdaric)
    for i, case in enumerate(TRICKY):
        assert body(ours, i) == body(theirs, i), case
    for case, (source, handler) in BROKEN.items():
        ours, theirs = function(source, Handler=handler), function(source, Handler=handler, Timeout=10, **awslambdaric)
        assert body(ours, 0) == body(theirs, 0), case


def test_a_runtime_that_answers_out_of_turn(shared, function):
    """Answers that come twice, late or broken are refused as the Runtime API documents, and harm no later call."""
    bootstrap = """#!/usr/bin/python3 -S
import http.client, json, os
def call(method, path, body=b"", **headers):
    c = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    c.request(method, "/2018-06-01/runtime/" + path, body, headers)
    r = c.getresponse()
    return r, r.read()
def refusal(*args, **headers):
    r, body = call(*args, **headers)
    return [r.status, json.loads(body)["errorType"]]
seen = []
while True:
    r, event = call("GET", "invocation/next")
    id = r.headers["Lambda-Runtime-Aws-Request-Id"]
    if event == b'"garbage"':
        call("POST", f"invocation/{id}/error", b"\\xff{", **{"Lambda-Runtime-Function-Error-Type": "Own.Type"})
        continue
    seen.append(refusal("POST", "invocation/00000000-0000-4000-8000-000000000000/response", b"1"))
    seen.append(refusal("POST", "init/error", b"{}"))
    seen.append(refusal("GET", "invocation/next"))
    seen.append(refusal("GET", "restore/next"))
    call("POST", f"invocation/{id}/response", json.dumps(seen).encode())
    seen = [refusal("POST", f"invocation/{id}/response", b'"twice"'), refusal("POST", f"invocation/{id}/error", b"{}")]
    if event == b'"late"':
        r, event = call("GET", "invocation/next")
        seen.append(refusal("POST", f"invocation/{id}/response", b'"late"'))
        call("POST", f"invocation/{r.headers['Lambda-Runtime-Aws-Request-Id']}/response", json.dumps(seen).encode())
        seen = []
"""
    name = function(package(bootstrap=bootstrap), Runtime="provided.al2023")
    lam = shared.client("lambda")
    turn = [[400, "InvalidRequestID"], [403, "InvalidStateTransition"], [403, "InvalidStateTransition"], [501, "Runtime.Unsupported"]]

    def twice(seen):
        """A second answer comes out of turn, or, when the next call has been offered meanwhile, with an id that is past."""
        return len(seen) == 2 and all(s in ([403, "InvalidStateTransition"], [400, "InvalidRequestID"]) for s in seen)

    assert invoke(lam, name, 1)[0] == turn
    late = invoke(lam, name, "late")[0]
    assert twice(late[:2]) and late[2:] == turn, late
    third = invoke(lam, name, 3)[0]
    assert twice(third[:2]) and third[2:] == [[400, "InvalidRequestID"]], third
    response = lam.invoke(FunctionName=name, Payload=b'"garbage"')
    assert (response["FunctionError"], response["Payload"].read()) == ("Unhandled", b"\xff{")
    assert invoke(lam, name, 5)[0] == turn


def test_provided_sandboxes(shared, function, tmp_path):
    """A shell script with curl as a bootstrap; what it finds; a layer's bootstrap where the package has none."""
    if not shutil.which("curl", path="/usr/bin:/bin"):
        pytest.skip("no curl")
    script = """#!/bin/sh
set -eu
while true; do
  event=$(curl -sS -D /tmp/headers "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next")
  id=$(sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: *//p' /tmp/headers | tr -d '\\r')
  seen="$event ${HOME-no home} ${TMPDIR-no tmpdir} $(pwd) $(id -u) $0 $_HANDLER $PATH $(touch /var/task/x 2>/dev/null || echo read-only)"
  curl -sS -o /dev/null -d "\\"$seen\\"" "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response"
done
"""
    want = "1 no home no tmpdir /var/task 993 %s app.handler /usr/local/bin:/usr/bin:/bin:/opt/bin read-only"
    lam = shared.client("lambda")
    name = function(package(bootstrap=script), Runtime="provided.al2023", Timeout=10)
    assert invoke(lam, name, 1)[0] == want % "/var/task/bootstrap"
    layer = lam.publish_layer_version(LayerName="shell", Content={"ZipFile": package(bootstrap=script)})["LayerVersionArn"]
    name = function("x = 1", Runtime="provided.al2023", Timeout=10, Layers=[layer])
    assert invoke(lam, name, 1)[0] == want % "/opt/bootstrap"


def test_retired_instances_leave_no_noise(shared, function):
    lam, logs = shared.client("lambda"), shared.client("logs")
    name = function("def handler(e, c): return 0")
    for i in range(1, 6):
        invoke(lam, name, i)
        lam.update_function_code(FunctionName=name, ZipFile=package(app=f"def handler(e, c): return {i}"))
        eventually(lambda: invoke(lam, name)[0] == i)
    messages = lambda: [e["message"] for e in logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]]
    eventually(lambda: sum(m.startswith("INIT_START") for m in messages()) >= 6)
    stray = [m for m in messages() if not m.startswith(("INIT_START", "START", "END", "REPORT"))]
    assert not stray, stray


def test_missing_python_is_named(shared):
    lam = shared.client("lambda")
    try:
        lam.create_function(FunctionName="future", Runtime="python3.15", Role=ROLE, Handler="app.handler", Code={"ZipFile": package(app="def handler(e, c): pass\n")})
    except lam.exceptions.ClientError as e:
        message = e.response["Error"]["Message"]
    else:
        state = eventually(lambda: (c := lam.get_function_configuration(FunctionName="future"))["State"] == "Failed" and c)
        message = state["StateReason"]
        lam.delete_function(FunctionName="future")
    assert f"python3.{sys.version_info.minor}" in message, message
