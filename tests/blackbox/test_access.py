"""No operation without a right: each one that Wadi has is sent as a stranger would, is refused, and changes nothing."""

import json
import re
import tomllib
import urllib.parse

import botocore.loaders
import pytest
import requests
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.model import ServiceModel
from botocore.serialize import create_serializer
from conftest import ROLE, ROOT, RUNTIME, package

BUCKET, KEY, GROUP, FUNCTION, LAYER, QUEUE = "access-bucket", "kept/key", "/access/group", "access-kept", "access-layer", "access-queue"
FUNCTION_ARN = f"arn:aws:lambda:us-east-1:000000000000:function:{FUNCTION}"
LAYER_ARN = f"arn:aws:lambda:us-east-1:000000000000:layer:{LAYER}"
QUEUE_ARN, QUEUE_URL = f"arn:aws:sqs:us-east-1:000000000000:{QUEUE}", f"http://localhost/000000000000/{QUEUE}"
GROUP_ARN = f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}"
RULE_ARN = "arn:aws:events:us-east-1:000000000000:rule/access-kept"
TOPIC_ARN = "arn:aws:sns:us-east-1:000000000000:access-kept"
SCHEDULES_ARN = "arn:aws:scheduler:us-east-1:000000000000:schedule-group/access-kept"

# What requests ask for: things that are there, so that one that got through would be seen.
GIVEN = {
    "lambda": {"FunctionName": FUNCTION, "LayerName": LAYER, "VersionNumber": 1, "Name": "live", "StatementId": "kept",
               "Principal": "s3.amazonaws.com", "Resource": FUNCTION_ARN, "Arn": LAYER_ARN + ":1", "Role": ROLE},
    "logs": {"logGroupName": GROUP, "logStreamName": "kept", "resourceArn": GROUP_ARN, "retentionInDays": 1},
    "sqs": {"QueueUrl": QUEUE_URL, "QueueName": QUEUE, "SourceArn": QUEUE_ARN, "Attributes": {"VisibilityTimeout": "1"}},
    "events": {"Name": "access-kept", "Rule": "access-kept", "ResourceARN": RULE_ARN, "Ids": ["1"], "EventPattern": '{"a": [1]}',
               "ArchiveName": "access-kept", "ReplayName": "access-kept", "EventSourceArn": "arn:aws:events:us-east-1:000000000000:event-bus/default",
               "Targets": [{"Id": "2", "Arn": FUNCTION_ARN}]},
    "scheduler": {"Name": "access-kept", "ScheduleExpression": "rate(1 day)", "Target": {"Arn": FUNCTION_ARN, "RoleArn": ROLE},
                  "ResourceArn": SCHEDULES_ARN, "FlexibleTimeWindow": {"Mode": "OFF"}},
    # Which subscription there is shows when it has been made.
    "sns": {"TopicArn": TOPIC_ARN, "ResourceArn": TOPIC_ARN, "Protocol": "sqs", "Endpoint": QUEUE_ARN, "AttributeName": "DisplayName",
            "AttributeValue": "changed", "Label": "l", "AWSAccountId": ["111122223333"], "ActionName": ["Publish"]},
    "wadi": {},
    "s3": {"Bucket": BUCKET, "Key": KEY, "CopySource": f"{BUCKET}/{KEY}", "UploadId": "u", "PartNumber": 1},
}
# The same for one operation: where a success would show best.
BY_OPERATION = {
    "CreateFunction": {"FunctionName": "access-new"},
    "CreateQueue": {"QueueName": "access-new"},
    "CreateLogGroup": {"logGroupName": "/access/new"},
    "CreateLogStream": {"logStreamName": "new"},
    "CreateBucket": {"Bucket": "access-new"},
    "CreateEventBus": {"Name": "access-new"},
    "CreateArchive": {"ArchiveName": "access-new"},
    "StartReplay": {"ReplayName": "access-new", "EventSourceArn": "arn:aws:events:us-east-1:000000000000:archive/access-kept"},
    "CreateScheduleGroup": {"Name": "access-new"},
    "CreateTopic": {"Name": "access-new"},
}


