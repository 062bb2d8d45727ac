"""The `wadi` command line as a newcomer meets it."""

import json
import subprocess
import urllib.request

from conftest import ROOT, RUNTIME, WADI, eventually


def test_deploy_invoke_logs_list_usage(shared, tmp_path):
    app = tmp_path / "greeter"
    app.mkdir()
    (app / "app.py").write_text("import greet\ndef handler(event, context):\n    print('seen', event)\n    return greet.hello(event.get('name', 'you'))\n")
    (app / "greet.py").write_text("def hello(n):\n    return 'Hello, ' + n\n")
    out = shared.cli("deploy", str(app), "--runtime", RUNTIME).stdout
    assert "lambda-url" in out
    assert json.loads(shared.cli("invoke", "greeter", "--payload", '{"name": "Ada"}').stdout) == "Hello, Ada"
    (app / "greet.py").write_text("def hello(n):\n    return 'Bye, ' + n\n")
    shared.cli("deploy", str(app), "--runtime", RUNTIME)
    assert json.loads(shared.cli("invoke", "greeter").stdout) == "Bye, you"
    assert "greeter" in shared.cli("list").stdout
    eventually(lambda: "seen" in shared.cli("logs", "greeter").stdout)
    eventually(lambda: any(row["FunctionName"] == "greeter" for row in find_rows(json.loads(shared.cli("usage", "--json").stdout))))
    shared.client("lambda").delete_function(FunctionName="greeter")


def test_the_hello_example(shared):
    """As its README says."""
    shared.cli("deploy", str(ROOT / "examples/hello"), "--name", "hello-example", "--runtime", RUNTIME)
    url = next(row for row in json.loads(shared.cli("list", "--json").stdout) if row["FunctionName"] == "hello-example").get("FunctionUrl") \
        or shared.client("lambda").get_function_url_config(FunctionName="hello-example")["FunctionUrl"]
    with urllib.request.urlopen(urllib.request.Request(shared.url + "/", headers={"Host": url.split("/")[2]})) as r:
        assert r.status == 200 and r.read()
    shared.client("lambda").delete_function(FunctionName="hello-example")


def find_rows(value):
    """The list of rows, wherever the JSON keeps it."""
    if isinstance(value, list):
        return value
    return next(v for v in value.values() if isinstance(v, list))


def test_errors_say_what_to_do(shared, tmp_path):
    failed = shared.cli("invoke", "no-such-function", check=False)
    assert failed.returncode == 1 and "no-such-function" in failed.stderr
    failed = shared.cli("list", env={"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, check=False)
    assert failed.returncode == 1 and "wadi up" in failed.stderr
    failed = shared.cli("deploy", str(tmp_path), check=False)
    assert failed.returncode == 1 and failed.stderr
    open_node = subprocess.run([str(WADI), "up", "--listen", "0.0.0.0:0", "--data-dir", str(tmp_path / "d")], capture_output=True, text=True, timeout=20)
    assert open_node.returncode != 0 and "--credentials root" in open_node.stderr


def test_doctor(shared):
    checks = find_rows(json.loads(shared.cli("doctor", "--json").stdout))
    assert any("python" in json.dumps(c).lower() for c in checks)


def test_demo_twice(shared):
    for _ in range(2):
        done = shared.cli("demo")
        assert "truncated" in done.stdout.lower() and "thumbnails/" in done.stdout, done.stdout
