"""Runtimes that are not ours: the public Rust runtime crate and AWS's own Python client, both as `provided`."""

import pathlib
import subprocess
import sys

from conftest import ROLE, ROOT, RUNTIME_EXECUTABLE, eventually, invoke, package


def test_rust_lambda_runtime(shared, function):
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "rust-hello"], cwd=ROOT, check=True)
    name = function(package(bootstrap=(ROOT / "target/release/bootstrap").read_bytes()), Runtime="provided.al2023", Handler="bootstrap")
    lam = shared.client("lambda")
    got, response = invoke(lam, name, {"name": "Ada"})
    assert got["greeting"] == "Hello, Ada!" and got["request"] == response["ResponseMetadata"]["RequestId"]
    body, response = invoke(lam, name, {})
    assert response["FunctionError"] == "Unhandled" and "has no" in body["errorMessage"]
    assert invoke(lam, name, {"name": "B"})[0]["greeting"] == "Hello, B!"
    eventually(lambda: any("greeting Ada" in e["message"] for e in shared.client("logs").filter_log_events(logGroupName="/aws/lambda/" + name)["events"]))


def test_awslambdaric(shared, function):
    """AWS's runtime interface client for Python from PyPI, with its native part, in a package of ours."""
    import awslambdaric
    site = pathlib.Path(awslambdaric.__file__).parents[1]
    files = {"bootstrap": f"#!/bin/sh\nexec {RUNTIME_EXECUTABLE} -m awslambdaric app.handler\n",
             "app.py": "import os\ndef handler(event, context):\n    print('in ric')\n    if event == 'boom': raise ValueError('boom')\n    return [event, context.aws_request_id]\n"}
    for pattern in ("awslambdaric/**/*", "runtime_client*.so", "snapshot_restore_py/**/*", "simplejson/**/*"):
        for f in site.glob(pattern):
            if f.is_file() and "__pycache__" not in f.parts:
                files[str(f.relative_to(site))] = f.read_bytes()
    name = function(package(**files), Runtime="provided.al2", Handler="app.handler", Timeout=10)
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