def implemented():
    """(service, operation) of everything that Wadi has, from the tables that it is made from."""
    for service in tomllib.loads((ROOT / "models/services.toml").read_text())["service"]:
        name = service.get("own") or service["botocore"].split("/")[0]
        yield from ((name, operation) for operation in service["operations"])
    table = (ROOT / "services/objects/src/access.rs").read_text().split("ACTIONS", 1)[1].split("];", 1)[0]
    yield from (("s3", operation) for operation in re.findall(r'^    \("(\w+)"', table, re.M))


def model_of(service):
    if service == "wadi":
        return ServiceModel(json.loads((ROOT / "models/wadi/service-2.json").read_text()), "wadi")
    return ServiceModel(botocore.loaders.Loader().load_service_model(service, "service-2"), service)


MODELS = {service: model_of(service) for service in GIVEN}


def sample(shape, given, depth=0):
    """A valid value of a shape: what is given, by member name, and of the rest the required members."""
    kind = shape.type_name
    if kind == "structure":
        names = [n for n in shape.members if n in given or n in shape.required_members]
        return {n: given[n] if depth == 0 and n in given else sample(shape.members[n], {}, depth + 1) for n in names}
    if kind == "list":
        return [sample(shape.member, {}, depth + 1)]
    if kind == "map":
        return {"k": sample(shape.value, {}, depth + 1)}
    if kind == "string":
        return shape.enum[0] if shape.enum else "value"
    return {"blob": b"x", "integer": 1, "long": 1, "boolean": True, "timestamp": 0, "double": 0.5, "float": 0.5}[kind]


def request_of(service, operation):
    """Method, URL path with its query, headers and body."""
    model = MODELS[service].operation_model(operation)
    params = sample(model.input_shape, {**GIVEN[service], **BY_OPERATION.get(operation, {})}) if model.input_shape else {}
    for member in ("Code", "Content"):
        if member in params:
            params[member] = {"ZipFile": package(app="x = 1\n")}
    made = create_serializer(MODELS[service].metadata["protocol"], include_validation=False).serialize_to_request(params, model)
    query = made["query_string"]
    query = query if isinstance(query, dict) else dict(query)
    path = made["url_path"]
    if service == "s3" and "Bucket" in params and not path.startswith("/" + params["Bucket"]):
        path = f"/{params['Bucket']}{path}"
    url = requests.Request("GET", "http://x" + path, params=query).prepare().path_url
    body = made["body"] or b""
    if isinstance(body, dict):
        body = urllib.parse.urlencode(body)
    return made["method"], url, made["headers"], body if isinstance(body, bytes) else body.encode()


def send(node, request, service=None, key="test", secret="test"):
    method, path, headers, body = request
    request = AWSRequest(method, node.url + path, data=body, headers=dict(headers))
    if service:
        auth = S3SigV4Auth if service == "s3" else SigV4Auth
        auth(Credentials(key, secret), service, "us-east-1").add_auth(request)
    return requests.request(method, node.url + path, data=body, headers=dict(request.headers.items()), timeout=30)


def code(reply):
    if "xml" in reply.headers.get("content-type", ""):
        return re.search("<Code>(.*?)</Code>", reply.text).group(1)
    return (reply.headers.get("x-amzn-errortype") or reply.json()["__type"]).split(":")[0].split("#")[-1]


