"""Topics with boto3: what is published reaches queues, functions and endpoints, signed, filtered, in order, and once it was accepted always."""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import ssl
import threading
import time
import urllib.request

import pytest
import rsa
from botocore.exceptions import ClientError
from conftest import eventually
from pyasn1.codec.der import decoder, encoder
from test_bus import SHOW, got

ACCOUNT = "000000000000"


def topic(node, name, **attributes):
    return node.client("sns").create_topic(Name=name, Attributes=attributes)["TopicArn"]


def queue(node, name, *senders, **attributes):
    """The URL and ARN of a new queue that takes messages from topics and other senders."""
    sqs = node.client("sqs")
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"
    let = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
           "Resource": arn, **({"Condition": {"ArnLike": {"aws:SourceArn": list(senders)}}} if senders else {})}]}
    return sqs.create_queue(QueueName=name, Attributes={"Policy": json.dumps(let), **attributes})["QueueUrl"], arn


def subscribe(node, topic_arn, protocol, endpoint, **attributes):
    return node.client("sns").subscribe(TopicArn=topic_arn, Protocol=protocol, Endpoint=endpoint, Attributes=attributes,
                                        ReturnSubscriptionArn=True)["SubscriptionArn"]


def received(node, url, count, seconds=20):
    """So many messages of a queue, taken out, in the order in which they came."""
    sqs, found, deadline = node.client("sqs"), [], time.time() + seconds
    while len(found) < count and time.time() < deadline:
        for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1, MaxNumberOfMessages=10, MessageAttributeNames=["All"],
                                           AttributeNames=["All"]).get("Messages", []):
            found.append(message)
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert len(found) == count, f"{len(found)} of {count}"
    return found


