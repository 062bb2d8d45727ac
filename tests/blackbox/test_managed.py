"""Several calls at once in one instance: capacity providers and functions on them through boto3, the tag `wadi:concurrency`, and
what becomes of calls whose neighbours time out, fail or end the process that they share."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from conftest import ROLE, RUNTIME, eventually, invoke, package
from test_api import refused
from test_nodejs import RUNTIME as NODEJS
from test_nodejs import pytestmark as needs_node

PROVIDER = {
    "VpcConfig": {"SubnetIds": ["subnet-0a"], "SecurityGroupIds": ["sg-0a"]},
    "PermissionsConfig": {"CapacityProviderOperatorRoleArn": ROLE},
}
CALLS = 20

# Each handler takes {"sleep": s, "then": "exit"}, and says in which process and instance it ran.
PYTHON = """
import os, sys, time
print("a worker is initialised")
def handler(event, context):
    print("begins", context.aws_request_id)
    time.sleep(event.get("sleep", 0))
    if event.get("then") == "exit":
        os._exit(7)
    if event.get("then") == "raise":
        raise ValueError("no")
    return {"id": context.aws_request_id, "process": os.getpid(), "instance": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"],
            "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "calls": os.environ["AWS_LAMBDA_MAX_CONCURRENCY"]}
"""
NODE = """
const { setTimeout: sleep } = require("node:timers/promises");
const e = process.env;
exports.handler = async (event, context) => {
  console.log("begins", context.awsRequestId);
  await sleep((event.sleep ?? 0) * 1000);
  if (event.then === "exit") process.exit(7);
  if (event.then === "raise") throw new RangeError("no");
  console.log("ends", context.awsRequestId);
  return { id: context.awsRequestId, process: process.pid, instance: e.AWS_LAMBDA_LOG_STREAM_NAME,
           kind: e.AWS_LAMBDA_INITIALIZATION_TYPE, calls: e.AWS_LAMBDA_MAX_CONCURRENCY };
};
"""
# A runtime of one's own: a thread and a connection for each call.
OWN = """#!/usr/bin/python3 -S
import http.client, json, os, threading, time
e = os.environ
def serve():
    api = http.client.HTTPConnection(e["AWS_LAMBDA_RUNTIME_API"])
    while True:
        api.request("GET", "/2018-06-01/runtime/invocation/next")
        call = api.getresponse()
        event, id = json.loads(call.read()), call.getheader("lambda-runtime-aws-request-id")
        time.sleep(event.get("sleep", 0))
        if event.get("then") == "exit":
            os._exit(7)
        how, body = "response", {"id": id, "process": os.getpid(), "instance": e["AWS_LAMBDA_LOG_STREAM_NAME"],
                                 "kind": e["AWS_LAMBDA_INITIALIZATION_TYPE"], "calls": e["AWS_LAMBDA_MAX_CONCURRENCY"]}
        if event.get("then") == "raise":
            how, body = "error", {"errorType": "ValueError", "errorMessage": "no"}
        api.request("POST", f"/2018-06-01/runtime/invocation/{id}/{how}", json.dumps(body))
        api.getresponse().read()
threads = [threading.Thread(target=serve) for _ in range(int(e["AWS_LAMBDA_MAX_CONCURRENCY"]))]
for thread in threads:
    thread.start()
"""


@pytest.fixture
def provider(shared, request):
    lam = shared.client("lambda")
    name = request.node.name[:60].replace("[", "-").replace("]", "")
    arn = lam.create_capacity_provider(CapacityProviderName=name, **PROVIDER)["CapacityProvider"]["CapacityProviderArn"]
    yield arn
    for item in lam.list_function_versions_by_capacity_provider(CapacityProviderName=arn)["FunctionVersions"]:
        try:
            lam.delete_function(FunctionName=item["FunctionArn"].split(":")[6])
        except lam.exceptions.ResourceNotFoundException:
            pass
    lam.delete_capacity_provider(CapacityProviderName=arn)


def on(arn, calls=None):
    config = {"CapacityProviderArn": arn, **({"PerExecutionEnvironmentMaxConcurrency": calls} if calls else {})}
    return {"LambdaManagedInstancesCapacityProviderConfig": config}


def until(lam, name, state, qualifier="$LATEST"):
    return eventually(lambda: lam.get_function_configuration(FunctionName=name, Qualifier=qualifier)["State"] == state)


def make_managed(lam, name, arn, calls=CALLS, bootstrap=OWN, **more):
    lam.create_function(
        FunctionName=name, Runtime="provided.al2023", Role=ROLE, Handler="x", Code={"ZipFile": package(bootstrap=bootstrap)},
        CapacityProviderConfig=on(arn, calls), Publish=True, PublishTo="LATEST_PUBLISHED", **more)
    until(lam, name, "Active", "$LATEST.PUBLISHED")
    until(lam, name, "ActiveNonInvocable")
    return name


@pytest.fixture(params=["python", pytest.param("node", marks=needs_node), "own"])
def several(request, shared, function, provider):
    """Makes a function that takes `calls` at once: by the tag, and on a capacity provider."""
    lam = shared.client("lambda", read_timeout=60, max_pool_connections=64)

    def make(calls=CALLS, **more):
        tags = {"wadi:concurrency": str(calls)}
        if request.param == "python":
            return function(PYTHON, Runtime=RUNTIME, Tags=tags, **more)
        if request.param == "node":
            return function(package(**{"index.js": NODE}), Runtime=NODEJS, Handler="index.handler", Tags=tags, **more)
        return make_managed(lam, request.node.name.replace("[", "-").replace("]", "")[:60], provider, calls, **more)

    make.lam, make.kind = lam, request.param
    return make


def together(lam, name, events):
    """The replies of calls made at once, each `(payload, error, seconds)`."""
    def one(event):
        begun = time.monotonic()
        payload, reply = invoke(lam, name, event)
        return payload, reply.get("FunctionError"), time.monotonic() - begun

    with ThreadPoolExecutor(len(events)) as pool:
        return list(pool.map(one, events))


def instances(replies):
    return {payload["instance"] for payload, error, _ in replies if not error}


def processes(lam, name, count):
    """All in which calls run, when so many are made at once: a slow machine may begin the last when the first has ended."""
    seen = set()
    for _ in range(10):
        seen |= {payload["process"] for payload, *_ in together(lam, name, [{"sleep": 0.5}] * count)}
        if len(seen) == count:
            break
    return seen


def test_providers_through_boto3(shared):
    lam = shared.client("lambda")
    made = lam.create_capacity_provider(
        CapacityProviderName="trusted", Tags={"team": "a"}, **PROVIDER, InstanceRequirements={"AllowedInstanceTypes": ["m7i.*"]},
        CapacityProviderScalingConfig={"MaxVCpuCount": 30, "ScalingMode": "Auto"})["CapacityProvider"]
    arn = made["CapacityProviderArn"]
    assert (arn, made["State"]) == ("arn:aws:lambda:us-east-1:000000000000:capacity-provider:trusted", "Active")
    assert made["InstanceRequirements"] == {"AllowedInstanceTypes": ["m7i.*"]}
    assert lam.get_capacity_provider(CapacityProviderName=arn)["CapacityProvider"] == made
    changed = lam.update_capacity_provider(CapacityProviderName="trusted", CapacityProviderScalingConfig={"MaxVCpuCount": 8})
    assert changed["CapacityProvider"]["CapacityProviderScalingConfig"] == {"MaxVCpuCount": 8, "ScalingMode": "Auto"}
    assert arn in [p["CapacityProviderArn"] for p in lam.list_capacity_providers()["CapacityProviders"]]
    assert lam.list_tags(Resource=arn)["Tags"] == {"team": "a"}
    refused("ResourceConflictException", lam.create_capacity_provider, "already exists", CapacityProviderName="trusted", **PROVIDER)
    refused("InvalidParameterValueException", lam.create_capacity_provider, "KmsKeyArn", CapacityProviderName="x", **PROVIDER, KmsKeyArn="arn:aws:kms:us-east-1:000000000000:key/k")
    refused("ResourceNotFoundException", lam.get_capacity_provider, CapacityProviderName="none")
    raw = shared.client("lambda", parameter_validation=False)
    refused("ValidationException", raw.create_capacity_provider, "vpcConfig", CapacityProviderName="x", PermissionsConfig=PROVIDER["PermissionsConfig"])
    assert lam.delete_capacity_provider(CapacityProviderName="trusted")["CapacityProvider"]["State"] == "Deleting"
    refused("ResourceNotFoundException", lam.delete_capacity_provider, CapacityProviderName="trusted")


def test_create_publish_invoke_update(shared, provider):
    """As a user of managed instances does it."""
    lam = shared.client("lambda", read_timeout=60)
    name = "managed-life"
    code = {"ZipFile": package(bootstrap=OWN)}
    lam.create_function(FunctionName=name, Runtime="provided.al2023", Role=ROLE, Handler="x", Code=code, MemorySize=4096, CapacityProviderConfig=on(provider))
    until(lam, name, "ActiveNonInvocable")
    refused("NoPublishedVersionException", lam.invoke, FunctionName=name)
    refused("ResourceConflictException", lam.invoke, "ActiveNonInvocable", FunctionName=name, Qualifier="$LATEST")
    published = lam.publish_version(FunctionName=name, PublishTo="LATEST_PUBLISHED")
    assert published["FunctionArn"].endswith(f":{name}:$LATEST.PUBLISHED") and published["CapacityProviderConfig"] == on(provider)
    lam.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="$LATEST.PUBLISHED", WaiterConfig={"Delay": 1})
    payload, reply = invoke(lam, name, {})
    # Two vCPUs, and eight calls a vCPU where the language is not known.
    assert (payload["calls"], payload["kind"], reply["ExecutedVersion"]) == ("16", "lambda-managed-instances", "$LATEST.PUBLISHED")
    lam.update_function_configuration(FunctionName=name, CapacityProviderConfig=on(provider, 3))
    eventually(lambda: lam.get_function_configuration(FunctionName=name)["LastUpdateStatus"] == "Successful")
    assert invoke(lam, name, {})[0]["calls"] == "16"
    assert lam.publish_version(FunctionName=name)["Version"] == "1"
    lam.publish_version(FunctionName=name, PublishTo="LATEST_PUBLISHED")
    assert eventually(lambda: invoke(lam, name, {})[0]["calls"] == "3")
    lam.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert eventually(lambda: invoke(lam, name, {}, Qualifier="live")[1])["ExecutedVersion"] == "1"
    listed = lam.list_function_versions_by_capacity_provider(CapacityProviderName=provider)["FunctionVersions"]
    assert {item["FunctionArn"].split(f"{name}:")[1] for item in listed} == {"$LATEST", "$LATEST.PUBLISHED", "1"}
    refused("ResourceConflictException", lam.delete_capacity_provider, CapacityProviderName=provider)


def test_what_is_refused(shared, function, provider):
    lam = shared.client("lambda")
    plain = function(PYTHON, Runtime=RUNTIME)
    def create(**more):
        config = {"Runtime": "provided.al2023", "CapacityProviderConfig": on(provider), **more}
        return lam.create_function(FunctionName="x", Role=ROLE, Handler="x", Code={"ZipFile": package(bootstrap=OWN)}, **config)
    invalid = "InvalidParameterValueException"
    refused(invalid, create, "at least 2048 MB", MemorySize=1024)
    refused(invalid, create, "provided.al2 ", Runtime="provided.al2")
    refused(invalid, create, "where Publish is true", PublishTo="LATEST_PUBLISHED")
    refused("ResourceNotFoundException", create, "capacity-provider:none", CapacityProviderConfig=on(provider.rsplit(":", 1)[0] + ":none"))
    raw = shared.client("lambda", parameter_validation=False)
    refused("ValidationException", raw.create_function, "1600", FunctionName="x", Role=ROLE, Handler="x", Runtime="provided.al2023",
            Code={"ZipFile": package(bootstrap=OWN)}, CapacityProviderConfig=on(provider, 1601))
    refused(invalid, lam.update_function_configuration, "created without it", FunctionName=plain, CapacityProviderConfig=on(provider))
    refused(invalid, lam.publish_version, "CapacityProviderConfig only", FunctionName=plain, PublishTo="LATEST_PUBLISHED")
    refused(invalid, lam.tag_resource, "from 1 to 1600", Resource=lam.get_function(FunctionName=plain)["Configuration"]["FunctionArn"], Tags={"wadi:concurrency": "x"})
    with pytest.raises(ClientError) as error:
        lam.get_function_scaling_config(FunctionName=plain, Qualifier="1")
    assert "GetFunctionScalingConfig" in str(error.value)


def test_twenty_calls_at_once_in_one_instance(shared, several):
    lam, name = several.lam, several(Timeout=20)
    replies = together(lam, name, [{"sleep": 0.5}] * CALLS)
    assert not [error for _, error, _ in replies if error]
    assert len(instances(replies)) == 1, "one instance"
    assert {(p["kind"], p["calls"]) for p, *_ in replies} == {("lambda-managed-instances", str(CALLS))}
    assert len({p["id"] for p, *_ in replies}) == CALLS
    # Python has a process for each call, as on AWS; the others one for all.
    if several.kind == "python":
        assert len(processes(lam, name, CALLS)) == CALLS
    else:
        assert len({p["process"] for p, *_ in replies}) == 1
    warm = together(lam, name, [{"sleep": 0.5}] * CALLS)
    assert instances(warm) == instances(replies) and max(seconds for *_, seconds in warm) < 5
    if several.kind == "own":
        return

    def lines():
        events = shared.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="begins")["events"]
        return [e["message"].split() for e in events] if len(events) >= 2 * CALLS else None

    for words in eventually(lines):
        if several.kind == "node":
            assert words[1] == words[-1], "a line bears the id of the call that wrote it"


def test_a_call_that_times_out_ends_no_other(several):
    lam, name = several.lam, several(calls=4, Timeout=1)
    first = together(lam, name, [{}])
    replies = together(lam, name, [{"sleep": 2.5}, {"sleep": 0.3}, {"sleep": 0.6}])
    (late, error, seconds), *others = replies
    assert error == "Unhandled" and late["errorType"] == "Sandbox.Timedout" and seconds < 2
    assert not [e for _, e, _ in others if e]
    after = together(lam, name, [{"sleep": 0.2}] * 3)
    assert instances(first) == instances(others) == instances(after), "the instance goes on"


def test_an_error_of_the_handler_is_that_of_its_call(several):
    lam, name = several.lam, several(calls=3, Timeout=10)
    (failed, error, _), *others = together(lam, name, [{"then": "raise", "sleep": 0.1}, {"sleep": 0.3}, {"sleep": 0.3}])
    assert error and failed["errorMessage"] == "no" and failed["errorType"] in ("ValueError", "RangeError")
    assert not [e for _, e, _ in others if e]
    assert len(instances(others + together(lam, name, [{}]))) == 1


def test_a_process_that_exits(several):
    """It fails all calls that it has, at once; the next call has a new instance. Of Python's processes each has one call: the
    others go on, as on AWS, and the one that ended is replaced."""
    lam, name = several.lam, several(calls=4, Timeout=20)
    before = together(lam, name, [{}])
    (failed, error, seconds), *others = together(lam, name, [{"then": "exit", "sleep": 0.5}, {"sleep": 3}, {"sleep": 3}])
    assert error == "Unhandled" and failed["errorType"] == "Runtime.ExitError" and seconds < 2.5, failed
    assert "Runtime exited with error: exit status 7" in failed["errorMessage"]
    after = together(lam, name, [{"sleep": 0.3}] * 4)
    assert not [e for _, e, _ in after if e]
    if several.kind == "python":
        assert not [e for _, e, _ in others if e]
        assert instances(after) == instances(before) == instances(others)
        assert len(processes(lam, name, 4)) == 4
    else:
        assert [p["errorType"] for p, *_ in others] == ["Runtime.ExitError"] * 2
        assert max(seconds for *_, seconds in others) < 2.5
        assert not instances(after) & instances(before)


def test_a_worker_that_cannot_initialise_itself_is_no_failure_of_all(shared, function):
    source = """
import os
n = len(os.listdir("/tmp")); open("/tmp/%d" % n, "w")
if n == 1:
    raise RuntimeError("not this one")
def handler(event, context):
    import time
    time.sleep(event.get("sleep", 0))
    return {"instance": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"], "process": os.getpid()}
"""
    lam = shared.client("lambda", max_pool_connections=16)
    name = function(source, Tags={"wadi:concurrency": "4"}, Timeout=10)
    replies = together(lam, name, [{"sleep": 0.3}] * 4) + together(lam, name, [{"sleep": 0.3}] * 4)
    assert not [e for _, e, _ in replies if e]
    assert len(instances(replies)) == 1 and len({p["process"] for p, *_ in replies}) in (2, 3)
    broken = function("raise RuntimeError('none of them')", Tags={"wadi:concurrency": "4"})
    [(payload, error, _)] = together(lam, broken, [{}])
    assert error and payload["errorMessage"] == "none of them"


@needs_node
def test_node_styles_at_once(shared, function):
    """Callbacks, `context.done`, plain functions, streams; nothing of a call gets into another's."""
    lam = shared.client("lambda", max_pool_connections=32)
    source = """
const { AsyncResource } = require("node:async_hooks");
exports.callback = (event, context, callback) => { setTimeout(() => { console.log("late"); callback(null, event.n); }, 100); };
exports.done = (event, context) => { setTimeout(context.done, 100, null, event.n); };
exports.plain = (event) => event.n;
exports.stream = awslambda.streamifyResponse(async (event, stream, context) => {
  stream.write(String(event.n));
  await new Promise((r) => setTimeout(r, 100));
  stream.end();
});
exports.trace = async (event, context) => {
  await new Promise((r) => setTimeout(r, 100));
  const store = globalThis.awslambda.InvokeStore;
  return [store.getXRayTraceId() === context.xRayTraceId, store.getRequestId() === context.awsRequestId, process.env._X_AMZN_TRACE_ID ?? null];
};
"""
    styles = ["stream", "trace"] + (["callback", "done", "plain"] if int(NODEJS[6:8]) < 24 else [])
    for style in styles:
        name = function(package(**{"index.js": source}), Runtime=NODEJS, Handler=f"index.{style}", Tags={"wadi:concurrency": "8"}, Timeout=10)
        replies = together(lam, name, [{"n": n} for n in range(8)])
        expect = {"plain": [None] * 8, "trace": [[True, True, None]] * 8}.get(style, list(range(8)))
        assert [p for p, *_ in replies] == expect, style
        if style == "callback":
            def ids():
                events = shared.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="late")["events"]
                return {e["message"].split()[1] for e in events} if len(events) == 8 else None
            assert len(eventually(ids)) == 8
