"""Asynchronous invocations under pressure: nothing that got its 202 is lost, whatever happens to the function meanwhile."""

import json
import re

import pytest
from conftest import ROLE, RUNTIME, Node, eventually, invoke, package

NOTE = """
import time
def handler(event, context):
    print("ran", event["n"], context.function_version)
    time.sleep(event.get("sleep", 0))
    if event.get("fail"): raise ValueError(event["n"])
"""


def ran(node, name, word="ran"):
    """What runs have printed: [(n, version)]."""
    logs = node.client("logs")
    group = "/aws/lambda/" + name
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return []
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, filterPattern=word)
    return [tuple(m.groups()) for p in pages for e in p["events"] if (m := re.match(r"ran (\S+) (\S+)", e["message"]))]


def send(node, name, count, **more):
    lam = node.client("lambda")
    for n in range(count):
        assert lam.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps({"n": n, **more}))["StatusCode"] == 202


def dead(node, name):
    found, token = [], {}
    while True:
        page = node.get("/_wadi/api/events/dead", limit=10, **token)
        found += [e for e in page["Events"] if f":function:{name}" in e["Target"]]
        if not page.get("NextToken"):
            return found
        token = {"nextToken": page["NextToken"]}


def test_a_crowd_and_two_places(shared, function):
    """100 events at once for two places: all run, at most two at a time."""
    name = function(NOTE, Timeout=10)
    lam = shared.client("lambda")
    lam.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    send(shared, name, 100, sleep=0.02)
    seen = eventually(lambda: len(set(r := ran(shared, name))) == 100 and r, seconds=60, every=0.5)
    assert len(seen) == 100, "each once"
    instances = {s["logStreamName"] for s in shared.client("logs").describe_log_streams(logGroupName="/aws/lambda/" + name)["logStreams"]}
    # Two at a time; a third may have been parked beside them.
    assert len(instances) <= 3, instances


def test_a_closed_function_keeps_its_events(shared, function):
    """With no concurrency events wait, and run when there is some again."""
    name = function(NOTE, Timeout=10)
    lam = shared.client("lambda")
    lam.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    send(shared, name, 10)
    with pytest.raises(lam.exceptions.TooManyRequestsException):
        invoke(lam, name, {"n": "now"})
    assert ran(shared, name) == []
    lam.delete_function_concurrency(FunctionName=name)
    eventually(lambda: len(ran(shared, name)) == 10, seconds=60, every=0.2)
    assert dead(shared, name) == []


def test_an_update_while_events_wait(shared, function):
    """They run what the function is when they run; events for a version run that version."""
    name = function(NOTE, Timeout=10)
    lam = shared.client("lambda")
    lam.publish_version(FunctionName=name)
    lam.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    send(shared, name, 5)
    send(shared, name + ":1", 5)
    lam.update_function_code(FunctionName=name, ZipFile=package(app=NOTE.replace('"ran", event["n"]', '"ran", "new"')))
    lam.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    lam.delete_function_concurrency(FunctionName=name)
    seen = eventually(lambda: len(r := ran(shared, name)) == 10 and r, seconds=60, every=0.2)
    assert sorted(seen) == [*((str(n), "1") for n in range(5)), *[("new", "$LATEST")] * 5]


def test_a_function_deleted_while_events_wait(shared, function):
    """Its events lie with the dead, each with its reason."""
    name = function(NOTE, Timeout=10)
    lam = shared.client("lambda")
    lam.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    send(shared, name, 25)
    lam.delete_function(FunctionName=name)
    gone = eventually(lambda: len(d := dead(shared, name)) == 25 and d, seconds=60, every=0.2)
    assert {e["Reason"] for e in gone} == {f"Function not found: arn:aws:lambda:us-east-1:000000000000:function:{name}"}
    assert len({e["Id"] for e in gone}) == 25


def test_an_events_age(shared, function):
    """The first retry of an error, after a minute, would come too late for an event that may be a minute old."""
    name = function(NOTE, Timeout=10)
    lam = shared.client("lambda")
    lam.put_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=60)
    send(shared, name, 1, fail=True)
    end = eventually(lambda: dead(shared, name), every=0.2)
    tries = len(ran(shared, name))
    assert len(end) == 1 and tries == end[0]["Attempts"] and "ValueError" in end[0]["Reason"], end
    assert end[0]["Reason"].startswith("EventAgeExceeded" if tries < 3 else "RetriesExhausted")


def test_usage_is_what_the_logs_say(shared, function):
    """GetUsage per function equals the sum of the REPORT lines: cold and warm, good and bad, waited for and not."""
    name = function(NOTE, Timeout=10, MemorySize=256)
    lam, logs = shared.client("lambda"), shared.client("logs")
    lam.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    for n in range(6):
        invoke(lam, name, {"n": n, "fail": n % 3 == 2, "sleep": 0.01 * n})
    send(shared, name, 3, fail=True)
    send(shared, name, 2)
    runs = 6 + 3 * 2 + 2

    def reports():
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName="/aws/lambda/" + name, filterPattern="REPORT")
        return [e["message"] for p in pages for e in p["events"]]
    lines = eventually(lambda: len(r := reports()) == runs and r, seconds=60, every=0.2)
    row = eventually(lambda: next((f for f in shared.get("/_wadi/api/usage")["Functions"] if f["FunctionName"] == name and f["Invocations"] == runs), None))
    total = lambda word: sum(float(m.group(1)) for l in lines if (m := re.search(rf"(?:^|\t){word}: ([\d.]+) M?m?[sB]", l)))
    billed = total("Billed Duration")
    assert row["BilledMs"] == billed and row["GbSeconds"] == pytest.approx(billed / 1000 * 256 / 1024, rel=1e-9)
    assert row["DurationMs"] == pytest.approx(sum(float(re.search(r"\tDuration: ([\d.]+) ms", l).group(1)) for l in lines), abs=0.01 * runs)
    assert row["InitMs"] == pytest.approx(total("Init Duration"), abs=0.01 * runs)
    assert row["ColdStarts"] == sum("Init Duration" in l for l in lines)
    assert row["Errors"] == 2 + 6
    assert row["MaxMemoryMb"] == max(int(re.search(r"Max Memory Used: (\d+) MB", l).group(1)) for l in lines)
    listed = shared.get("/_wadi/api/invocations", function=name)["Invocations"]
    assert len(listed) == runs and sum(r["BilledMs"] for r in listed) == billed and sum("Error" in r for r in listed) == 8
    ids = {re.search(r"RequestId: (\S+)", l).group(1) for l in lines}
    assert ids == {r["RequestId"] for r in listed}