@contextlib.contextmanager
def endpoint(answer=lambda headers, body: 200):
    """An HTTP server that keeps what it is sent: its URL, and (headers, body) of each."""
    sent = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent.append((self.headers, body))
            self.send_response(answer(self.headers, body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/in", sent
    finally:
        server.shutdown()
        server.server_close()


def verify(body, version):
    """Checks a message's signature with the certificate that it names, as a subscriber does."""
    assert body["SignatureVersion"] == version
    signed = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{body[name]}\n" for name in signed if name in body)
    with urllib.request.urlopen(body["SigningCertURL"], timeout=5) as r:
        certificate, _ = decoder.decode(ssl.PEM_cert_to_DER_cert(r.read().decode()))
    public = rsa.PublicKey.load_pkcs1_openssl_der(encoder.encode(certificate[0][6]))
    signature = base64.b64decode(body["Signature"])
    assert rsa.verify(text.encode(), signature, public) == {"1": "SHA-1", "2": "SHA-256"}[version]
    with pytest.raises(rsa.VerificationError):
        rsa.verify(b"x" + text.encode(), signature, public)


def code(call, *args, **kwargs):
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_topics_and_subscriptions(shared):
    sns = shared.client("sns")
    arn = topic(shared, "plain", DisplayName="Plain")
    assert arn == f"arn:aws:sns:us-east-1:{ACCOUNT}:plain" and topic(shared, "plain") == arn
    assert arn in [t["TopicArn"] for page in sns.get_paginator("list_topics").paginate() for t in page["Topics"]]
    got_ = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert (got_["DisplayName"], got_["Owner"], got_["SubscriptionsConfirmed"]) == ("Plain", ACCOUNT, "0")
    sns.tag_resource(ResourceArn=arn, Tags=[{"Key": "a", "Value": "b"}])
    assert sns.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    sns.add_permission(TopicArn=arn, Label="l", AWSAccountId=["111122223333"], ActionName=["Publish"])
    _, queue_arn = queue(shared, "plain")
    sub = subscribe(shared, arn, "sqs", queue_arn, RawMessageDelivery="true", FilterPolicy='{"a": ["b"]}')
    assert sns.get_subscription_attributes(SubscriptionArn=sub)["Attributes"]["FilterPolicy"] == '{"a": ["b"]}'
    listed = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
    assert listed == [{"SubscriptionArn": sub, "Owner": ACCOUNT, "Protocol": "sqs", "Endpoint": queue_arn, "TopicArn": arn}]
    sns.unsubscribe(SubscriptionArn=sub)
    assert code(sns.get_subscription_attributes, SubscriptionArn=sub) == ("NotFound", "Subscription does not exist")
    assert code(sns.publish, TopicArn=arn, Message="x" * (256 * 1024 + 1)) == ("InvalidParameter", "Invalid parameter: Message too long")
    assert code(sns.publish, PhoneNumber="+1", Message="x")[1].startswith("Wadi does not have messages to phones")
    for protocol in ("email", "sms", "application", "firehose"):
        assert protocol in code(sns.subscribe, TopicArn=arn, Protocol=protocol, Endpoint="x")[1]
    told = code(sns.create_platform_application, Name="x", Platform="GCM", Attributes={})
    assert "CreatePlatformApplication" in told[1]
    assert code(sns.tag_resource, ResourceArn=arn, Tags=[{"Key": "a", "Value": "b" * 257}])[0] == "ValidationError"
    batch = sns.publish_batch(TopicArn=arn, PublishBatchRequestEntries=[{"Id": "1", "Message": "x"}, {"Id": "2", "Message": "x", "Subject": "a\nb"}])
    assert [e["Id"] for e in batch["Successful"]] == ["1"] and batch["Failed"][0]["Code"] == "InvalidParameter"
    sns.delete_topic(TopicArn=arn)
    assert code(sns.publish, TopicArn=arn, Message="x") == ("NotFound", "Topic does not exist")


def test_the_cli(shared):
    arn = json.loads(shared.aws("sns", "create-topic", "--name", "cli").stdout)["TopicArn"]
    url, queue_arn = queue(shared, "cli")
    shared.aws("sns", "subscribe", "--topic-arn", arn, "--protocol", "sqs", "--notification-endpoint", queue_arn)
    sent = json.loads(shared.aws("sns", "publish", "--topic-arn", arn, "--message", "hello from cli").stdout)
    body = json.loads(received(shared, url, 1)[0]["Body"])
    assert (body["Message"], body["MessageId"]) == ("hello from cli", sent["MessageId"])
    shared.aws("sns", "delete-topic", "--topic-arn", arn)


def test_queues_get_it_whole_or_raw_and_filtered(shared):
    sns = shared.client("sns")
    arn = topic(shared, "forms")
    (whole, whole_arn), (raw, raw_arn), (some, some_arn) = (queue(shared, f"forms-{n}", arn) for n in ("whole", "raw", "some"))
    subscribe(shared, arn, "sqs", whole_arn)
    subscribe(shared, arn, "sqs", raw_arn, RawMessageDelivery="true")
    subscribe(shared, arn, "sqs", some_arn, FilterPolicy=json.dumps({"order": {"total": [{"numeric": [">", 100]}]}}), FilterPolicyScope="MessageBody")
    attributes = {"kind": {"DataType": "String", "StringValue": "order"}, "n": {"DataType": "Number", "StringValue": "7"}}
    for total in (7, 700):
        sns.publish(TopicArn=arn, Message=json.dumps({"order": {"total": total}}), Subject="An order", MessageAttributes=attributes)
    for message in received(shared, whole, 2):
        body = json.loads(message["Body"])
        assert (body["Subject"], body["MessageAttributes"]["n"]) == ("An order", {"Type": "Number", "Value": "7"})
        verify(body, "1")
    assert {m["Body"] for m in received(shared, raw, 2)} == {'{"order": {"total": 7}}', '{"order": {"total": 700}}'}
    assert json.loads(json.loads(received(shared, some, 1)[0]["Body"])["Message"])["order"]["total"] == 700
    sns.delete_topic(TopicArn=arn)


def test_a_function(shared, function):
    sns, name = shared.client("sns"), function(SHOW)
    arn = topic(shared, "to-function")
    function_arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"
    dead, dead_arn = queue(shared, "to-function-dead", arn)
    sub = subscribe(shared, arn, "lambda", function_arn, RedrivePolicy=json.dumps({"deadLetterTargetArn": dead_arn}))
    # Nobody has let the topic call the function: the message is a dead letter.
    sns.publish(TopicArn=arn, Message="not allowed")
    assert json.loads(received(shared, dead, 1)[0]["Body"])["Message"] == "not allowed"
    shared.client("lambda").add_permission(FunctionName=name, StatementId="sns", Action="lambda:InvokeFunction", Principal="sns.amazonaws.com", SourceArn=arn)
    id = sns.publish(TopicArn=arn, Message="allowed", MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}})["MessageId"]
    eventually(lambda: got(shared, name))
    (record,) = got(shared, name)[0]["Records"]
    assert (record["EventSource"], record["EventVersion"], record["EventSubscriptionArn"]) == ("aws:sns", "1.0", sub)
    assert (record["Sns"]["MessageId"], record["Sns"]["Message"], record["Sns"]["Subject"]) == (id, "allowed", None)
    assert record["Sns"]["MessageAttributes"] == {"a": {"Type": "String", "Value": "b"}}
    eventually(lambda: "delivered" in shared.cli("events", "--id", id).stdout)
    sns.delete_topic(TopicArn=arn)