@pytest.fixture(scope="module")
def furnished(shared):
    """The things that GIVEN names, and what can be seen of them."""
    lam, logs, s3, sqs = (shared.client(s) for s in ("lambda", "logs", "s3", "sqs"))
    sqs.create_queue(QueueName=QUEUE, tags={"a": "b"})
    sqs.send_message(QueueUrl=QUEUE_URL, MessageBody="kept")
    bus, scheduler, sns = shared.client("events"), shared.client("scheduler"), shared.client("sns")
    sns.create_topic(Name="access-kept", Tags=[{"Key": "a", "Value": "b"}])
    GIVEN["sns"]["SubscriptionArn"] = sns.subscribe(TopicArn=TOPIC_ARN, Protocol="sqs", Endpoint=QUEUE_ARN, ReturnSubscriptionArn=True)["SubscriptionArn"]
    bus.create_event_bus(Name="access-kept")
    bus.put_rule(Name="access-kept", EventPattern='{"source": ["access"]}')
    bus.put_targets(Rule="access-kept", Targets=[{"Id": "1", "Arn": FUNCTION_ARN}])
    bus.create_archive(ArchiveName="access-kept", EventSourceArn="arn:aws:events:us-east-1:000000000000:event-bus/default")
    scheduler.create_schedule_group(Name="access-kept")
    scheduler.create_schedule(Name="access-kept", ScheduleExpression="rate(1 day)", State="DISABLED", FlexibleTimeWindow={"Mode": "OFF"},
                              Target={"Arn": FUNCTION_ARN, "RoleArn": ROLE})
    lam.create_function(FunctionName=FUNCTION, Runtime=RUNTIME, Role=ROLE, Handler="app.handler", Code={"ZipFile": package(app="x = 1\n")})
    lam.get_waiter("function_active_v2").wait(FunctionName=FUNCTION, WaiterConfig={"Delay": 1})
    lam.publish_version(FunctionName=FUNCTION)
    lam.create_alias(FunctionName=FUNCTION, Name="live", FunctionVersion="1")
    lam.add_permission(FunctionName=FUNCTION, StatementId="kept", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com")
    lam.create_function_url_config(FunctionName=FUNCTION, AuthType="AWS_IAM")
    lam.put_function_concurrency(FunctionName=FUNCTION, ReservedConcurrentExecutions=3)
    lam.put_function_event_invoke_config(FunctionName=FUNCTION, MaximumRetryAttempts=1)
    lam.publish_layer_version(LayerName=LAYER, Content={"ZipFile": package(lib="x = 1\n")})
    logs.create_log_group(logGroupName=GROUP)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="kept")
    logs.put_retention_policy(logGroupName=GROUP, retentionInDays=7)
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"kept", Tagging="a=b")
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})

    def seen():
        def of(call, **kw):
            reply = call(**kw)
            reply.pop("ResponseMetadata")
            return json.dumps(reply, default=str)
        function = {"FunctionName": FUNCTION}
        return [
            of(sqs.list_queues, QueueNamePrefix="access"), of(sqs.get_queue_attributes, QueueUrl=QUEUE_URL, AttributeNames=["All"]),
            of(sqs.list_queue_tags, QueueUrl=QUEUE_URL), of(lam.list_event_source_mappings), of(lam.list_functions), of(lam.get_function_configuration, **function), of(lam.list_versions_by_function, **function),
            of(lam.list_aliases, **function), of(lam.get_policy, **function), of(lam.list_function_url_configs, **function),
            of(lam.get_function_concurrency, **function), of(lam.list_function_event_invoke_configs, **function),
            of(lam.list_tags, Resource=FUNCTION_ARN), of(lam.list_layers), of(lam.list_layer_versions, LayerName=LAYER),
            of(logs.describe_log_groups, logGroupNamePrefix="/access"), of(logs.describe_log_streams, logGroupName=GROUP),
            of(logs.filter_log_events, logGroupName=GROUP), of(logs.list_tags_for_resource, resourceArn=GROUP_ARN),
            [b["Name"] for b in s3.list_buckets()["Buckets"]], of(s3.list_objects_v2, Bucket=BUCKET), of(s3.list_multipart_uploads, Bucket=BUCKET),
            of(s3.get_bucket_tagging, Bucket=BUCKET), of(s3.get_object_tagging, Bucket=BUCKET, Key=KEY),
            of(bus.list_event_buses), of(bus.list_rules), of(bus.list_targets_by_rule, Rule="access-kept"), of(bus.describe_event_bus),
            of(bus.list_archives), of(bus.list_replays),
            of(bus.list_tags_for_resource, ResourceARN=RULE_ARN), of(scheduler.list_schedule_groups), of(scheduler.list_schedules),
            of(sns.list_topics), of(sns.list_subscriptions), of(sns.get_topic_attributes, TopicArn=TOPIC_ARN),
            of(sns.list_tags_for_resource, ResourceArn=TOPIC_ARN), of(sns.get_subscription_attributes, SubscriptionArn=GIVEN["sns"]["SubscriptionArn"]),
            of(scheduler.get_schedule, Name="access-kept"), of(scheduler.list_tags_for_resource, ResourceArn=SCHEDULES_ARN),
            of(s3.get_bucket_notification_configuration, Bucket=BUCKET), s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read(),
        ]
    yield seen
    sns.delete_topic(TopicArn=TOPIC_ARN)
    scheduler.delete_schedule(Name="access-kept")
    scheduler.delete_schedule_group(Name="access-kept")
    bus.delete_archive(ArchiveName="access-kept")
    bus.remove_targets(Rule="access-kept", Ids=["1"])
    bus.delete_rule(Name="access-kept")
    bus.delete_event_bus(Name="access-kept")
    lam.delete_function(FunctionName=FUNCTION)
    sqs.delete_queue(QueueUrl=QUEUE_URL)
    lam.delete_layer_version(LayerName=LAYER, VersionNumber=1)
    logs.delete_log_group(logGroupName=GROUP)
    s3.delete_object(Bucket=BUCKET, Key=KEY)
    s3.delete_bucket(Bucket=BUCKET)


