"""Uploads that run functions, logs, usage: the path of the product."""

import json
import time

import pytest
from conftest import eventually, invoke
from botocore.exceptions import ClientError

COPY = """
import boto3, urllib.parse
s3 = boto3.client("s3")
def handler(event, context):
    for r in event["Records"]:
        bucket, key = r["s3"]["bucket"]["name"], urllib.parse.unquote_plus(r["s3"]["object"]["key"])
        print("copying", key)
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        s3.put_object(Bucket=bucket, Key="out/" + key, Body=body, Metadata={"event": __import__("base64").b64encode(__import__("json").dumps(r).encode()).decode()[:1800]})
"""


def wire_up(node, bucket, arn, **filters):
    lam, s3 = node.client("lambda"), node.client("s3")
    lam.add_permission(FunctionName=arn, StatementId="s3-" + bucket, Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
                       SourceArn=f"arn:aws:s3:::{bucket}", SourceAccount="000000000000")
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [{
        "Id": "n", "LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": k, "Value": v} for k, v in filters.items()]}}}]})


def test_an_upload_runs_a_function(shared, function):
    s3, lam = shared.client("s3"), shared.client("lambda")
    name = function(COPY, MemorySize=256, Timeout=30)
    arn = lam.get_function_configuration(FunctionName=name)["FunctionArn"]
    s3.create_bucket(Bucket="uploads")
    with pytest.raises(ClientError) as e:
        s3.put_bucket_notification_configuration(Bucket="uploads", NotificationConfiguration={"LambdaFunctionConfigurations": [
            {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}]})
    assert "Unable to validate the following destination configurations" in str(e.value)
    wire_up(shared, "uploads", arn, prefix="in/", suffix=".txt")
    for key in ("in/a é+.txt", "in/b.txt", "in/c.jpg", "other/d.txt"):
        s3.put_object(Bucket="uploads", Key=key, Body=key.encode())
    eventually(lambda: s3.list_objects_v2(Bucket="uploads", Prefix="out/")["KeyCount"] == 2)
    assert s3.get_object(Bucket="uploads", Key="out/in/a é+.txt")["Body"].read().decode() == "in/a é+.txt"

    logs = shared.client("logs")
    group = "/aws/lambda/" + name
    events = eventually(lambda: (e := logs.filter_log_events(logGroupName=group)["events"]) and sum("REPORT" in x["message"] for x in e) == 2 and e)
    text = "\n".join(e["message"] for e in events)
    assert "copying in/a é+.txt" in text and "Init Duration: " in text and "Max Memory Used: " in text
    assert [s["logStreamName"] for s in logs.describe_log_streams(logGroupName=group)["logStreams"]]
    found = logs.filter_log_events(logGroupName=group, filterPattern='"copying in/b"')["events"]
    assert len(found) == 1
    stream = events[0]["logStreamName"]
    assert logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"][0]["message"]

    row = eventually(lambda: [f for f in shared.get("/_wadi/api/usage")["Functions"] if f["FunctionName"] == name and f["Invocations"] == 2] or None)
    assert row[0]["ColdStarts"] >= 1 and row[0]["GbSeconds"] > 0 and row[0]["Errors"] == 0


def test_aws_cli(shared, function, tmp_path):
    """The AWS CLI as people type it, `logs tail --follow` included."""
    name = function("def handler(event, context):\n    print('hello from', event)\n    return event\n")
    out = tmp_path / "out.json"
    said = json.loads(shared.aws("lambda", "invoke", "--function-name", name, "--payload", '"cli"', "--cli-binary-format", "raw-in-base64-out", str(out)).stdout)
    assert said["StatusCode"] == 200 and json.loads(out.read_text()) == "cli"
    group = "/aws/lambda/" + name
    eventually(lambda: "hello from cli" in shared.aws("logs", "tail", group, "--since", "10m", "--format", "short").stdout, every=1)
    with shared.aws_start("logs", "tail", group, "--follow", "--format", "short") as follow:
        invoke(shared.client("lambda"), name, "later")
        for line in follow.stdout:
            if "hello from later" in line:
                break
        else:
            raise AssertionError("the line never came")
    (tmp_path / "up.txt").write_text("up")
    shared.aws("s3", "mb", "s3://cli-bucket")
    shared.aws("s3", "cp", str(tmp_path / "up.txt"), "s3://cli-bucket/a/up.txt")
    assert "up.txt" in shared.aws("s3", "ls", "s3://cli-bucket/a/").stdout
    shared.aws("s3", "rb", "--force", "s3://cli-bucket")


def test_logs_api(shared):
    logs = shared.client("logs")
    logs.create_log_group(logGroupName="/mine")
    with pytest.raises(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName="/mine")
    logs.create_log_stream(logGroupName="/mine", logStreamName="s")
    now = int(time.time() * 1000)
    logs.put_log_events(logGroupName="/mine", logStreamName="s", logEvents=[{"timestamp": now + i, "message": f"line {i}"} for i in range(500)])
    read, kw = [], {}
    while True:
        page = logs.get_log_events(logGroupName="/mine", logStreamName="s", startFromHead=True, limit=120, **kw)
        if page["nextForwardToken"] == kw.get("nextToken"):
            break
        read += [e["message"] for e in page["events"]]
        kw = {"nextToken": page["nextForwardToken"]}
    assert read == [f"line {i}" for i in range(500)]
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName="/mine", startTime=now + 100, endTime=now + 399, PaginationConfig={"PageSize": 50})
    assert [e["message"] for p in pages for e in p["events"]] == [f"line {i}" for i in range(100, 400)]
    logs.put_retention_policy(logGroupName="/mine", retentionInDays=7)
    assert logs.describe_log_groups(logGroupNamePrefix="/mine")["logGroups"][0]["retentionInDays"] == 7
    with pytest.raises(logs.exceptions.InvalidParameterException):
        logs.put_retention_policy(logGroupName="/mine", retentionInDays=8)
    logs.delete_log_group(logGroupName="/mine")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.get_log_events(logGroupName="/mine", logStreamName="s")


def test_usage_survives_a_restart(own, tmp_path):
    from conftest import ROLE, package
    own.start()
    lam = own.client("lambda", read_timeout=120)
    lam.create_function(FunctionName="f", Runtime="provided.al2023", Role=ROLE, Handler="x", Code={"ZipFile": package(bootstrap=BOOTSTRAP)})
    lam.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1})
    for i in range(5):
        assert invoke(lam, "f", {"i": i})[0] == {"i": i}
    before = eventually(lambda: (f := own.get("/_wadi/api/usage")["Functions"]) and f[0]["Invocations"] == 5 and f)
    own.stop()
    own.start()
    assert own.get("/_wadi/api/usage")["Functions"] == before
    assert invoke(own.client("lambda"), "f", 7)[0] == 7


BOOTSTRAP = """#!/usr/bin/python3
import os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as r:
        request, body = r.headers["Lambda-Runtime-Aws-Request-Id"], r.read()
    urllib.request.urlopen(urllib.request.Request(api + request + "/response", data=body, method="POST")).read()
"""
