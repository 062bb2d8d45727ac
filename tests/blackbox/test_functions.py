"""The Lambda API as boto3 sees it: the life of a function, its errors, its shapes."""

import base64
import json
import urllib.error
import urllib.request

import pytest
from conftest import ROLE, RUNTIME, eventually, invoke, package

ECHO = "def handler(event, context):\n    return event\n"


def code_of(error):
    return error.value.response["Error"]["Code"]


def test_life_of_a_function(shared):
    lam = shared.client("lambda")
    created = lam.create_function(FunctionName="life", Runtime=RUNTIME, Role=ROLE, Handler="app.handler",
                                  Code={"ZipFile": package(app=ECHO)}, Environment={"Variables": {"AA": "1"}})
    assert created["State"] == "Pending" and created["Version"] == "$LATEST" and created["Timeout"] == 3
    assert created["FunctionArn"] == "arn:aws:lambda:us-east-1:000000000000:function:life"
    lam.get_waiter("function_active_v2").wait(FunctionName="life", WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    assert invoke(lam, "life", {"x": [1, "é"]})[0] == {"x": [1, "é"]}

    lam.update_function_code(FunctionName="life", ZipFile=package(app="def handler(e, c):\n    return 'two'\n"))
    lam.get_waiter("function_updated_v2").wait(FunctionName="life", WaiterConfig={"Delay": 1})
    assert invoke(lam, "life")[0] == "two"
    one = lam.publish_version(FunctionName="life")["Version"]
    assert one == "1"
    lam.update_function_code(FunctionName="life", ZipFile=package(app="def handler(e, c):\n    return 'three'\n"))
    lam.get_waiter("function_updated_v2").wait(FunctionName="life", WaiterConfig={"Delay": 1})
    assert invoke(lam, "life", Qualifier="1")[0] == "two"
    alias = lam.create_alias(FunctionName="life", Name="prod", FunctionVersion="1")
    assert alias["AliasArn"].endswith(":life:prod")
    result, response = invoke(lam, "life:prod")
    assert result == "two" and response["ExecutedVersion"] == "1"
    two = lam.publish_version(FunctionName="life")["Version"]
    lam.update_alias(FunctionName="life", Name="prod", FunctionVersion="1",
                     RoutingConfig={"AdditionalVersionWeights": {two: 0.5}})
    assert {invoke(lam, "life", Qualifier="prod")[0] for _ in range(40)} == {"two", "three"}

    versions = [v["Version"] for v in lam.list_versions_by_function(FunctionName="life")["Versions"]]
    assert versions == ["$LATEST", "1", "2"]
    got = lam.get_function(FunctionName="life")
    with urllib.request.urlopen(got["Code"]["Location"]) as r:
        assert len(r.read()) == got["Configuration"]["CodeSize"]
    lam.delete_function(FunctionName="life")
    with pytest.raises(lam.exceptions.ResourceNotFoundException) as e:
        lam.get_function(FunctionName="life")
    assert e.value.response["Error"]["Message"].startswith("Function not found: arn:aws:lambda:us-east-1:000000000000:function:life")


def test_listing_is_paged(shared, function):
    names = sorted(function(ECHO, name=f"paged-{i:02}", wait=False) for i in range(12))
    pages = list(shared.client("lambda").get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 5}))
    assert [f["FunctionName"] for p in pages for f in p["Functions"] if f["FunctionName"].startswith("paged-")] == names
    assert len(pages) >= 3