def test_an_endpoint_confirms_verifies_and_is_tried_again(shared):
    sns = shared.client("sns")
    arn = topic(shared, "web", SignatureVersion="2")
    failures = iter([503, 429])
    with endpoint(lambda headers, body: 200 if b"Confirmation" in body else next(failures, 200)) as (url, sent):
        made = sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=url)["SubscriptionArn"]
        assert made == "pending confirmation"
        eventually(lambda: sent)
        headers, body = sent.pop()
        assert (headers["x-amz-sns-message-type"], headers["x-amz-sns-topic-arn"]) == ("SubscriptionConfirmation", arn)
        body = json.loads(body)
        verify(body, "2")
        with urllib.request.urlopen(body["SubscribeURL"], timeout=5) as r:
            assert b"<SubscriptionArn>" + arn.encode() in r.read()
        id = sns.publish(TopicArn=arn, Message="hello\nthere", Subject="Hi")["MessageId"]
        eventually(lambda: len(sent) == 3)
        assert {headers["x-amz-sns-message-id"] for headers, _ in sent} == {id}
        headers, body = sent[-1]
        body = json.loads(body)
        assert (headers["x-amz-sns-message-type"], headers["Content-Type"], body["Message"]) == ("Notification", "text/plain; charset=UTF-8", "hello\nthere")
        verify(body, "2")
        sns.set_topic_attributes(TopicArn=arn, AttributeName="SignatureVersion", AttributeValue="1")
        sns.publish(TopicArn=arn, Message="old")
        eventually(lambda: len(sent) == 4)
        verify(json.loads(sent[-1][1]), "1")
        # Who has the URL may end it; the endpoint hears of it.
        urllib.request.urlopen(body["UnsubscribeURL"], timeout=5).close()
        eventually(lambda: sent[-1][0]["x-amz-sns-message-type"] == "UnsubscribeConfirmation")
        assert sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"] == []
    sns.delete_topic(TopicArn=arn)


def test_an_endpoint_that_never_answers_well_has_dead_letters(shared):
    sns = shared.client("sns")
    arn = topic(shared, "refuses")
    dead, dead_arn = queue(shared, "refuses-dead", arn)
    policy = {"healthyRetryPolicy": {"minDelayTarget": 1, "maxDelayTarget": 1, "numRetries": 2}}
    with endpoint(lambda headers, body: 200 if b"SubscribeURL" in body else 500) as (url, sent):
        subscribe(shared, arn, "http", url, DeliveryPolicy=json.dumps(policy), RedrivePolicy=json.dumps({"deadLetterTargetArn": dead_arn}))
        eventually(lambda: sent)
        sns.confirm_subscription(TopicArn=arn, Token=json.loads(sent.pop()[1])["Token"])
        sns.publish(TopicArn=arn, Message="nobody")
        assert json.loads(received(shared, dead, 1)[0]["Body"])["Message"] == "nobody"
        assert len(sent) == 3
    sns.delete_topic(TopicArn=arn)


def test_a_fifo_topic_keeps_the_order_of_each_group(shared):
    sns = shared.client("sns")
    arn = topic(shared, "ordered.fifo", FifoTopic="true", ContentBasedDeduplication="true")
    fifo, fifo_arn = queue(shared, "ordered.fifo", arn, FifoQueue="true")
    plain, plain_arn = queue(shared, "ordered", arn)
    subscribe(shared, arn, "sqs", fifo_arn, RawMessageDelivery="true")
    subscribe(shared, arn, "sqs", plain_arn)
    numbers = []
    for n in range(30):
        for _ in range(2):  # The second is not sent.
            numbers.append(sns.publish(TopicArn=arn, Message=str(n), MessageGroupId=f"g{n % 3}")["SequenceNumber"])
    assert numbers == sorted(numbers) and len(set(numbers)) == 30
    groups = {}
    for message in received(shared, fifo, 30):
        groups.setdefault(message["Attributes"]["MessageGroupId"], []).append(int(message["Body"]))
    assert groups == {f"g{g}": list(range(g, 30, 3)) for g in range(3)}
    assert {json.loads(m["Body"])["SequenceNumber"] for m in received(shared, plain, 30)} == set(numbers)
    sns.delete_topic(TopicArn=arn)


