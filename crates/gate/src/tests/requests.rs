//! Who gets which request, and what is refused before anything runs.

use super::*;

#[tokio::test]
async fn a_signed_request_runs_as_its_caller() {
    let gate = start().await;
    let body = r#"{"text":"hello"}"#;
    let reply = gate.send(toy_call(gate.address, "Echo", body)).await;
    assert_eq!((reply.status, reply.json()["text"].as_str()), (200, Some("000000000000 eu-west-1 hello")));
    assert!(reply.headers.contains_key("x-amzn-requestid") && reply.headers.contains_key("x-amz-request-id"));

    let (mut parts, full) = toy_call(gate.address, "Echo", body).into_parts();
    parts.uri = format!("http://{}/", gate.address).parse().expect("a URI");
    parts.headers.remove("host");
    let reply = gate.send_http2(Request::from_parts(parts, full)).await;
    assert_eq!((reply.status, reply.json()["text"].as_str()), (200, Some("000000000000 eu-west-1 hello")));
}

#[tokio::test]
async fn wrong_signatures_run_nothing() {
    let gate = start().await;
    let body = r#"{"text":"hello"}"#;
    let request = || plain(gate.address, "Echo", body);
    let code = async |request| {
        let reply = gate.send(request).await;
        (reply.status, reply.json()["__type"].as_str().expect("a code").to_owned())
    };
    let invalid = (403, "InvalidSignatureException".to_owned());
    assert_eq!(code(signed(request(), body, "wrong", "toy", now())).await, invalid);
    assert_eq!(code(signed(request(), "another body", "test", "toy", now())).await, invalid);
    let hour = 3_600_000;
    assert_eq!(code(signed(request(), body, "test", "toy", Timestamp(now().0 - hour))).await, invalid);
    assert_eq!(code(signed(request(), body, "test", "toy", Timestamp(now().0 + hour))).await, invalid);
    assert_eq!(code(request()).await, (403, "MissingAuthenticationTokenException".to_owned()));

    let mut stranger = toy_call(gate.address, "Echo", body);
    let text = stranger.headers()["authorization"].to_str().expect("text").replace("=test/", "=nobody/");
    stranger.headers_mut().insert("authorization", text.parse().expect("a header"));
    gate.send(stranger).await.check(
        403,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    );
    assert_eq!(gate.toy.ran.load(Ordering::Relaxed), 0);
}

/// What the gate reads to find the room and what it verifies must be the same scope.
#[tokio::test]
async fn a_signature_for_another_service_does_not_open_a_room() {
    let gate = start().await;
    let mut request = signed(plain(gate.address, "Echo", "{}"), "{}", "test", "s3", now());
    let text = request.headers()["authorization"].to_str().expect("text").to_owned();
    let text = text.replacen(' ', " xCredential=a/b/c/toy/aws4_request, ", 1);
    request.headers_mut().insert("authorization", text.parse().expect("a header"));
    let reply = gate.send(request).await;
    assert_eq!((reply.status, gate.toy.ran.load(Ordering::Relaxed)), (403, 0));
}

#[tokio::test]
async fn refusals_name_what_is_missing() {
    let gate = start().await;
    gate.send(toy_call(gate.address, "Lacking", "{}")).await.check(
        501,
        "NotImplemented",
        "Wadi does not have the operation toy.Lacking yet.",
    );
    gate.send(toy_call(gate.address, "Nonsense", "{}")).await.check(
        404,
        "UnknownOperationException",
        "toy has no operation Toy_1.Nonsense.",
    );
    let denied = gate.send(toy_call(gate.address, "Deny", "{}")).await;
    denied.check(
        403,
        "AccessDeniedException",
        "User: arn:aws:iam::000000000000:root is not authorized to perform: toy:Deny",
    );

    let unknown = "Wadi does not have the service sqs yet. It has: s3, toy.";
    let sqs = signed(plain(gate.address, "SendMessage", "{}"), "{}", "test", "sqs", now());
    gate.send(sqs).await.check(501, "NotImplemented", unknown);
    let query = Request::post("/").header("host", gate.address.to_string());
    let query = query.header("content-type", "application/x-www-form-urlencoded");
    let form = "Action=ListQueues";
    let request = query.body(Full::new(Bytes::from(form))).expect("a request");
    let reply = gate.send(signed(request, form, "test", "sqs", now())).await;
    assert!(reply.body.contains("<Code>NotImplemented</Code>") && reply.body.contains(unknown), "{}", reply.body);
}

#[tokio::test]
async fn failures_inside_show_nothing_of_the_inside() {
    let gate = start().await;
    let reply = gate.send(toy_call(gate.address, "Fail", "{}")).await;
    reply.check(500, "InternalFailure", "It failed.");
    assert!(!reply.body.contains("fire"));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let reply = gate.send(toy_call(gate.address, "Panic", "{}")).await;
    std::panic::set_hook(hook);
    reply.check(500, "InternalFailure", "We encountered an internal error. Please try again.");
    assert_eq!(gate.send(toy_call(gate.address, "Echo", "{}")).await.status, 200, "and the gate goes on");
}

#[tokio::test]
async fn doors_open_in_order() {
    let gate = start().await;
    let get = async |host: &str, path: &str| {
        let request = Request::get(path).header("host", host).body(Full::default()).expect("a request");
        let reply = gate.send(request).await;
        (reply.status, reply.body)
    };
    let port = gate.address.port();
    let (status, health) = get(&gate.address.to_string(), "/_wadi/health").await;
    assert_eq!(status, 200);
    assert!(health.contains(r#""status":"ok""#) && health.contains("toy"), "{health}");
    for host in ["x.door.localhost", "X.Door.LocalHost.", &format!("X.DOOR.localhost.:{port}"), "x.door.localhost:80"] {
        assert_eq!(get(host, "/a?b").await, (200, "by host /a?b".into()), "{host}");
    }
    assert_eq!(get("localhost", "/bucket/key").await, (200, "the rest, 0 bytes".into()));

    let mut signed_for_toy = toy_call(gate.address, "Echo", "{}");
    signed_for_toy.headers_mut().insert("host", "x.door.localhost".parse().expect("a host"));
    assert_eq!(gate.send(signed_for_toy).await.body, "by host /");
}
