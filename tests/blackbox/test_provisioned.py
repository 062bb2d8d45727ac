"""Provisioned concurrency through boto3: its rules, instances that are ready before a call, and a restart."""

import json
import time

import pytest
from conftest import ROLE, RUNTIME, package
from test_api import refused

HANDLER = """
import os, time
KIND = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
def handler(event, context):
    time.sleep(event.get("sleep", 0))
    return {"kind": KIND, "pid": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]}
"""


def until_ready(lam, qualifier, seconds=30):
    for _ in range(seconds * 10):
        state = lam.get_provisioned_concurrency_config(FunctionName="f", Qualifier=qualifier)
        if state["Status"] != "IN_PROGRESS":
            return state
        time.sleep(0.1)
    raise AssertionError(state)


def invoke(lam, qualifier, **event):
    reply = lam.invoke(FunctionName="f", Qualifier=qualifier, Payload=json.dumps(event), LogType="Tail")
    assert "FunctionError" not in reply, reply["Payload"].read()
    return json.loads(reply["Payload"].read()), reply["LogResult"]


@pytest.fixture
def lam(own):
    own.start()
    lam = own.client("lambda")
    lam.create_function(FunctionName="f", Runtime=RUNTIME, Role=ROLE, Handler="app.handler", Code={"ZipFile": package(app=HANDLER)}, Publish=True)
    lam.get_waiter("published_version_active").wait(FunctionName="f", Qualifier="1")
    lam.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    return lam


def test_instances_are_ready_before_calls_and_after_a_restart(own, lam):
    raw = own.client("lambda", parameter_validation=False)
    refused("ValidationException", raw.put_provisioned_concurrency_config, FunctionName="f", Qualifier="1", ProvisionedConcurrentExecutions=0)
    refused("InvalidParameterValueException", lam.put_provisioned_concurrency_config, "unpublished function versions", FunctionName="f", Qualifier="$LATEST", ProvisionedConcurrentExecutions=1)
    refused("ProvisionedConcurrencyConfigNotFoundException", lam.get_provisioned_concurrency_config, FunctionName="f", Qualifier="live")
    put = lam.put_provisioned_concurrency_config(FunctionName="f", Qualifier="live", ProvisionedConcurrentExecutions=2)
    assert (put["Status"], put["RequestedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 2)
    state = until_ready(lam, "live")
    assert (state["Status"], state["AllocatedProvisionedConcurrentExecutions"], state["AvailableProvisionedConcurrentExecutions"]) == ("READY", 2, 2)
    assert invoke(lam, "live")[0]["kind"] == "provisioned-concurrency"
    assert invoke(lam, "$LATEST")[0]["kind"] == "on-demand"
    own.stop()
    own.start()
    lam = own.client("lambda")
    assert until_ready(lam, "live")["AvailableProvisionedConcurrentExecutions"] == 2
    assert invoke(lam, "live")[0]["kind"] == "provisioned-concurrency"
    [item] = lam.list_provisioned_concurrency_configs(FunctionName="f")["ProvisionedConcurrencyConfigs"]
    assert item["FunctionArn"].endswith(":function:f:live")
    lam.delete_provisioned_concurrency_config(FunctionName="f", Qualifier="live")
    assert invoke(lam, "live")[0]["kind"] == "on-demand"


def test_calls_beyond_spill_over_and_a_function_that_cannot_start_fails(own, lam):
    from concurrent.futures import ThreadPoolExecutor

    lam.put_provisioned_concurrency_config(FunctionName="f", Qualifier="live", ProvisionedConcurrentExecutions=1)
    assert until_ready(lam, "live")["Status"] == "READY"
    with ThreadPoolExecutor(3) as pool:
        kinds = sorted(reply["kind"] for reply, _ in pool.map(lambda _: invoke(lam, "live", sleep=1), range(3)))
    assert kinds == ["on-demand", "on-demand", "provisioned-concurrency"]

    lam.update_function_code(FunctionName="f", ZipFile=package(app="raise ValueError('no')"), Publish=True)
    lam.get_waiter("published_version_active").wait(FunctionName="f", Qualifier="2")
    lam.put_provisioned_concurrency_config(FunctionName="f", Qualifier="2", ProvisionedConcurrentExecutions=1)
    state = until_ready(lam, "2")
    assert (state["Status"], state["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")