UPLOADS = """
import json
def handler(event, context):
    for record in event["Records"]:
        for upload in json.loads(record["Sns"]["Message"]).get("Records", []):
            print("got", json.dumps([record["Sns"]["Subject"], upload["s3"]["object"]["key"]]))
"""


def test_an_upload_reaches_a_queue_and_a_function_through_a_topic(shared, function):
    s3, sns, name = shared.client("s3"), shared.client("sns"), function(UPLOADS)
    arn = topic(shared, "uploads")
    s3.create_bucket(Bucket="topic-uploads")
    config = {"TopicConfigurations": [{"TopicArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    assert code(s3.put_bucket_notification_configuration, Bucket="topic-uploads", NotificationConfiguration=config)[0] == "InvalidArgument"
    let = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "SNS:Publish", "Resource": arn,
           "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::topic-uploads"}}}]}
    sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps(let))
    url, queue_arn = queue(shared, "topic-uploads", arn)
    subscribe(shared, arn, "sqs", queue_arn)
    function_arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"
    shared.client("lambda").add_permission(FunctionName=name, StatementId="sns", Action="lambda:InvokeFunction", Principal="sns.amazonaws.com", SourceArn=arn)
    subscribe(shared, arn, "lambda", function_arn)
    s3.put_bucket_notification_configuration(Bucket="topic-uploads", NotificationConfiguration=config)
    assert json.loads(json.loads(received(shared, url, 1)[0]["Body"])["Message"])["Event"] == "s3:TestEvent"
    s3.put_object(Bucket="topic-uploads", Key="a.png", Body=b"x")
    message = json.loads(received(shared, url, 1)[0]["Body"])
    assert message["Subject"] == "Amazon S3 Notification"
    assert json.loads(message["Message"])["Records"][0]["s3"]["object"]["key"] == "a.png"
    eventually(lambda: got(shared, name) == [["Amazon S3 Notification", "a.png"]])
    sns.delete_topic(TopicArn=arn)


