"""Queues, through boto3, the AWS CLI and the forms that older clients post; through kill -9; and as sources of functions."""

import hashlib
import json
import os
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from conftest import eventually

NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"


@pytest.fixture
def queue(shared, request):
    """Makes queues on the shared node and deletes them after the test."""
    sqs = shared.client("sqs", read_timeout=60)
    made = []

    def make(fifo=False, **attributes):
        name = f"{request.node.name[:60]}-{len(made)}" + (".fifo" if fifo else "")
        if fifo:
            attributes["FifoQueue"] = "true"
        made.append(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])
        return made[-1]

    yield make
    for url in made:
        sqs.delete_queue(QueueUrl=url)


def arn(sqs, url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def test_messages_go_through_with_their_sums(shared, queue):
    """boto3 itself checks the MD5 sums of bodies and attributes."""
    sqs, url = shared.client("sqs"), queue()
    assert url == f"{shared.url}/000000000000/" + url.rsplit("/", 1)[1]
    attributes = {"colour": {"DataType": "String", "StringValue": "röt"}, "size": {"DataType": "Number", "StringValue": "3"},
                  "raw": {"DataType": "Binary", "BinaryValue": bytes(range(256))}}
    body = "hëllo\n\"<&>\" 😀"
    sent = sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes,
                            MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-0-0"}})
    assert sent["MD5OfMessageBody"] == hashlib.md5(body.encode()).hexdigest()
    got = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"])["Messages"]
    assert [(m["Body"], m["MessageId"]) for m in got] == [(body, sent["MessageId"])]
    assert got[0]["MessageAttributes"] == attributes and got[0]["Attributes"]["AWSTraceHeader"] == "Root=1-0-0"
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=got[0]["ReceiptHandle"], VisibilityTimeout=0)
    again = sqs.receive_message(QueueUrl=url, AttributeNames=["ApproximateReceiveCount"])["Messages"]
    assert again[0]["Attributes"] == {"ApproximateReceiveCount": "2"}
    sqs.delete_message(QueueUrl=url, ReceiptHandle=again[0]["ReceiptHandle"])
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    large = "x" * (1 << 20)
    sqs.send_message(QueueUrl=url, MessageBody=large)
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == large


def test_errors_as_clients_know_them(shared, queue):
    sqs, url = shared.client("sqs"), queue()
    with pytest.raises(sqs.exceptions.QueueDoesNotExist) as raised:
        sqs.send_message(QueueUrl=url + "-none", MessageBody="x")
    assert raised.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    for call, code in [
        (lambda: sqs.delete_message(QueueUrl=url, ReceiptHandle="x"), "ReceiptHandleIsInvalid"),
        (lambda: sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=11), "InvalidParameterValue"),
        (lambda: sqs.send_message(QueueUrl=url, MessageBody="\x01"), "InvalidMessageContents"),
        (lambda: sqs.send_message(QueueUrl=url, MessageBody="x" * ((1 << 20) + 1)), "InvalidParameterValue"),
        (lambda: sqs.send_message_batch(QueueUrl=url, Entries=[]), "AWS.SimpleQueueService.EmptyBatchRequest"),
        (lambda: sqs.set_queue_attributes(QueueUrl=url, Attributes={"Colour": "red"}), "InvalidAttributeName"),
        (lambda: sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "901"}), "InvalidAttributeValue"),
        (lambda: sqs.create_queue(QueueName=url.rsplit("/", 1)[1], Attributes={"DelaySeconds": "1"}), "QueueAlreadyExists"),
        (lambda: sqs.create_queue(QueueName="a.b"), "InvalidParameterValue"),
    ]:
        with pytest.raises(ClientError) as raised:
            call()
        assert raised.value.response["Error"]["Code"] == code, raised.value


def test_fifo_order_and_duplicates(shared, queue):
    sqs, url = shared.client("sqs"), queue(fifo=True, ContentBasedDeduplication="true")
    for n in range(6):
        for _ in range(2):
            sqs.send_message(QueueUrl=url, MessageBody=str(n), MessageGroupId="ab"[n % 2])
    seen = []
    while got := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=2).get("Messages"):
        seen += [m["Body"] for m in got]
        done = sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(got)])
        assert not done.get("Failed")
    assert sorted(seen) == list("012345")
    assert [n for n in seen if int(n) % 2 == 0] == ["0", "2", "4"] and [n for n in seen if int(n) % 2] == ["1", "3", "5"]


