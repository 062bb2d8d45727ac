"""One upload on three ways to a function: by itself, by the bus, by a queue; and by the bus through a queue."""

import json

from conftest import eventually

HANDLER = """
import json, boto3
s3 = boto3.client("s3")
def uploads(event):
    if "detail" in event:
        yield "bus", event["detail"]["object"]["key"]
    for record in event.get("Records", []):
        if record.get("eventSource") == "aws:s3":
            yield "bucket", record["s3"]["object"]["key"]
        elif "body" in record:
            yield from (("queued " + way, key) for way, key in uploads(json.loads(record["body"])))
def handler(event, context):
    for way, key in uploads(event):
        s3.put_object(Bucket="ways-done", Key=f"{way}/{key}", Body=b"")
"""


def test_an_upload_arrives_on_every_way(shared, function):
    s3, sqs, bus, lam = (shared.client(service) for service in ("s3", "sqs", "events", "lambda"))
    name = function(HANDLER, Timeout=10)
    function_arn = lam.get_function_configuration(FunctionName=name)["FunctionArn"]
    url = sqs.create_queue(QueueName="ways")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rule_arn = bus.put_rule(Name="ways", EventPattern=json.dumps({"source": ["aws.s3"], "detail": {"bucket": {"name": ["ways"]}}}))["RuleArn"]
    for service, source in (("s3", "arn:aws:s3:::ways"), ("events", rule_arn)):
        lam.add_permission(FunctionName=name, StatementId=service, Action="lambda:InvokeFunction", Principal=f"{service}.amazonaws.com", SourceArn=source)
    senders = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": ["s3.amazonaws.com", "events.amazonaws.com"]},
               "Action": "sqs:SendMessage", "Resource": queue_arn, "Condition": {"ArnLike": {"aws:SourceArn": ["arn:aws:s3:::ways", rule_arn]}}}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(senders)})
    assert bus.put_targets(Rule="ways", Targets=[{"Id": "f", "Arn": function_arn}, {"Id": "q", "Arn": queue_arn}])["FailedEntryCount"] == 0
    # What the bucket tells when it is configured is not for the function.
    wanted = [{"Pattern": json.dumps({"body": {"Records": {"eventName": [{"prefix": "ObjectCreated:"}]}}})}, {"Pattern": json.dumps({"body": {"source": ["aws.s3"]}})}]
    mapping = lam.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName=name, FilterCriteria={"Filters": wanted})
    assert [f["Pattern"] for f in mapping["FilterCriteria"]["Filters"]] == [f["Pattern"] for f in wanted]
    for bucket in ("ways", "ways-done"):
        s3.create_bucket(Bucket=bucket)
    ending = lambda suffix: {"Key": {"FilterRules": [{"Name": "suffix", "Value": suffix}]}}
    s3.put_bucket_notification_configuration(Bucket="ways", NotificationConfiguration={
        "LambdaFunctionConfigurations": [{"LambdaFunctionArn": function_arn, "Events": ["s3:ObjectCreated:*"], "Filter": ending(".png")}],
        "QueueConfigurations": [{"QueueArn": queue_arn, "Events": ["s3:ObjectCreated:*"], "Filter": ending(".jpg")}],
        "EventBridgeConfiguration": {}})
    for key in ("a.png", "b.jpg"):
        s3.put_object(Bucket="ways", Key=key, Body=b"x")
    done = lambda: {o["Key"] for o in s3.list_objects_v2(Bucket="ways-done").get("Contents", [])}
    eventually(lambda: done() == {"bucket/a.png", "queued bucket/b.jpg", *(f"{way}/{key}" for way in ("bus", "queued bus") for key in ("a.png", "b.jpg"))}, seconds=30)
    empty = {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0"}
    eventually(lambda: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(empty))["Attributes"] == empty)
    lam.delete_event_source_mapping(UUID=mapping["UUID"])
    bus.remove_targets(Rule="ways", Ids=["f", "q"])
    bus.delete_rule(Name="ways")
    sqs.delete_queue(QueueUrl=url)
