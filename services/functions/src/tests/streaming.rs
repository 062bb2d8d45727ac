//! InvokeWithResponseStream, and URLs whose function answers in pieces.

use super::rig::{Answer, Rig};
use super::urls::Url;
use base::{Broken, Head, InvokeError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use wire::Event;

fn payload(content_type: Option<&str>) -> Head {
    Head::Payload { content_type: content_type.map(str::to_owned) }
}

const INTEGRATION: Option<&str> = Some(crate::prelude::INTEGRATION_TYPE);

async fn streamed(rig: &Rig, input: Value) -> (wire::Encoded, Vec<Event>) {
    let mut reply = rig.send("InvokeWithResponseStream", input, Bytes::new()).await.expect("invoked");
    let events = reply.events.take().expect("an event stream").into_stream().collect().await;
    (reply, events)
}

fn chunk(text: &'static str) -> Event {
    Event::blob("PayloadChunk", Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn chunks_then_the_outcome() {
    let rig = Rig::new();
    rig.create("f").await;
    rig.runner.then([Answer::Streams(payload(Some("text/plain")), vec![Ok("one"), Ok("two")])]);
    let (reply, events) = streamed(&rig, json!({"FunctionName": "f", "LogType": "Tail"})).await;
    assert_eq!(reply.status, Some(200));
    let head = json!({"ExecutedVersion": "$LATEST", "ResponseStreamContentType": "application/vnd.amazon.eventstream"});
    assert_eq!(reply.output, head);
    let complete = Event::json("InvokeComplete", &json!({"LogResult": STANDARD.encode("END")}));
    assert_eq!(events, [chunk("one"), chunk("two"), complete]);
    // A function that answers whole.
    let (_, events) = streamed(&rig, json!({"FunctionName": "f"})).await;
    assert_eq!(events, [chunk("{}"), Event::json("InvokeComplete", &json!({}))]);
    // One that speaks HTTP itself.
    let headers = vec![("x-a".to_owned(), Bytes::from_static(b"b"))];
    rig.runner.then([Answer::Streams(Head::Http { status: 404, headers }, vec![Ok("no")])]);
    let (_, events) = streamed(&rig, json!({"FunctionName": "f"})).await;
    let prelude = "{\"headers\":{\"x-a\":\"b\"},\"statusCode\":404}\0\0\0\0\0\0\0\0";
    assert_eq!(events[..2], [chunk(prelude), chunk("no")]);
}

#[tokio::test]
async fn errors_come_last() {
    let rig = Rig::new();
    rig.create("f").await;
    rig.runner.then([Answer::Streams(payload(None), vec![Ok("one"), Err(Broken)]), Answer::Fails("KeyError")]);
    let complete = |error_type: &str| {
        let details = json!({"errorMessage": "no", "errorType": error_type}).to_string();
        Event::json("InvokeComplete", &json!({"ErrorCode": error_type, "ErrorDetails": details}))
    };
    assert_eq!(streamed(&rig, json!({"FunctionName": "f"})).await.1, [chunk("one"), complete("Halfway")]);
    assert_eq!(streamed(&rig, json!({"FunctionName": "f"})).await.1, [complete("KeyError")]);
    rig.runner.then([Answer::Refuses(InvokeError::Throttled { reason: "x" })]);
    let input = json!({"FunctionName": "f"});
    rig.refused("InvokeWithResponseStream", input, "TooManyRequestsException", "Rate Exceeded.").await;
    let input = json!({"FunctionName": "nobody"});
    rig.refused("InvokeWithResponseStream", input, "ResourceNotFoundException", "Function not found").await;
}

#[tokio::test]
async fn dry_run() {
    let rig = Rig::new();
    rig.create("f").await;
    let (reply, events) = streamed(&rig, json!({"FunctionName": "f", "InvocationType": "DryRun"})).await;
    assert_eq!((reply.status, events), (Some(204), vec![]));
    assert_eq!(reply.output, json!({"ExecutedVersion": "$LATEST"}));
    assert!(rig.runner.script.lock().calls.is_empty());
}

async fn streaming_url() -> Url {
    let url = Url::open_to_all(json!({"AllowOrigins": ["https://a.test"]})).await;
    url.rig.ok("UpdateFunctionUrlConfig", json!({"FunctionName": "f", "InvokeMode": "RESPONSE_STREAM"})).await;
    url
}

#[tokio::test]
async fn a_url_passes_on_what_is_streamed() {
    let url = streaming_url().await;
    let get = async |answer: Answer| {
        url.rig.runner.then([answer]);
        let mut request = url.get("/");
        request.headers_mut().insert("origin", "https://a.test".parse().expect("valid"));
        let response = url.serve(request).await;
        let (parts, body) = response.into_parts();
        let text =
            |name: &str| parts.headers.get(name).map(|v| v.to_str().expect("text").to_owned()).unwrap_or_default();
        assert_eq!(text("access-control-allow-origin"), "https://a.test");
        let body = body.collect().await.map(|whole| whole.to_bytes()).map_err(|e| e.to_string());
        (parts.status.as_u16(), text("content-type"), text("x-a"), body)
    };
    let seen = |status, content_type: &str, x_a: &str, body: &'static str| {
        (status, content_type.to_owned(), x_a.to_owned(), Ok(Bytes::from_static(body.as_bytes())))
    };
    let plain = Answer::Streams(payload(Some("text/event-stream")), vec![Ok("data: 1\n\n"), Ok("data: 2\n\n")]);
    assert_eq!(get(plain).await, seen(200, "text/event-stream", "", "data: 1\n\ndata: 2\n\n"));
    let pieces = vec![
        Ok("{\"statusCode\": 201, \"headers\": {\"X-A\": \"b\", \"Content-Length\": 9}}\0\0\0"),
        Ok("\0\0\0\0\0first"),
        Ok("second"),
    ];
    let integration = Answer::Streams(payload(INTEGRATION), pieces);
    assert_eq!(get(integration).await, seen(201, "application/octet-stream", "b", "firstsecond"));
    let headers = ["x-a", "content-length"].map(|n| (n.to_owned(), Bytes::from_static(b"7"))).to_vec();
    let http = Answer::Streams(Head::Http { status: 404, headers }, vec![Ok("no")]);
    assert_eq!(get(http).await, seen(404, "", "7", "no"));
    // What answers whole is passed on as it is: 200 and the payload, whatever is in it.
    let whole = get(Answer::Reply(json!({"statusCode": 500, "body": "x"}))).await;
    assert_eq!(whole, seen(200, "application/json", "", "{\"body\":\"x\",\"statusCode\":500}"));
    let broken = get(Answer::Streams(payload(None), vec![Ok("one"), Err(Broken)])).await;
    assert_eq!((broken.0, broken.3), (200, Err("the function failed in the middle of its response".into())));
}

#[tokio::test]
async fn what_does_not_begin_is_a_502() {
    let url = streaming_url().await;
    for answer in [
        Answer::Fails("KeyError"),
        Answer::Streams(payload(INTEGRATION), vec![Ok("no prelude")]),
        Answer::Streams(payload(INTEGRATION), vec![Ok("{"), Err(Broken)]),
        Answer::Streams(payload(INTEGRATION), vec![Ok("{\"statusCode\": 7}\0\0\0\0\0\0\0\0body")]),
        Answer::Streams(payload(Some("text/\nplain")), vec![Ok("x")]),
    ] {
        url.rig.runner.then([answer]);
        assert_eq!(url.send(url.get("/")).await, (502, r#"{"Message":"Internal Server Error"}"#.to_owned()));
    }
    url.rig.runner.then([Answer::Refuses(InvokeError::Throttled { reason: "x" })]);
    assert_eq!(url.send(url.get("/")).await.0, 429);
}