def test_a_long_poll_ends_with_the_message(shared, queue):
    sqs, url = shared.client("sqs", read_timeout=30), queue()
    threading.Timer(1, lambda: shared.client("sqs").send_message(QueueUrl=url, MessageBody="late")).start()
    began = time.time()
    got = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
    assert got[0]["Body"] == "late" and 0.8 < time.time() - began < 5
    began = time.time()
    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)
    assert time.time() - began >= 1


def test_dead_letters_there_and_back(shared, queue):
    sqs, dead = shared.client("sqs"), queue()
    work = queue(VisibilityTimeout="0", RedrivePolicy=json.dumps({"deadLetterTargetArn": arn(sqs, dead), "maxReceiveCount": 2}))
    sqs.send_message(QueueUrl=work, MessageBody="poison")
    for _ in range(2):
        assert sqs.receive_message(QueueUrl=work)["Messages"]
    assert "Messages" not in sqs.receive_message(QueueUrl=work)
    got = sqs.receive_message(QueueUrl=dead, VisibilityTimeout=0, MessageSystemAttributeNames=["All"])["Messages"][0]
    assert got["Attributes"]["DeadLetterQueueSourceArn"] == arn(sqs, work)
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [work]
    sqs.start_message_move_task(SourceArn=arn(sqs, dead))
    eventually(lambda: sqs.list_message_move_tasks(SourceArn=arn(sqs, dead))["Results"][0]["Status"] == "COMPLETED")
    assert sqs.receive_message(QueueUrl=work)["Messages"][0]["Body"] == "poison"


def test_the_cli(shared):
    name = "made-by-the-cli"
    url = json.loads(shared.aws("sqs", "create-queue", "--queue-name", name).stdout)["QueueUrl"]
    try:
        shared.aws("sqs", "send-message", "--queue-url", url, "--message-body", "from the shell")
        got = json.loads(shared.aws("sqs", "receive-message", "--queue-url", url).stdout)["Messages"]
        assert got[0]["Body"] == "from the shell"
        shared.aws("sqs", "tag-queue", "--queue-url", url, "--tags", "team=photos")
        assert json.loads(shared.aws("sqs", "list-queue-tags", "--queue-url", url).stdout)["Tags"] == {"team": "photos"}
        shared.aws("sqs", "purge-queue", "--queue-url", url)
    finally:
        shared.aws("sqs", "delete-queue", "--queue-url", url)


def form(node, path, **fields):
    """A request as clients sent it before SQS spoke JSON; the XML that comes back."""
    fields = {"Version": "2012-11-05", **fields}
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    request = AWSRequest("POST", node.url + path, data=urllib.parse.urlencode(fields), headers=headers)
    SigV4Auth(Credentials("test", "test"), "sqs", "us-east-1").add_auth(request)
    sent = urllib.request.Request(request.url, data=request.data.encode() if isinstance(request.data, str) else request.data, headers=dict(request.headers))
    try:
        with urllib.request.urlopen(sent) as r:
            return r.status, ET.fromstring(r.read())
    except urllib.error.HTTPError as e:
        return e.code, ET.fromstring(e.read())


def texts(xml, name):
    return [e.text for e in xml.iter(NAMESPACE + name)]


