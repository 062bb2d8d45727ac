"""Runtimes that are not ours: the public Rust runtime crate and AWS's own Python client, both as `provided`."""

import subprocess
import sys

import pytest
from conftest import ROLE, ROOT, eventually, invoke, package


def test_rust_lambda_runtime(shared, function):
    subprocess.run(["cargo", "build", "--quiet", "-p", "rust-hello"], cwd=ROOT, check=True)
    name = function(package(bootstrap=(ROOT / "target/debug/bootstrap").read_bytes()), Runtime="provided.al2023", Handler="bootstrap")
    lam = shared.client("lambda")
    got, response = invoke(lam, name, {"name": "Ada"})
    assert got["greeting"] == "Hello, Ada!" and got["request"] == response["ResponseMetadata"]["RequestId"]
    body, response = invoke(lam, name, {})
    assert response["FunctionError"] == "Unhandled" and "has no" in body["errorMessage"]
    assert invoke(lam, name, {"name": "B"})[0]["greeting"] == "Hello, B!"
    eventually(lambda: any("greeting Ada" in e["message"] for e in shared.client("logs").filter_log_events(logGroupName="/aws/lambda/" + name)["events"]))


def test_awslambdaric(shared, function, tmp_path):
    """AWS's own runtime interface client for Python from PyPI, with its native part, as a `provided` package. It runs on
    the system's interpreter, the only one that a `provided` sandbox has."""
    system = subprocess.run(["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True)
    if system.returncode:
        pytest.skip("no /usr/bin/python3")
    version = system.stdout.strip()
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(tmp_path), "--python-version", version,
                    "--only-binary", ":all:", "awslambdaric==4.2.2"], check=True)
    files = {str(f.relative_to(tmp_path)): f.read_bytes() for f in tmp_path.rglob("*") if f.is_file() and "__pycache__" not in f.parts and "." in f.name}
    files["bootstrap"] = "#!/bin/sh\nexec /usr/bin/python3 -m awslambdaric app.handler\n"
    files["app.py"] = "def handler(event, context):\n    if event == 'boom': raise ValueError('boom')\n    return [event, context.aws_request_id]\n"
    name = function(package(**files), Runtime="provided.al2", Handler="app.handler", Timeout=10, Environment={"Variables": {"PYTHONPATH": "/var/task"}})
    lam = shared.client("lambda")
    for i in range(3):
        got, response = invoke(lam, name, i)
        assert got == [i, response["ResponseMetadata"]["RequestId"]], got
    body, response = invoke(lam, name, "boom")
    assert body["errorType"] == "ValueError" and response["FunctionError"] == "Unhandled"


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
