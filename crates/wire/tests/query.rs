//! The query protocol, on the table of SQS, which speaks it beside JSON.

mod tables;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tables::sqs::SERVICE;
use wire::{Encoded, Fault, Protocol};

/// Routes and decodes a form; gives the operation's name and what it holds.
fn decode(uri: &str, form: &str) -> Result<(&'static str, Value), Fault> {
    let request = Request::post(uri).header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    assert_eq!(SERVICE.spoken(&parts), Protocol::Query);
    let operation = SERVICE.route_query(&parts, form.as_bytes())?;
    let body = Bytes::from(form.to_owned());
    let decoded = wire::decode(&SERVICE, operation, &Default::default(), &parts, &body)?;
    Ok((operation.name, decoded.input))
}

fn input(form: &str) -> Value {
    decode("/", form).expect("a request").1
}

#[test]
fn who_speaks_what() {
    let spoken = |name: &str, value: &str| {
        let (parts, ()) = Request::post("/").header(name, value).body(()).expect("a request").into_parts();
        SERVICE.spoken(&parts)
    };
    assert_eq!(spoken("x-amz-target", "AmazonSQS.SendMessage"), Protocol::Json10);
    assert_eq!(spoken("content-type", "application/x-amz-json-1.0"), Protocol::Json10);
    assert_eq!(spoken("content-type", "application/x-www-form-urlencoded"), Protocol::Query);
    assert_eq!(spoken("x-other", "a GET has no type"), Protocol::Query);
}

#[test]
fn forms() {
    let (name, made) = decode(
        "/",
        "Action=CreateQueue&Version=2012-11-05&QueueName=q&Attribute.1.Name=DelaySeconds&Attribute.1.Value=5\
         &Attribute.2.Name=VisibilityTimeout&Attribute.2.Value=0&Tag.1.Key=a+b&Tag.1.Value=%C3%A9",
    )
    .expect("a request");
    assert_eq!(name, "CreateQueue");
    let expect = json!({
        "QueueName": "q", "Attributes": {"DelaySeconds": "5", "VisibilityTimeout": "0"}, "tags": {"a b": "\u{e9}"},
    });
    assert_eq!(made, expect);
    let batch = input(
        "Action=SendMessageBatch&QueueUrl=u&SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageBody=x\
         &SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n\
         &SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=Binary\
         &SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.BinaryValue=AQI%3D\
         &SendMessageBatchRequestEntry.2.Id=b&SendMessageBatchRequestEntry.2.MessageBody=y\
         &SendMessageBatchRequestEntry.2.DelaySeconds=3",
    );
    let expect = json!([
        {"Id": "a", "MessageBody": "x", "MessageAttributes": {"n": {"DataType": "Binary", "BinaryValue": "AQI="}}},
        {"Id": "b", "MessageBody": "y", "DelaySeconds": 3},
    ]);
    assert_eq!(batch["Entries"], expect);
    // A list by the name of its member too; an empty one by its name alone.
    assert_eq!(input("Action=GetQueueAttributes&QueueUrl=u&AttributeNames.1=All")["AttributeNames"], json!(["All"]));
    assert_eq!(input("Action=GetQueueAttributes&QueueUrl=u&AttributeNames=")["AttributeNames"], json!([]));
}

#[test]
fn the_path_is_the_queue() {
    let (_, sent) = decode("/000000000000/q", "Action=SendMessage&MessageBody=x").expect("a request");
    assert_eq!(sent["QueueUrl"], "/000000000000/q");
    let (_, sent) = decode("/000000000000/q", "Action=SendMessage&MessageBody=x&QueueUrl=u").expect("a request");
    assert_eq!(sent["QueueUrl"], "u");
    let (name, listed) = decode("/?Action=ListQueues&QueueNamePrefix=a", "").expect("a request");
    assert_eq!((name, listed), ("ListQueues", json!({"QueueNamePrefix": "a"})));
}

#[test]
fn what_is_refused() {
    let refused = |form: &str, code: &str| assert_eq!(decode("/", form).expect_err(form).code, code, "{form}");
    refused("", "MissingAction");
    refused("Action=Nothing", "InvalidAction");
    refused("Action=SendMessage&QueueUrl=u", "MissingParameter");
    refused("Action=SendMessage&Action=SendMessage", "SerializationException");
    refused("Action=SendMessage&QueueUrl=%FF", "SerializationException");
    refused("Action=ReceiveMessage&QueueUrl=u&MaxNumberOfMessages=ten", "SerializationException");
    let many: String = (0..20_001).map(|n| format!("&a{n}=1")).collect();
    refused(&format!("Action=ListQueues{many}"), "SerializationException");
    let fault = decode("/", "Action=SendMessageBatch&QueueUrl=u&SendMessageBatchRequestEntry.1.Id=a")
        .expect_err("a member lacks");
    assert_eq!(fault.message, "The request must contain the parameter Entries.1.MessageBody.");
}

