"""Buses, schedules and destinations with boto3: what matches arrives, and what does not can be found."""

import datetime
import json
import time

import pytest
from botocore.exceptions import ClientError
from conftest import ROLE, eventually

SHOW = """
import json
def handler(event, context):
    print("got", json.dumps(event))
    if "fail" in json.dumps(event): raise KeyError("told to")
    return {"seen": event.get("detail-type")}
"""
ACCOUNT = "000000000000"


def got(node, name):
    """What a function has printed of its events."""
    logs = node.client("logs")
    group = "/aws/lambda/" + name
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return []
    events = logs.filter_log_events(logGroupName=group, filterPattern="got")["events"]
    return [json.loads(e["message"].split("got ", 1)[1]) for e in events if e["message"].startswith("got ")]


def rule(node, name, pattern, *targets, **more):
    bus = node.client("events")
    arn = bus.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
    put = bus.put_targets(Rule=name, Targets=[{"Id": str(i), "Arn": t, **more} for i, t in enumerate(targets)])
    assert put["FailedEntryCount"] == 0
    return arn


def allow(node, name, rule_arn):
    node.client("lambda").add_permission(FunctionName=name, StatementId="r" + str(abs(hash(rule_arn))), Action="lambda:InvokeFunction",
                                         Principal="events.amazonaws.com", SourceArn=rule_arn)


def put(node, source, detail, detail_type="order", **more):
    entry = {"Source": source, "DetailType": detail_type, "Detail": json.dumps(detail), **more}
    reply = node.client("events").put_events(Entries=[entry])
    assert reply["FailedEntryCount"] == 0, reply
    return reply["Entries"][0]["EventId"]


def ways(node, event_id):
    return node.get("/_wadi/api/events", id=event_id)["Events"]


def test_rules_send_to_functions_logs_and_other_buses(shared, function):
    name = function(SHOW)
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"
    bus, logs = shared.client("events"), shared.client("logs")
    logs.create_log_group(logGroupName="/aws/events/seen")
    other = bus.create_event_bus(Name="other")["EventBusArn"]
    group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/events/seen"
    allow(shared, name, rule(shared, "to-function", {"source": ["shop"], "detail": {"total": [{"numeric": [">=", 10]}]}}, arn))
    rule(shared, "to-others", {"source": [{"prefix": "sh"}]}, group, other)
    bus.put_rule(Name="on", EventBusName="other", EventPattern=json.dumps({"detail-type": ["order"]}))
    bus.put_targets(Rule="on", EventBusName="other", Targets=[{"Id": "1", "Arn": arn, "InputTransformer": {
        "InputPathsMap": {"n": "$.detail.total"}, "InputTemplate": '{"from": "<aws.events.rule-name>", "total": <n>}'}}])
    allow(shared, name, bus.describe_rule(Name="on", EventBusName="other")["Arn"])
    large, small = put(shared, "shop", {"total": 12}), put(shared, "shop", {"total": 7})
    seen = eventually(lambda: len(g := got(shared, name)) == 3 and g)
    assert sorted(e.get("total", e.get("detail", {}).get("total")) for e in seen) == [7, 12, 12]
    whole = next(e for e in seen if "detail" in e)
    assert (whole["id"], whole["source"], whole["account"], whole["region"]) == (large, "shop", ACCOUNT, "us-east-1")
    lines = eventually(lambda: len(e := logs.filter_log_events(logGroupName="/aws/events/seen")["events"]) == 2 and e)
    assert {json.loads(line["message"])["id"] for line in lines} == {large, small}
    # Its whole way, by the id that PutEvents gave: two rules, three targets, and what the other bus made of it.
    way = eventually(lambda: len(w := ways(shared, large)) == 4 and all(e["State"] == "delivered" for e in w) and w)
    assert {e["Rule"].split(":rule/")[1] for e in way} == {"to-function", "to-others", "other/on"}
    text = shared.cli("events", "--id", large).stdout
    assert text.count("delivered, attempt 1") == 4 and "function:" + name in text
    with pytest.raises(ClientError) as e:
        bus.put_rule(Name="bad", EventPattern='{"source": "shop"}')
    assert e.value.response["Error"]["Code"] == "InvalidEventPatternException"
    assert 'Event pattern is not valid. Reason: "source" must be an object or an array' in str(e.value)
    for rule_name, event_bus in (("on", "other"), ("to-function", "default"), ("to-others", "default")):
        ids = [t["Id"] for t in bus.list_targets_by_rule(Rule=rule_name, EventBusName=event_bus)["Targets"]]
        bus.remove_targets(Rule=rule_name, EventBusName=event_bus, Ids=ids)
        bus.delete_rule(Name=rule_name, EventBusName=event_bus)
    bus.delete_event_bus(Name="other")


def test_a_function_that_may_not_be_invoked_is_told_of_and_can_be_sent_to_again(shared, function):
    name = function(SHOW)
    rule_arn = rule(shared, "denied", {"source": ["denied"]}, f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}")
    event = put(shared, "denied", {})
    dead = eventually(lambda: (w := ways(shared, event)) and w[0]["State"] == "dead" and w[0])
    assert "is not authorized to perform: lambda:InvokeFunction" in dead["Reason"]
    allow(shared, name, rule_arn)
    assert "1 event is on its way again" in shared.cli("events", "redrive", "--id", event).stdout
    assert eventually(lambda: got(shared, name))[0]["id"] == event
    assert eventually(lambda: (w := ways(shared, event))[0]["State"] == "delivered" and w)
    assert json.loads(shared.cli("events", "--id", event, "--json").stdout)[0]["State"] == "delivered"


