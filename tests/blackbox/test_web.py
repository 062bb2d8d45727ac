"""Events over HTTP: API destinations, CloudEvents and Event Grid, with the clients that people have."""

import base64
import contextlib
import http.server
import json
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone

import pytest
from botocore.exceptions import ClientError
from conftest import ROLE, eventually, invoke, which_all
from test_bus import ACCOUNT, SHOW, allow, got, put

KEY = "Basic " + base64.b64encode(b"test:test").decode()
TOPICS = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/"


class Server:
    """Takes requests on loopback, keeps them, and answers as `answer(request)` says: status, headers, body."""

    def __init__(self, answer):
        outer = self
        self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def serve(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                request = {"method": self.command, "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}, "body": body}
                status, headers, text = answer(request)
                outer.seen.append(request)
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PUT = do_OPTIONS = serve

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def got(self, path):
        return [r for r in self.seen if r["path"].split("?")[0] == path]


@contextlib.contextmanager
def serving(answer=lambda request: (200, {}, "")):
    server = Server(answer)
    try:
        yield server
    finally:
        server.server.shutdown()
        server.server.server_close()


def ask(node, method, path, body=None, **headers):
    """(status, headers, body)"""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(node.url + path, data, {k.replace("_", "-"): v for k, v in headers.items()}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as r:
            return r.status, r.headers, r.read()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read()


def destination(node, name, url, auth=None, kind="BASIC", **more):
    bus = node.client("events")
    auth = auth or {"BasicAuthParameters": {"Username": "u", "Password": "p"}}
    made = bus.create_connection(Name=name, AuthorizationType=kind, AuthParameters=auth)
    assert made["ConnectionState"] == "AUTHORIZED", bus.describe_connection(Name=name)
    return bus.create_api_destination(Name=name, ConnectionArn=made["ConnectionArn"], InvocationEndpoint=url, HttpMethod="POST", **more)["ApiDestinationArn"]


def rule(node, name, source, target, **more):
    bus = node.client("events")
    bus.put_rule(Name=name, EventPattern=json.dumps({"source": [source]}))
    assert bus.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": target, "RoleArn": ROLE, **more}])["FailedEntryCount"] == 0


def lets_events(queue):
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": queue}
    return json.dumps({"Version": "2012-10-17", "Statement": [allow]})


def test_an_api_destination_is_authorised_filled_and_tried_again(shared):
    tries = {"/orders/7": [503, 429]}

    def answer(request):
        if request["path"] == "/token":
            return 200, {}, json.dumps({"access_token": "t0k", "expires_in": 3600})
        left = tries.get(request["path"].split("?")[0], [])
        return (left.pop(0) if left else 200), {}, ""

    oauth = {"OAuthParameters": {"ClientParameters": {"ClientID": "me", "ClientSecret": "s"}, "HttpMethod": "POST"}}
    with serving(answer) as server:
        oauth["OAuthParameters"]["AuthorizationEndpoint"] = server.url + "/token"
        arn = destination(shared, "web-oauth", server.url + "/orders/*", oauth, "OAUTH_CLIENT_CREDENTIALS")
        http = {"PathParameterValues": ["$.detail.id"], "HeaderParameters": {"X-A": "1"}, "QueryStringParameters": {"q": "a b"}}
        rule(shared, "web-oauth", "web.oauth", arn, HttpParameters=http)
        put(shared, "web.oauth", {"id": 7})
        eventually(lambda: len(server.got("/orders/7")) == 3)
        last = server.seen[-1]
        assert (last["path"], last["headers"]["x-a"]) == ("/orders/7?q=a%20b", "1")
        assert last["headers"]["authorization"] == "Bearer t0k"
        assert json.loads(last["body"])["detail"] == {"id": 7}
        assert len(server.got("/token")) == 2  # at creation, and once for the three


def test_what_an_endpoint_refuses_is_a_dead_letter_with_its_reason(shared):
    sqs = shared.client("sqs")
    letters = f"arn:aws:sqs:us-east-1:{ACCOUNT}:web-dead"
    queue = sqs.create_queue(QueueName="web-dead", Attributes={"Policy": lets_events(letters)})["QueueUrl"]
    dead = {"DeadLetterConfig": {"Arn": letters}}
    with serving(lambda request: (403, {}, "no")) as server:
        arn = destination(shared, "web-dead", server.url + "/x")
        rule(shared, "web-dead", "web.dead", arn, **dead)
        put(shared, "web.dead", {"n": 1})
        received = eventually(lambda: sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"], WaitTimeSeconds=5).get("Messages"))
        assert len(server.seen) == 1
    attributes = {k: v["StringValue"] for k, v in received[0]["MessageAttributes"].items()}
    assert attributes["TARGET_ARN"] == arn and "HTTP status 403" in attributes["ERROR_MESSAGE"], attributes
    assert json.loads(received[0]["Body"])["detail"] == {"n": 1}


def test_connections_survive_a_restart_and_are_not_in_the_clear(own):
    own.start()
    with serving() as server:
        auth = {"ApiKeyAuthParameters": {"ApiKeyName": "x-key", "ApiKeyValue": "hunter2-hunter2"}}
        arn = destination(own, "c", server.url + "/x", auth, "API_KEY")
        rule(own, "r", "web.s", arn)
        own.stop()
        for path in own.data_dir.rglob("*"):
            assert not path.is_file() or b"hunter2-hunter2" not in path.read_bytes(), path
        own.start()
        put(own, "web.s", {})
        eventually(lambda: server.got("/x"))
        assert server.got("/x")[0]["headers"]["x-key"] == "hunter2-hunter2"
    own.stop()


def test_tls_is_checked(own, tmp_path, monkeypatch):
    openssl = next(iter(which_all("openssl")), None)
    if not openssl:
        pytest.skip("no openssl on PATH")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run([openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    own.start()
    with serving() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        rule(own, "good", "web.good", destination(own, "good", url + "/good"))
        put(own, "web.good", {})
        eventually(lambda: server.got("/good"))
        # Another name than the certificate's.
        rule(own, "bad", "web.bad", destination(own, "bad", url.replace("localhost", "127.0.0.1") + "/bad"))
        put(own, "web.bad", {})
        eventually(lambda: "invalid peer certificate" in json.dumps(own.get("/_wadi/api/events")))
        assert not server.got("/bad")
    own.stop()


def test_cloud_events_come_in_and_go_out(shared, function):
    ce = pytest.importorskip("cloudevents.core.v1.event")
    http = pytest.importorskip("cloudevents.core.bindings.http")
    name = function(SHOW)
    bus = shared.client("events")
    bus.create_event_bus(Name="clouds")
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"
    made = bus.put_rule(Name="clouds", EventBusName="clouds", EventPattern=json.dumps({"source": ["/shop"]}))["RuleArn"]
    allow(shared, name, made)
    allowed = {"WebHook-Allowed-Origin": "*"}
    with serving(lambda request: (200, allowed, "")) as server:
        mode = {"HeaderParameters": [{"Key": "Wadi-CloudEvents", "Value": "binary"}]}
        auth = {"BasicAuthParameters": {"Username": "u", "Password": "p"}, "InvocationHttpParameters": mode}
        out = destination(shared, "clouds", server.url + "/in", auth)
        assert server.seen[0]["method"] == "OPTIONS" and server.seen[0]["headers"]["webhook-request-origin"] == "127.0.0.1"
        targets = [{"Id": "f", "Arn": arn}, {"Id": "out", "Arn": out, "RoleArn": ROLE}]
        assert bus.put_targets(Rule="clouds", EventBusName="clouds", Targets=targets)["FailedEntryCount"] == 0

        def event(kind, data):
            return ce.CloudEvent({"id": "id-" + kind, "source": "/shop", "type": kind, "subject": "order 7 €", "specversion": "1.0", "datacontenttype": "application/json"}, data)

        for shape, kind in ((http.to_binary_event, "binary"), (http.to_structured_event, "structured")):
            message = shape(event(kind, {"n": 1}))
            status, _, said = ask(shared, "POST", "/_wadi/events/clouds", message.body, **dict(message.headers), authorization=KEY)
            assert (status, said) == (204, b""), (kind, message.headers, said)
        batch = [{"specversion": "1.0", "id": f"b{n}", "source": "/shop", "type": "batch", "data": [n]} for n in range(3)]
        status, _, said = ask(shared, "POST", "/_wadi/events/clouds", batch, content_type="application/cloudevents-batch+json", authorization=KEY)
        assert status == 204, said
        eventually(lambda: len(got(shared, name)) == 5 and len(server.got("/in")) == 6)
        seen = {e["id"]: e for e in got(shared, name)}
        assert seen["id-binary"]["detail"] == seen["id-structured"]["detail"] == {"n": 1}
        assert seen["id-binary"]["resources"] == ["order 7 €"] and seen["b2"]["detail"] == {"data": [2]}
        sent = {r["headers"]["ce-id"]: r for r in server.got("/in") if r["method"] == "POST"}
        assert sent["id-binary"]["headers"]["ce-subject"] == "order%207%20%E2%82%AC"
        assert json.loads(sent["b2"]["body"]) == [2]

    status, headers, _ = ask(shared, "OPTIONS", "/_wadi/events/clouds", WebHook_Request_Origin="a.test")
    assert (status, headers["WebHook-Allowed-Origin"], headers["WebHook-Allowed-Rate"]) == (200, "a.test", "*")
    good = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/a", "ce_type": "t"}
    for path, headers, expect in (
        ("clouds", good, 401), ("clouds", {**good, "authorization": "Basic " + base64.b64encode(b"test:no").decode()}, 401),
        ("absent", {**good, "authorization": KEY}, 404), ("clouds", {**good, "ce_specversion": "0.3", "authorization": KEY}, 400),
        ("clouds", {"authorization": KEY, "content_type": "application/json"}, 415),
    ):
        assert ask(shared, "POST", "/_wadi/events/" + path, b"{}", **headers)[0] == expect, (path, headers)
    assert ask(shared, "POST", "/_wadi/events/clouds", b"x" * 1_100_000, **good, authorization=KEY)[0] == 413


def test_a_function_url_takes_cloud_events_as_they_are(shared, function):
    name = function(SHOW.replace('{"seen": event.get("detail-type")}', 'event'))
    client = shared.client("lambda")
    url = client.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    client.add_permission(FunctionName=name, StatementId="u", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")
    host = url.split("://")[1].strip("/")
    headers = {"host": host, "ce_specversion": "1.0", "ce_id": "1", "ce_source": "/a", "ce_type": "t", "ce_subject": "%E2%82%AC"}
    status, _, said = ask(shared, "POST", "/", b'{"n":1}', content_type="application/json", **headers)
    event = json.loads(said)
    assert status == 200 and event["body"] == '{"n":1}' and event["isBase64Encoded"] is False
    assert {k: v for k, v in event["headers"].items() if k.startswith("ce-")} == {
        "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/a", "ce-type": "t", "ce-subject": "%E2%82%AC"}
    status, answered, said = ask(shared, "OPTIONS", "/", host=host, WebHook_Request_Origin="a.test")
    assert (status, answered["WebHook-Allowed-Origin"], said) == (200, "a.test", b""), "the gate answers"
    status, _, said = ask(shared, "OPTIONS", "/", host=host)
    assert json.loads(said)["requestContext"]["http"]["method"] == "OPTIONS", "any other OPTIONS is the function's"


def test_event_grid_with_its_own_client(shared):
    grid = pytest.importorskip("azure.eventgrid")
    from azure.core.credentials import AzureKeyCredential, AzureSasCredential
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
    from azure.core.messaging import CloudEvent
    s3 = shared.client("s3")
    s3.create_bucket(Bucket="grid-dead")

    def answer(request):
        body = json.loads(request["body"] or b"[]")
        if request["headers"].get("aeg-event-type") == "SubscriptionValidation":
            return 200, {}, json.dumps({"validationResponse": body[0]["data"]["validationCode"]})
        return (400 if request["path"] == "/bad" else 200), {}, ""

    def manage(method, rest, body=None):
        status, _, said = ask(shared, method, TOPICS + rest, body, authorization=KEY, content_type="application/json")
        assert status in (200, 201), said
        return json.loads(said or b"null")

    with serving(answer) as server:
        made = manage("PUT", "orders", {"location": "westeurope"})
        endpoint = made["properties"]["endpoint"]
        key = manage("POST", "orders/listKeys")["key1"]
        for name, path, more in (("hook", "/hook", {"filter": {"includedEventTypes": ["paid"]}}),
                                 ("bad", "/bad", {"deadLetterDestination": {"endpointType": "StorageBlob", "properties": {"resourceId": "", "blobContainerName": "grid-dead"}}})):
            hook = {"endpointType": "WebHook", "properties": {"endpointUrl": server.url + path}}
            done = manage("PUT", f"orders/providers/Microsoft.EventGrid/eventSubscriptions/{name}", {"properties": {"destination": hook, **more}})
            assert done["properties"]["provisioningState"] == "Succeeded"
        client = grid.EventGridPublisherClient(endpoint, AzureKeyCredential(key))
        client.send([grid.EventGridEvent(subject="/o/1", event_type=kind, data={"n": 1}, data_version="1.0") for kind in ("paid", "placed")])
        eventually(lambda: len(server.got("/hook")) == 2 and len(server.got("/bad")) == 3)
        body = json.loads(server.got("/hook")[1]["body"])
        assert (body[0]["eventType"], body[0]["data"], body[0]["topic"]) == ("paid", {"n": 1}, TOPICS + "orders")
        letters = eventually(lambda: (found := s3.list_objects_v2(Bucket="grid-dead").get("Contents", [])) and len(found) == 2 and found)
        assert all(letter["Key"].startswith("ORDERS/BAD/") for letter in letters)
        letter = json.loads(s3.get_object(Bucket="grid-dead", Key=letters[0]["Key"])["Body"].read())[0]
        assert (letter["deadLetterReason"], letter["lastDeliveryOutcome"], letter["deliveryAttempts"]) == ("UndeliverableEvent", "BadRequest", 1)
        # A token in the place of the key, and what advanced filters let through.
        much = {"operatorType": "NumberGreaterThan", "key": "data.n", "value": 1}
        manage("PATCH", "orders/eventSubscriptions/hook", {"filter": {"advancedFilters": [much]}})
        soon, past = (datetime.now(timezone.utc) + timedelta(minutes=m) for m in (5, -5))
        signed = lambda key, until: grid.EventGridPublisherClient(endpoint, AzureSasCredential(grid.generate_sas(endpoint, key, until)))
        signed(key, soon).send([grid.EventGridEvent(subject="/o/2", event_type="paid", data={"n": n}, data_version="1.0") for n in (1, 2)])
        eventually(lambda: len(server.got("/bad")) == 5)
        assert json.loads(eventually(lambda: len(server.got("/hook")) == 3 and server.got("/hook"))[2]["body"])[0]["data"] == {"n": 2}
        for client_refused in (signed(key, past), signed(base64.b64encode(bytes(32)).decode(), soon)):
            with pytest.raises(ClientAuthenticationError):
                client_refused.send(grid.EventGridEvent("s", "t", {}, "1"))
        assert [t["name"] for t in manage("GET", "")["value"] if t["name"] == "orders"] == ["orders"]
        with pytest.raises(ClientAuthenticationError):
            grid.EventGridPublisherClient(endpoint, AzureKeyCredential("wrong")).send(grid.EventGridEvent("s", "t", {}, "1"))
        with pytest.raises(HttpResponseError) as large:
            client.send(grid.EventGridEvent("s", "t", "x" * 1_100_000, "1"))
        assert large.value.status_code == 413

        # CloudEvents, onto the bus of the topic's name.
        bus, sqs = shared.client("events"), shared.client("sqs")
        bus.create_event_bus(Name="grid-clouds")
        arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:grid-clouds"
        queue = sqs.create_queue(QueueName="grid-clouds", Attributes={"Policy": lets_events(arn)})["QueueUrl"]
        bus.put_rule(Name="q", EventBusName="grid-clouds", EventPattern=json.dumps({"detail-type": ["paid"]}))
        bus.put_targets(Rule="q", EventBusName="grid-clouds", Targets=[{"Id": "1", "Arn": arn}])
        made = manage("PUT", "grid-clouds", {"location": "westeurope", "properties": {"inputSchema": "CloudEventSchemaV1_0"}})
        key = manage("POST", "grid-clouds/listKeys")["key2"]
        client = grid.EventGridPublisherClient(made["properties"]["endpoint"], AzureKeyCredential(key))
        client.send([CloudEvent(source="/shop", type="paid", data={"n": 2}, subject="x")])
        message = eventually(lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5).get("Messages"))[0]
        event = json.loads(message["Body"])
        assert (event["source"], event["detail"], event["resources"]) == ("/shop", {"n": 2}, ["x"])


def test_a_bucket_gets_what_a_function_failed_at(shared, function):
    name = function(SHOW)
    client, s3 = shared.client("lambda"), shared.client("s3")
    s3.create_bucket(Bucket="failed-calls")
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": "arn:aws:s3:::failed-calls"}})
    invoke(client, name, {"fail": 1}, InvocationType="Event")
    found = eventually(lambda: s3.list_objects_v2(Bucket="failed-calls").get("Contents"))
    assert found[0]["Key"].startswith(f"aws/lambda/async/{name}/20"), found
    record = json.loads(s3.get_object(Bucket="failed-calls", Key=found[0]["Key"])["Body"].read())
    assert record["requestPayload"] == {"fail": 1} and record["requestContext"]["condition"] == "RetriesExhausted"
    with pytest.raises(ClientError, match="takes failures alone"):
        client.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": "arn:aws:s3:::failed-calls"}})


LOOP = """
import boto3, os
sqs = boto3.client("sqs")
def handler(event, context):
    print("turn")
    sqs.send_message(QueueUrl=os.environ["QUEUE"], MessageBody="again")
"""


def test_a_function_that_feeds_itself_is_stopped_unless_it_may(shared, function):
    client, sqs, logs = shared.client("lambda"), shared.client("sqs"), shared.client("logs")
    queue = sqs.create_queue(QueueName="loop")["QueueUrl"]
    name = function(LOOP, Environment={"Variables": {"QUEUE": queue}})

    def turns():
        events = logs.filter_log_events(logGroupName="/aws/lambda/" + name, filterPattern="turn")["events"]
        return sum(e["message"].startswith("turn") for e in events)

    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    mapping = client.create_event_source_mapping(FunctionName=name, EventSourceArn=f"arn:aws:sqs:us-east-1:{ACCOUNT}:loop", BatchSize=1)["UUID"]
    sqs.send_message(QueueUrl=queue, MessageBody="first")
    dead = lambda: [e for e in shared.get("/_wadi/api/events/dead")["Events"] if name in json.dumps(e)]
    found = eventually(dead)
    assert "RecursiveLoop" in json.dumps(found), found
    eventually(lambda: turns() == 16)
    assert client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")["RecursiveLoop"] == "Allow"
    sqs.send_message(QueueUrl=queue, MessageBody="first")
    eventually(lambda: turns() > 40)
    client.delete_event_source_mapping(UUID=mapping)


FEEDS = """
import boto3, os, uuid
def handler(event, context):
    print("turn")
    if os.environ.get("TOPIC"):
        boto3.client("sns").publish(TopicArn=os.environ["TOPIC"], Message="again")
    else:
        boto3.client("s3").put_object(Bucket=os.environ["BUCKET"], Key=uuid.uuid4().hex, Body=b"again")
"""


@pytest.mark.parametrize("way", ["topic", "bucket"])
def test_a_loop_is_stopped_on_every_way(shared, function, way):
    client, logs = shared.client("lambda"), shared.client("logs")
    sns, s3 = shared.client("sns"), shared.client("s3")
    topic, bucket = f"arn:aws:sns:us-east-1:{ACCOUNT}:loop", "loop-of-one"
    name = function(FEEDS, Environment={"Variables": {"TOPIC": topic} if way == "topic" else {"BUCKET": bucket}})
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    principal = {"topic": "sns.amazonaws.com", "bucket": "s3.amazonaws.com"}[way]
    client.add_permission(FunctionName=name, StatementId="way", Action="lambda:InvokeFunction", Principal=principal)
    if way == "topic":
        sns.create_topic(Name="loop")
        sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)
        sns.publish(TopicArn=topic, Message="first")
    else:
        s3.create_bucket(Bucket=bucket)
        told = {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [told]})
        s3.put_object(Bucket=bucket, Key="first", Body=b"first")

    dead = lambda: [e for e in shared.get("/_wadi/api/events/dead")["Events"] if name in json.dumps(e)]
    found = eventually(dead)
    assert "RecursiveLoop" in json.dumps(found), found
    events = logs.filter_log_events(logGroupName="/aws/lambda/" + name, filterPattern="turn")["events"]
    assert sum(e["message"].startswith("turn") for e in events) == 16