def test_rules_schedules_and_destinations_send_to_topics(shared, function):
    bus, scheduler, lam = (shared.client(s) for s in ("events", "scheduler", "lambda"))
    arn = topic(shared, "target")
    url, queue_arn = queue(shared, "target", arn)
    subscribe(shared, arn, "sqs", queue_arn)
    let = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sns:Publish", "Resource": arn}]}
    shared.client("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps(let))
    message = lambda: json.loads(json.loads(received(shared, url, 1)[0]["Body"])["Message"])
    bus.put_rule(Name="to-topic", EventPattern=json.dumps({"source": ["shop"]}))
    assert bus.put_targets(Rule="to-topic", Targets=[{"Id": "1", "Arn": arn}])["FailedEntryCount"] == 0
    bus.put_events(Entries=[{"Source": "shop", "DetailType": "order", "Detail": '{"n": 1}'}])
    assert message()["detail"] == {"n": 1}
    scheduler.create_schedule(Name="to-topic", ScheduleExpression="rate(1 minute)", FlexibleTimeWindow={"Mode": "OFF"}, State="DISABLED",
                              Target={"Arn": arn, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/x", "Input": '{"n": 2}'})
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 2))
    scheduler.create_schedule(Name="once-to-topic", ScheduleExpression=f"at({at})", FlexibleTimeWindow={"Mode": "OFF"}, ActionAfterCompletion="DELETE",
                              Target={"Arn": arn, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/x", "Input": '{"n": 2}'})
    assert message() == {"n": 2}
    name = function(SHOW, DeadLetterConfig={"TargetArn": arn})
    lam.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnSuccess": {"Destination": arn}})
    lam.invoke(FunctionName=name, InvocationType="Event", Payload='{"n": 3}')
    assert message()["requestPayload"] == {"n": 3}
    lam.invoke(FunctionName=name, InvocationType="Event", Payload='"fail"')
    letter = json.loads(received(shared, url, 1)[0]["Body"])
    assert letter["Message"] == '"fail"' and letter["MessageAttributes"]["ErrorCode"] == {"Type": "Number", "Value": "200"}
    scheduler.delete_schedule(Name="to-topic")
    bus.remove_targets(Rule="to-topic", Ids=["1"])
    bus.delete_rule(Name="to-topic")
    shared.client("sns").delete_topic(TopicArn=arn)


def test_delivery_status_is_written_to_log_groups(shared):
    role = f"arn:aws:iam::{ACCOUNT}:role/feedback"
    kinds = {f"{protocol}{kind}FeedbackRoleArn": role for protocol in ("SQS", "HTTP") for kind in ("Success", "Failure")}
    arn = topic(shared, "told", **kinds, SQSSuccessFeedbackSampleRate="100")
    with pytest.raises(ClientError, match="FirehoseFailureFeedbackRoleArn"):
        topic(shared, "untold", FirehoseFailureFeedbackRoleArn=role)
    _, queue_arn = queue(shared, "told", arn)
    gone_url, gone_arn = queue(shared, "told-gone", arn)
    subscribe(shared, arn, "sqs", queue_arn)
    subscribe(shared, arn, "sqs", gone_arn)
    shared.client("sqs").delete_queue(QueueUrl=gone_url)
    logs = shared.client("logs")

    def entries(failure=""):
        """What the log group says so far."""
        try:
            found = logs.filter_log_events(logGroupName=f"sns/us-east-1/{ACCOUNT}/told{failure}")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [json.loads(event["message"]) for event in found]

    with endpoint() as (url, sent):
        subscribe(shared, arn, "http", url)
        eventually(lambda: sent)
        shared.client("sns").confirm_subscription(TopicArn=arn, Token=json.loads(sent[0][1])["Token"])
        message = shared.client("sns").publish(TopicArn=arn, Message="hello")["MessageId"]
        eventually(lambda: len(entries()) == 2 and len(entries("/Failure")) == 1)
    for entry in entries() + entries("/Failure"):
        at = entry["notification"].pop("timestamp")
        assert time.strptime(at.split(".")[0], "%Y-%m-%d %H:%M:%S") and len(at) == 23
        assert entry["notification"] == {"messageMD5Sum": "5d41402abc4b2a76b9719d911017c592", "messageId": message, "topicArn": arn}
        assert set(entry["delivery"]) == {"deliveryId", "destination", "providerResponse", "dwellTimeMs", "attempts", "statusCode"}
        assert entry["delivery"]["attempts"] == 1 and 0 <= entry["delivery"]["dwellTimeMs"] < 20_000
    assert {(entry["delivery"]["destination"], entry["delivery"]["statusCode"], entry["status"]) for entry in entries()} == {
        (queue_arn, 200, "SUCCESS"), (url, 200, "SUCCESS")}
    (failed,) = entries("/Failure")
    assert (failed["delivery"]["destination"], failed["delivery"]["statusCode"], failed["status"]) == (gone_arn, 400, "FAILURE")
    assert "NonExistentQueue" in failed["delivery"]["providerResponse"]
    shared.client("sns").delete_topic(TopicArn=arn)


def test_what_was_accepted_survives_kill_9(own):
    own.start()
    arn = topic(own, "lasting")
    queues = [queue(own, f"lasting-{n}", arn) for n in range(3)]
    for _, queue_arn in queues:
        subscribe(own, arn, "sqs", queue_arn, RawMessageDelivery="true")
    accepted = []

    def publish(worker):
        sns = own.client("sns", retries={"max_attempts": 0})
        for n in range(1000):
            try:
                sns.publish(TopicArn=arn, Message=f"{worker}-{n}")
            except Exception:
                return
            accepted.append(f"{worker}-{n}")

    for round_ in range(3):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for worker in range(4):
                pool.submit(publish, f"{round_}-{worker}")
            before = len(accepted)
            eventually(lambda: len(accepted) > before + 40)
            own.kill()
        own.start()
    for url, _ in queues:
        sqs, found = own.client("sqs"), set()
        deadline = time.time() + 60
        while not found >= set(accepted) and time.time() < deadline:
            for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1, MaxNumberOfMessages=10).get("Messages", []):
                found.add(message["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        assert found >= set(accepted), f"{len(set(accepted) - found)} of {len(accepted)} are lost"
    own.stop()