def test_outcomes_of_a_function_go_to_a_bus_and_on(shared, function):
    worker, watcher = function(SHOW), function(SHOW)
    lam = shared.client("lambda")
    lam.put_function_event_invoke_config(FunctionName=worker, MaximumRetryAttempts=0, DestinationConfig={
        "OnSuccess": {"Destination": f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/default"},
        "OnFailure": {"Destination": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{watcher}"}})
    pattern = {"source": ["lambda"], "detail": {"requestContext": {"functionArn": [{"wildcard": f"*:{worker}:*"}]}}}
    allow(shared, watcher, rule(shared, "outcomes", pattern, f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{watcher}"))
    for payload in ({"n": 1}, {"n": 2, "why": "fail"}):
        lam.invoke(FunctionName=worker, InvocationType="Event", Payload=json.dumps(payload))
    told = eventually(lambda: len(g := got(shared, watcher)) == 2 and g)
    success = next(e for e in told if "detail" in e)
    assert success["detail-type"] == "Lambda Function Invocation Result - Success"
    assert (success["detail"]["requestPayload"], success["detail"]["responsePayload"]) == ({"n": 1}, {"seen": None})
    failure = next(e for e in told if "requestContext" in e)
    assert (failure["requestContext"]["condition"], failure["responsePayload"]["errorType"]) == ("RetriesExhausted", "KeyError")


def test_an_upload_reaches_a_function_by_the_bus(shared, function):
    name = function(SHOW)
    s3 = shared.client("s3")
    s3.create_bucket(Bucket="by-bus")
    s3.put_bucket_notification_configuration(Bucket="by-bus", NotificationConfiguration={"EventBridgeConfiguration": {}})
    assert s3.get_bucket_notification_configuration(Bucket="by-bus")["EventBridgeConfiguration"] == {}
    pattern = {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": {"bucket": {"name": ["by-bus"]}, "object": {"key": [{"suffix": ".jpg"}]}}}
    allow(shared, name, rule(shared, "uploads", pattern, f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"))
    for key in ("a é.jpg", "b.txt"):
        s3.put_object(Bucket="by-bus", Key=key, Body=b"xyz")
    event = eventually(lambda: got(shared, name))[0]
    assert (event["detail"]["object"]["key"], event["detail"]["object"]["size"], event["detail"]["reason"]) == ("a é.jpg", 3, "PutObject")


def test_what_is_archived_can_be_replayed(shared):
    bus, logs = shared.client("events"), shared.client("logs")
    default = bus.describe_event_bus()["Arn"]
    archive = bus.create_archive(ArchiveName="kept", EventSourceArn=default, EventPattern='{"source": ["archived"]}')["ArchiveArn"]
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=5)
    ids = {put(shared, "archived", {"n": n}) for n in range(30)}
    assert bus.describe_archive(ArchiveName="kept")["EventCount"] == 30
    logs.create_log_group(logGroupName="/replayed")
    rule(shared, "replayed", {"replay-name": ["again"]}, f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/replayed")
    bus.start_replay(ReplayName="again", EventSourceArn=archive, EventStartTime=before, Destination={"Arn": default},
                     EventEndTime=datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=5))
    eventually(lambda: bus.describe_replay(ReplayName="again")["State"] == "COMPLETED")
    lines = eventually(lambda: len(e := logs.filter_log_events(logGroupName="/replayed")["events"]) == 30 and e)
    assert {json.loads(line["message"])["id"] for line in lines} == ids
    bus.delete_archive(ArchiveName="kept")
    with pytest.raises(ClientError) as e:
        bus.describe_archive(ArchiveName="kept")
    assert e.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_schedules_fire_and_a_killed_node_forgets_none(own):
    own.start()
    scheduler, logs = own.client("scheduler"), own.client("logs")
    logs.create_log_group(logGroupName="/ticks")
    bus = own.client("events")
    bus.put_rule(Name="ticks", EventPattern=json.dumps({"source": ["clock"]}))
    bus.put_targets(Rule="ticks", Targets=[{"Id": "1", "Arn": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/ticks"}])
    at = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=4)).strftime("%Y-%m-%dT%H:%M:%S")
    target = {"Arn": f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/default", "RoleArn": ROLE, "EventBridgeParameters": {"DetailType": "tick", "Source": "clock"}}

    def make(name, expression):
        scheduler.create_schedule(Name=name, ScheduleExpression=expression, FlexibleTimeWindow={"Mode": "OFF"}, ActionAfterCompletion="DELETE",
                                  Target={**target, "Input": json.dumps({"by": name, "at": "<aws.scheduler.scheduled-time>"})})
    make("now", "rate(1 hour)")
    make("once", f"at({at})")

    def ticks():
        return [json.loads(e["message"])["detail"] for e in own.client("logs").filter_log_events(logGroupName="/ticks")["events"]]
    assert eventually(ticks)[0]["by"] == "now"
    own.kill()
    time.sleep(5)
    own.start()
    seen = eventually(lambda: len(t := ticks()) == 2 and t)
    assert {"by": "once", "at": at + "Z"} in seen
    time.sleep(1)
    assert len(ticks()) == 2, "each once"
    assert [s["Name"] for s in own.client("scheduler").list_schedules()["Schedules"]] == ["now"]
    with pytest.raises(ClientError) as e:
        own.client("scheduler").create_schedule(Name="x", ScheduleExpression="rate(1 week)", FlexibleTimeWindow={"Mode": "OFF"}, Target=target)
    assert "Invalid Schedule Expression rate(1 week)." in str(e.value)