ROOMS = {"unsigned": "MissingAuthenticationTokenException", "secret": "InvalidSignatureException",
         "key": "UnrecognizedClientException", "service": "InvalidSignatureException"}
SNS = {"secret": "SignatureDoesNotMatch", "key": "InvalidClientTokenId"}
S3 = {"unsigned": "AccessDenied", "secret": "SignatureDoesNotMatch", "key": "InvalidAccessKeyId"}


def test_no_operation_runs_for_a_stranger(shared, furnished):
    before, wrong, count = furnished(), [], 0
    for service, operation in implemented():
        request = request_of(service, operation)
        other = "logs" if service == "lambda" else "lambda"
        tries = {
            "unsigned": send(shared, request),
            "secret": send(shared, request, service, secret="wrong"),
            "key": send(shared, request, service, key="AKIDSTRANGER"),
            "service": send(shared, request, other),
        }
        for case, reply in tries.items():
            count += 1
            if request[0] == "HEAD":
                fine = reply.status_code == (404 if case == "service" else 403) and not reply.content
            elif service in ("s3", "sns") and case == "service":
                # One address serves all services: what is signed for Lambda is asked of Lambda, which has no such path.
                fine = (reply.status_code, code(reply)) == (404, "UnknownOperationException")
            elif service == "sns" and case == "unsigned":
                # A form that nothing says the service of is asked of S3, which has no such request.
                fine = (reply.status_code, code(reply)) == (501, "NotImplemented")
            else:
                expect = {"s3": S3, "sns": SNS}.get(service, ROOMS)
                fine = (reply.status_code, code(reply)) == (403, expect[case])
            if not fine:
                wrong.append((service, operation, case, request[:2], reply.status_code, reply.text[:200]))
    assert not wrong, "\n".join(map(str, wrong))
    assert count == 4 * len(list(implemented())) >= 350
    assert furnished() == before, "a stranger's request changed something"


def test_the_same_requests_get_through_with_the_right_key(shared, furnished):
    """That the requests above are refused for who sent them, and not because they are broken."""
    for service, operation in implemented():
        method, *_ = request = request_of(service, operation)
        if method == "GET" or operation.startswith(("Describe", "List", "Filter", "Get")):
            reply = send(shared, request, service)
            assert reply.status_code not in (401, 403), (operation, reply.text)
            known = reply.ok or code(reply) in ("ResourceNotFoundException", "NoSuchUpload", "NoSuchTagSet")
            assert known or reply.status_code == 400, (operation, reply.status_code, reply.text)