def test_the_query_protocol(shared):
    status, made = form(shared, "/", Action="CreateQueue", QueueName="by-forms", **{
        "Attribute.1.Name": "VisibilityTimeout", "Attribute.1.Value": "7", "Tag.1.Key": "team", "Tag.1.Value": "a&b"})
    assert status == 200 and made.tag == NAMESPACE + "CreateQueueResponse", ET.tostring(made)
    url = texts(made, "QueueUrl")[0]
    path = urllib.parse.urlparse(url).path
    try:
        body = "a + b = <c> & \u00e9\n"
        _, sent = form(shared, path, Action="SendMessage", MessageBody=body, **{
            "MessageAttribute.1.Name": "n", "MessageAttribute.1.Value.DataType": "String", "MessageAttribute.1.Value.StringValue": "v"})
        assert texts(sent, "MD5OfMessageBody") == [hashlib.md5(body.encode()).hexdigest()]
        _, batch = form(shared, path, Action="SendMessageBatch", QueueUrl=url, **{
            "SendMessageBatchRequestEntry.1.Id": "one", "SendMessageBatchRequestEntry.1.MessageBody": "1",
            "SendMessageBatchRequestEntry.2.Id": "two", "SendMessageBatchRequestEntry.2.MessageBody": "\x01"})
        assert texts(batch, "Id") == ["one", "two"] and texts(batch, "Code") == ["InvalidMessageContents"]
        assert len(list(batch.iter(NAMESPACE + "SendMessageBatchResultEntry"))) == 1
        _, got = form(shared, path, Action="ReceiveMessage", MaxNumberOfMessages="10", **{"AttributeName.1": "All", "MessageAttributeName.1": "All"})
        messages = list(got.iter(NAMESPACE + "Message"))
        assert [m.find(NAMESPACE + "Body").text for m in messages] == [body, "1"]
        names = {a.find(NAMESPACE + "Name").text for a in messages[0].iter(NAMESPACE + "Attribute")}
        assert {"SenderId", "SentTimestamp", "ApproximateReceiveCount"} <= names
        assert messages[0].find(f"{NAMESPACE}MessageAttribute/{NAMESPACE}Value/{NAMESPACE}StringValue").text == "v"
        handle = messages[0].find(NAMESPACE + "ReceiptHandle").text
        status, gone = form(shared, path, Action="DeleteMessage", ReceiptHandle=handle)
        assert status == 200 and gone.find(f"{NAMESPACE}ResponseMetadata/{NAMESPACE}RequestId").text
        _, all_ = form(shared, path, Action="GetQueueAttributes", **{"AttributeName.1": "VisibilityTimeout"})
        assert texts(all_, "Value") == ["7"]
        _, tags = form(shared, path, Action="ListQueueTags")
        assert (texts(tags, "Key"), texts(tags, "Value")) == (["team"], ["a&b"])
        for fields, code in [
            (dict(Action="SendMessage"), "MissingParameter"),
            (dict(Action="Nothing"), "InvalidAction"),
            ({}, "MissingAction"),
            (dict(Action="ReceiveMessage", QueueUrl=url + "-none"), "AWS.SimpleQueueService.NonExistentQueue"),
        ]:
            status, error = form(shared, path, **fields)
            assert status == 400 and texts(error, "Code") == [code] and texts(error, "Type") == ["Sender"], ET.tostring(error)
    finally:
        form(shared, path, Action="DeleteQueue")


def test_a_bucket_tells_a_queue(shared, queue):
    sqs, s3, url = shared.client("sqs"), shared.client("s3"), queue()
    s3.create_bucket(Bucket="tells-a-queue")
    configuration = {"QueueConfigurations": [{"QueueArn": arn(sqs, url), "Events": ["s3:ObjectCreated:*"]}]}
    put = lambda: s3.put_bucket_notification_configuration(Bucket="tells-a-queue", NotificationConfiguration=configuration)
    with pytest.raises(ClientError) as raised:
        put()
    assert "Unable to validate" in str(raised.value)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage",
              "Resource": arn(sqs, url), "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::tells-a-queue"}}}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    put()
    s3.put_object(Bucket="tells-a-queue", Key="a", Body=b"x")
    bodies = []
    while len(bodies) < 2:
        got = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"]
        bodies += [json.loads(m["Body"]) for m in got]
    assert any(b.get("Event") == "s3:TestEvent" for b in bodies)
    assert [b["Records"][0]["s3"]["object"]["key"] for b in bodies if "Records" in b] == ["a"]
    s3.delete_object(Bucket="tells-a-queue", Key="a")
    s3.delete_bucket(Bucket="tells-a-queue")


PICKY = """
import json, boto3
s3 = boto3.client("s3")
def handler(event, context):
    failed = []
    for record in event["Records"]:
        count = int(record["attributes"]["ApproximateReceiveCount"])
        if record["body"].startswith("twice") and count == 1:
            failed.append({"itemIdentifier": record["messageId"]})
            continue
        s3.put_object(Bucket="picked", Key=f"{record['body']}/{count}", Body=json.dumps(record).encode())
    return {"batchItemFailures": failed}
"""


def test_the_bounds_of_a_mapping_are_lambdas(shared, queue, function):
    sqs, lam = shared.client("sqs"), shared.client("lambda", parameter_validation=False)
    source, name = arn(sqs, queue(VisibilityTimeout="5")), function(PICKY, Timeout=5)
    for member, wrong in [
        ("batchSize", {"BatchSize": 0}),
        ("batchSize", {"BatchSize": 10_001, "MaximumBatchingWindowInSeconds": 1}),
        ("maximumBatchingWindowInSeconds", {"MaximumBatchingWindowInSeconds": 301}),
        ("scalingConfig.maximumConcurrency", {"ScalingConfig": {"MaximumConcurrency": 1}}),
        ("scalingConfig.maximumConcurrency", {"ScalingConfig": {"MaximumConcurrency": 1001}}),
        ("functionResponseTypes", {"FunctionResponseTypes": ["ReportEverything"]}),
        ("functionResponseTypes", {"FunctionResponseTypes": ["ReportBatchItemFailures"] * 2}),
        ("filterCriteria.filters.1.member.pattern", {"FilterCriteria": {"Filters": [{"Pattern": "x" * 4097}]}}),
    ]:
        with pytest.raises(ClientError, match=f"'{member}.*failed to satisfy constraint"):
            lam.create_event_source_mapping(EventSourceArn=source, FunctionName=name, **wrong)
    with pytest.raises(ClientError, match="Unsupported DestinationConfig parameter for given event source mapping type"):
        lam.create_event_source_mapping(EventSourceArn=source, FunctionName=name, DestinationConfig={"OnFailure": {"Destination": source}})