#[test]
fn replies_and_errors() {
    let operation = SERVICE.operation("ReceiveMessage").expect("in the model");
    let output = json!({"Messages": [{
        "Body": "<a> & \"b\"\r\n\u{0}", "Attributes": {"SenderId": "x"},
        "MessageAttributes": {"n": {"DataType": "Binary", "BinaryValue": "AQI="}},
    }]});
    let reply = wire::encode(&SERVICE, Protocol::Query, operation, Encoded { output, ..Encoded::default() }, "id-1");
    assert_eq!(reply.headers()["content-type"], "text/xml");
    let expect = "<?xml version=\"1.0\"?><ReceiveMessageResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\">\
        <ReceiveMessageResult><Message><Body>&lt;a&gt; &amp; &quot;b&quot;&#13;\n</Body>\
        <Attribute><Name>SenderId</Name><Value>x</Value></Attribute>\
        <MessageAttribute><Name>n</Name><Value><BinaryValue>AQI=</BinaryValue><DataType>Binary</DataType></Value></MessageAttribute>\
        </Message></ReceiveMessageResult><ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></ReceiveMessageResponse>";
    assert_eq!(String::from_utf8_lossy(reply.body()), expect);

    let fault = || Fault::new("QueueDoesNotExist", 400, "The specified queue does not exist.");
    let reply = wire::encode_fault(&SERVICE, Protocol::Query, fault(), "id-2");
    let text = String::from_utf8_lossy(reply.body()).into_owned();
    assert!(text.contains("<Error><Type>Sender</Type><Code>AWS.SimpleQueueService.NonExistentQueue</Code>"), "{text}");
    let reply = wire::encode_fault(&SERVICE, Protocol::Json10, fault(), "id-3");
    assert_eq!(reply.headers()["x-amzn-query-error"], "AWS.SimpleQueueService.NonExistentQueue;Sender");
    let body: Value = serde_json::from_slice(reply.body()).expect("JSON");
    assert_eq!(body["__type"], "QueueDoesNotExist");
}

/// SNS speaks nothing else.
#[test]
fn a_service_of_this_protocol_alone() {
    let service = &tables::sns::SERVICE;
    let form = "Action=Publish&Version=2010-03-31&TopicArn=t&Message=a%0Ab&MessageAttributes.entry.1.Name=n\
                &MessageAttributes.entry.1.Value.DataType=Binary&MessageAttributes.entry.1.Value.BinaryValue=AQI%3D\
                &MessageAttributes.entry.2.Name=m&MessageAttributes.entry.2.Value.DataType=String\
                &MessageAttributes.entry.2.Value.StringValue=v";
    let request = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    assert_eq!(service.spoken(&parts), Protocol::Query);
    let operation = service.route_query(&parts, form.as_bytes()).expect("an operation");
    let decoded = wire::decode(service, operation, &Default::default(), &parts, &Bytes::from(form)).expect("a request");
    let expect = json!({"TopicArn": "t", "Message": "a\nb", "MessageAttributes": {
        "n": {"DataType": "Binary", "BinaryValue": "AQI="}, "m": {"DataType": "String", "StringValue": "v"},
    }});
    assert_eq!(decoded.input, expect);
    let unknown = service.route_query(&parts, b"Action=Shout").expect_err("unknown");
    assert_eq!(unknown.code, "InvalidAction");
    let missing = Bytes::from("Action=Publish&TopicArn=t");
    let missing = wire::decode(service, operation, &Default::default(), &parts, &missing).expect_err("no message");
    assert_eq!(missing.code, "ValidationError");
    let told = service.operation("GetTopicAttributes").expect("an operation");
    let reply = Encoded { output: json!({"Attributes": {"Owner": "0"}}), ..Encoded::default() };
    let reply = wire::encode(service, Protocol::Query, told, reply, "r");
    let text = String::from_utf8(reply.body().to_vec()).expect("text");
    let expect = "<GetTopicAttributesResult><Attributes><entry><key>Owner</key><value>0</value></entry></Attributes>\
                  </GetTopicAttributesResult>";
    assert!(text.contains(expect), "{text}");
    let fault = Fault::new("AccessDeniedException", 403, "no");
    let fault = wire::encode_fault(service, Protocol::Query, fault, "r");
    assert!(String::from_utf8(fault.body().to_vec()).expect("text").contains("<Code>AuthorizationError</Code>"));
}