def test_context_and_environment(shared, function):
    name = function("""
import os
def handler(event, context):
    import boto3
    return {"env": {k: os.environ.get(k) for k in event}, "name": context.function_name, "left": context.get_remaining_time_in_millis(),
            "arn": context.invoked_function_arn, "id": context.aws_request_id, "mem": context.memory_limit_in_mb,
            "cwd": os.getcwd(), "boto3": boto3.__version__, "uid": os.getuid(), "tmp": open("/tmp/x", "w").write("hi"),
            "client": context.client_context.custom if context.client_context else None}
""", Environment={"Variables": {"GREETING": "hé"}}, MemorySize=256, Timeout=20)
    ctx = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    got, response = invoke(shared.client("lambda"), name, ["GREETING", "AWS_LAMBDA_FUNCTION_NAME", "_HANDLER", "LAMBDA_TASK_ROOT",
                                                           "AWS_REGION", "AWS_EXECUTION_ENV", "TZ", "HOME"], ClientContext=ctx)
    assert "FunctionError" not in response, got
    assert got["env"]["GREETING"] == "hé" and got["env"]["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert got["env"]["_HANDLER"] == "app.handler" and got["env"]["LAMBDA_TASK_ROOT"] == "/var/task" == got["cwd"]
    assert got["env"]["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{RUNTIME}" and got["env"]["AWS_REGION"] == "us-east-1"
    assert got["mem"] in (256, "256") and 0 < got["left"] <= 20000 and got["uid"] != 0 and got["client"] == {"k": "v"}
    assert got["id"] == response["ResponseMetadata"]["RequestId"]


FAILURES = {
    "exception": ("def handler(e, c):\n    raise KeyError('x')\n", "KeyError", "'x'"),
    "import": ("import nothing_such\ndef handler(e, c): pass\n", "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'nothing_such'"),
    "syntax": ("def handler(e, c)\n    pass\n", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
    "no_handler": ("def other(e, c): pass\n", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
    "exit_in_handler": ("import os\ndef handler(e, c):\n    os._exit(3)\n", "Runtime.ExitError", "Error: Runtime exited with error: exit status 3"),
    "exit_in_init": ("import os\nos._exit(4)\n", "Runtime.ExitError", "exit status 4"),
    "too_large": ("def handler(e, c):\n    return 'x' * 7_000_000\n", "Function.ResponseSizeTooLarge", "exceeded maximum allowed payload size (6291556 bytes)"),
    "timeout": ("import time\ndef handler(e, c):\n    time.sleep(30)\n", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
    "out_of_memory": ("def handler(e, c):\n    x = []\n    while True:\n        x.append(bytearray(1 << 20))\n", "Runtime.", "signal: killed"),
    "not_json": ("def handler(e, c):\n    return object()\n", "Runtime.MarshalError", "Unable to marshal response"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_failures_have_aws_shapes_and_the_next_call_is_fine(shared, function, case):
    code, error_type, message = FAILURES[case]
    code = "import os\n" + code
    name = function(code, Timeout=1 if case == "timeout" else 30, MemorySize=128)
    lam = shared.client("lambda", read_timeout=60)
    for _ in range(2):
        body, response = invoke(lam, name, {}, LogType="Tail")
        assert response["StatusCode"] == 200 and response["FunctionError"] == "Unhandled", body
        assert body["errorType"].startswith(error_type), body
        assert message in body["errorMessage"], body
        tail = base64.b64decode(response["LogResult"]).decode()
        assert "REPORT RequestId: " in tail and "Billed Duration: " in tail, tail
    lam.update_function_code(FunctionName=name, ZipFile=package(app=ECHO))
    lam.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert invoke(lam, name, 5)[0] == 5


def test_refusals(shared, function):
    lam = shared.client("lambda")
    good = dict(FunctionName="refused", Runtime=RUNTIME, Role=ROLE, Handler="app.handler", Code={"ZipFile": package(app=ECHO)})
    cases = [
        (dict(Code={"ZipFile": b"not a zip"}), "InvalidParameterValueException", "Could not unzip uploaded file"),
        (dict(Runtime="cobol60"), "ValidationException", "enum value set"),
        (dict(Runtime="nodejs22.x"), "InvalidParameterValueException", "nodejs22.x"),
        (dict(Role="nobody"), "ValidationException", "role"),
        (dict(Environment={"Variables": {"AWS_REGION": "x"}}), "InvalidParameterValueException", "Reserved keys used in this request: AWS_REGION"),
        (dict(Environment={"Variables": {"XX": "y" * 5000}}), "InvalidParameterValueException", "4KB"),
        (dict(MemorySize=40000), "ValidationException", "memorySize"),
        (dict(Code={"S3Bucket": "no-such-bucket-here", "S3Key": "k"}), "InvalidParameterValueException", "NoSuchBucket"),
        (dict(VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}), "InvalidParameterValueException", "VpcConfig"),
    ]
    for change, code, words in cases:
        with pytest.raises(lam.exceptions.ClientError) as e:
            lam.create_function(**{**good, **change})
        error = e.value.response["Error"]
        assert error["Code"] == code and words.lower() in error["Message"].lower(), (change.keys(), error)
    name = function(ECHO, name="taken")
    with pytest.raises(lam.exceptions.ResourceConflictException) as e:
        lam.create_function(**{**good, "FunctionName": name})
    assert e.value.response["Error"]["Message"] == "Function already exist: taken"
    with pytest.raises(lam.exceptions.ClientError) as e:
        lam.invoke(FunctionName=name, Payload=b"{not json")
    assert code_of(e) == "InvalidRequestContentException"
    with pytest.raises(lam.exceptions.ClientError) as e:
        lam.invoke(FunctionName=name, Payload=b'"' + b"x" * 6_300_000 + b'"')
    assert code_of(e) in ("RequestEntityTooLargeException", "RequestTooLargeException", "413")
    with pytest.raises(lam.exceptions.ClientError) as e:
        lam.get_runtime_management_config(FunctionName=name)
    assert "GetRuntimeManagementConfig" in e.value.response["Error"]["Message"]


def test_dry_run_and_concurrency(shared, function):
    lam = shared.client("lambda")
    name = function("import time\ndef handler(e, c):\n    time.sleep(e or 0)\n", Timeout=20)
    assert lam.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    lam.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert lam.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 0
    with pytest.raises(lam.exceptions.TooManyRequestsException) as e:
        invoke(lam, name)
    assert e.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    lam.delete_function_concurrency(FunctionName=name)
    assert "FunctionError" not in invoke(lam, name)[1]


def test_asynchronous_calls_are_retried_twice(shared, function):
    s3 = shared.client("s3")
    s3.create_bucket(Bucket="async-tries")
    name = function("""
import boto3, uuid
def handler(event, context):
    boto3.client("s3").put_object(Bucket="async-tries", Key=f"{event['id']}/{context.aws_request_id}/{uuid.uuid4()}", Body=b"")
    if event["fail"]: raise RuntimeError("no")
""", Timeout=30, MemorySize=256)
    lam = shared.client("lambda")
    for case, fail, tries in (("good", False, 1), ("bad", True, 3)):
        assert invoke(lam, name, {"id": case, "fail": fail}, InvocationType="Event")[1]["StatusCode"] == 202
        seen = eventually(lambda: (k := s3.list_objects_v2(Bucket="async-tries", Prefix=case + "/").get("Contents", []))
                          and len(k) >= tries and k)
        assert len(seen) == tries and len({o["Key"].split("/")[1] for o in seen}) == 1
    lam.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    invoke(lam, name, {"id": "once", "fail": True}, InvocationType="Event")
    eventually(lambda: s3.list_objects_v2(Bucket="async-tries", Prefix="once/")["KeyCount"] == 1)
    dead = eventually(lambda: [e for e in shared.get("/_wadi/api/events/dead")["Events"] if e["Target"].endswith(name)] or None)
    assert len([e for e in dead if e["Attempts"] == 3]) == 1, dead


def test_code_from_a_bucket(shared, function):
    lam, s3 = shared.client("lambda"), shared.client("s3")
    s3.create_bucket(Bucket="code-of-mine")
    s3.put_object(Bucket="code-of-mine", Key="v/1.zip", Body=package(app="def handler(e, c):\n    return 'from the bucket'\n"))
    name = function(ECHO)
    lam.update_function_code(FunctionName=name, S3Bucket="code-of-mine", S3Key="v/1.zip")
    lam.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert invoke(lam, name)[0] == "from the bucket"
    with pytest.raises(lam.exceptions.InvalidParameterValueException) as e:
        lam.update_function_code(FunctionName=name, S3Bucket="code-of-mine", S3Key="v/2.zip")
    assert "NoSuchKey" in e.value.response["Error"]["Message"]


def test_a_package_of_ones_own_wins(shared, function):
    """A boto3 in the package is the one that is imported, not the runtime's."""
    name = function(package(**{"app.py": "import boto3\ndef handler(e, c):\n    return boto3.WHOSE\n", "boto3/__init__.py": "WHOSE = 'mine'\n"}))
    assert invoke(shared.client("lambda"), name)[0] == "mine"


def test_layers_and_tags(shared, function):
    lam = shared.client("lambda")
    layer = lam.publish_layer_version(LayerName="words", Content={"ZipFile": package(python__words="WORD = 'layered'\n")},
                                      CompatibleRuntimes=[RUNTIME])
    assert layer["Version"] >= 1
    name = function("import words, os\ndef handler(e, c):\n    return [words.WORD, os.listdir('/opt')]\n",
                    Layers=[layer["LayerVersionArn"]], Tags={"team": "a"})
    assert invoke(lam, name)[0] == ["layered", ["python"]]
    arn = lam.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    lam.tag_resource(Resource=arn, Tags={"cost": "b"})
    lam.untag_resource(Resource=arn, TagKeys=["team"])
    assert lam.list_tags(Resource=arn)["Tags"] == {"cost": "b"}
    assert [l["LayerName"] for l in lam.list_layers()["Layers"]] == ["words"]


def test_policy(shared, function):
    lam = shared.client("lambda")
    name = function(ECHO, wait=False)
    lam.add_permission(FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
                       SourceArn="arn:aws:s3:::photos", SourceAccount="000000000000")
    policy = json.loads(lam.get_policy(FunctionName=name)["Policy"])
    assert policy["Statement"][0]["Principal"] == {"Service": "s3.amazonaws.com"}
    assert policy["Statement"][0]["Condition"]["ArnLike"] == {"AWS:SourceArn": "arn:aws:s3:::photos"}
    with pytest.raises(lam.exceptions.ResourceConflictException):
        lam.add_permission(FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com")
    lam.remove_permission(FunctionName=name, StatementId="s3")
    with pytest.raises(lam.exceptions.ResourceNotFoundException):
        lam.get_policy(FunctionName=name)


def test_function_url(shared, function):
    lam = shared.client("lambda")
    name = function("""
def handler(event, context):
    if event["rawPath"] == "/plain":
        return "hello"
    if event["rawPath"] == "/boom":
        raise RuntimeError("x")
    return {"statusCode": 201, "headers": {"X-Mine": "yes"}, "cookies": ["a=1", "b=2"], "body": __import__("json").dumps(event)}
""")
    url = lam.create_function_url_config(FunctionName=name, AuthType="NONE", Cors={"AllowOrigins": ["https://a.example"]})["FunctionUrl"]
    assert f".lambda-url.us-east-1.localhost:{shared.port}/" in url
    host = url.split("/")[2]

    def get(path, **headers):
        request = urllib.request.Request(shared.url + path, headers={"Host": host, **headers})
        try:
            return urllib.request.urlopen(request)
        except urllib.error.HTTPError as e:
            return e

    assert get("/").status == 403
    lam.add_permission(FunctionName=name, StatementId="url", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")
    r = get("/a%20b?x=1&x=2&y=%20", Cookie="k=v", **{"User-Agent": "t"})
    event = json.loads(r.read())
    assert r.status == 201 and r.headers["X-Mine"] == "yes" and r.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert event["version"] == "2.0" and event["rawPath"] == "/a%20b" or event["rawPath"] == "/a b"
    assert event["rawQueryString"] == "x=1&x=2&y=%20" and event["queryStringParameters"]["x"] == "1,2"
    assert event["cookies"] == ["k=v"] and event["requestContext"]["http"]["method"] == "GET"
    plain = get("/plain")
    assert plain.read() == b'"hello"' and plain.headers["Content-Type"] == "application/json"
    assert get("/boom").status == 502
    assert get("/plain", Origin="https://a.example").headers["Access-Control-Allow-Origin"] == "https://a.example"