def test_a_queue_feeds_a_function(shared, queue, function):
    """Parts of batches fail and come again; what was handled does not."""
    sqs, s3, lam = shared.client("sqs"), shared.client("s3"), shared.client("lambda")
    s3.create_bucket(Bucket="picked")
    url, name = queue(VisibilityTimeout="5"), function(PICKY, Timeout=5)
    mapping = lam.create_event_source_mapping(EventSourceArn=arn(sqs, url), FunctionName=name, BatchSize=10, FunctionResponseTypes=["ReportBatchItemFailures"])
    eventually(lambda: lam.get_event_source_mapping(UUID=mapping["UUID"])["State"] == "Enabled")
    for n in range(3):
        entries = [{"Id": str(i), "MessageBody": ("twice" if i % 4 == 0 else "once") + f"-{n}-{i}"} for i in range(10)]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    wanted = {f"once-{n}-{i}/1" for n in range(3) for i in range(10) if i % 4} | {f"twice-{n}-{i}/2" for n in range(3) for i in range(0, 10, 4)}
    keys = lambda: {o["Key"] for o in s3.list_objects_v2(Bucket="picked").get("Contents", [])}
    eventually(lambda: keys() == wanted, seconds=60)
    record = json.loads(s3.get_object(Bucket="picked", Key="once-0-1/1")["Body"].read())
    assert record["eventSource"] == "aws:sqs" and record["eventSourceARN"] == arn(sqs, url) and record["awsRegion"] == "us-east-1"
    empty = {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0"}
    eventually(lambda: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(empty))["Attributes"] == empty)
    lam.delete_event_source_mapping(UUID=mapping["UUID"])
    for key in keys():
        s3.delete_object(Bucket="picked", Key=key)
    s3.delete_bucket(Bucket="picked")


def test_kill_loses_no_message_and_brings_none_back(own):
    """Senders and consumers while the node is killed: what was acknowledged is received, what was deleted is not seen again."""
    rng = random.Random(int(os.environ.get("WADI_SEED", "20261127")))
    own.start()
    url = own.client("sqs").create_queue(QueueName="kept", Attributes={"VisibilityTimeout": "5"})["QueueUrl"]
    sent, deleted, doubtful, again, stop = set(), set(), set(), [], threading.Event()
    lock = threading.Lock()

    def client():
        return own.client("sqs", connect_timeout=2, read_timeout=8, retries={"max_attempts": 0})

    def send(worker):
        n = 0
        while not stop.is_set():
            try:
                sqs = client()
                while not stop.is_set():
                    n += 1
                    body = f"{worker}-{n}"
                    sqs.send_message(QueueUrl=url, MessageBody=body)
                    sent.add(body)
            except Exception:
                time.sleep(0.05)

    def consume(everything=False):
        quiet = 0
        while not stop.is_set() or (everything and quiet < 3):
            try:
                sqs = client()
                got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages", [])
                quiet = 0 if got else quiet + 1
                for m in got:
                    with lock:
                        if m["Body"] in deleted:
                            again.append(m["Body"])
                    try:
                        sqs.delete_message(QueueUrl=url, ReceiptHandle=m["ReceiptHandle"])
                    except Exception:
                        doubtful.add(m["Body"])
                        raise
                    with lock:
                        deleted.add(m["Body"])
            except Exception:
                time.sleep(0.05)

    threads = [threading.Thread(target=send, args=(w,)) for w in range(3)] + [threading.Thread(target=consume) for _ in range(2)]
    [t.start() for t in threads]
    try:
        for _ in range(int(os.environ.get("WADI_KILL_ROUNDS", "50")) // 5):
            time.sleep(rng.uniform(0.3, 1.2))
            own.kill()
            own.start()
    finally:
        stop.set()
        [t.join() for t in threads]
    # What was in flight at the last kill comes back within its timeout.
    consume(everything=True)
    time.sleep(5)
    consume(everything=True)
    assert len(sent) > 100, len(sent)
    assert not again, f"seen after their deletion: {again[:5]}"
    lost = sent - deleted - doubtful
    assert not lost, f"{len(lost)} of {len(sent)} lost: {sorted(lost)[:5]}"
    own.stop()
