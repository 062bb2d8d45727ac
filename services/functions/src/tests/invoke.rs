//! Invoke: waiting, asking, and what is refused.

use super::rig::{Answer, Rig};
use base::InvokeError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;

#[tokio::test]
async fn the_outcome_is_the_reply() {
    let rig = Rig::new();
    rig.create("f").await;
    let context = STANDARD.encode(r#"{"custom":{"a":1}}"#);
    let input = json!({"FunctionName": "f", "LogType": "Tail", "ClientContext": context});
    let reply = rig.send("Invoke", input, Bytes::from_static(b"{\"a\": 1}")).await.expect("invoked");
    assert_eq!(reply.status, Some(200));
    assert_eq!(reply.payload.as_deref(), Some(&b"{\"a\": 1}"[..]));
    assert_eq!(reply.output, json!({"LogResult": STANDARD.encode("END"), "ExecutedVersion": "$LATEST"}));
    let (call, _) = rig.runner.last_call();
    assert_eq!(call.client_context.as_deref(), Some(r#"{"custom":{"a":1}}"#));
    rig.send("Invoke", json!({"FunctionName": "f"}), Bytes::new()).await.expect("invoked");
    assert_eq!(&rig.runner.last_call().0.payload[..], b"{}", "no payload is an empty object");
}

#[tokio::test]
async fn a_function_error_is_a_200() {
    let rig = Rig::new();
    rig.create("f").await;
    rig.runner.then([Answer::Fails("KeyError")]);
    let reply = rig.send("Invoke", json!({"FunctionName": "f"}), Bytes::new()).await.expect("invoked");
    assert_eq!((reply.status, &reply.output["FunctionError"]), (Some(200), &json!("Unhandled")));
    let body: serde_json::Value = serde_json::from_slice(&reply.payload.expect("a body")).expect("JSON");
    assert_eq!(body["errorType"], "KeyError");
}

#[tokio::test]
async fn what_did_not_take_place() {
    let rig = Rig::new();
    rig.create("f").await;
    let reason = "ReservedFunctionConcurrentInvocationLimitExceeded";
    rig.runner.then([Answer::Refuses(InvokeError::Throttled { reason })]);
    let fault = rig.call("Invoke", json!({"FunctionName": "f"})).await.expect_err("throttled");
    assert_eq!(
        (fault.code.as_str(), fault.status, fault.message.as_str()),
        ("TooManyRequestsException", 429, "Rate Exceeded.")
    );
    assert_eq!((&fault.members["Reason"], &fault.members["Type"]), (&json!(reason), &json!("User")));
    rig.runner.then([Answer::Refuses(InvokeError::Unavailable("stopping".into()))]);
    let fault = rig.call("Invoke", json!({"FunctionName": "f"})).await.expect_err("unavailable");
    assert_eq!((fault.code.as_str(), fault.status), ("ServiceException", 500));
}

#[tokio::test]
async fn dry_run() {
    let rig = Rig::new();
    rig.create("f").await;
    let input = json!({"FunctionName": "f", "InvocationType": "DryRun"});
    let reply = rig.send("Invoke", input, Bytes::new()).await.expect("allowed");
    assert_eq!(reply.status, Some(204));
    assert!(rig.runner.script.lock().calls.is_empty());
}

#[tokio::test]
async fn payloads() {
    let rig = Rig::new();
    rig.create("f").await;
    let send = async |kind: &str, payload: Vec<u8>| {
        let input = json!({"FunctionName": "f", "InvocationType": kind});
        rig.send("Invoke", input, payload.into()).await.expect_err("refused")
    };
    let quoted = |n: usize| format!("\"{}\"", "x".repeat(n)).into_bytes();
    for kind in ["RequestResponse", "Event"] {
        let fault = send(kind, b"{".to_vec()).await;
        assert_eq!((fault.code.as_str(), fault.status), ("InvalidRequestContentException", 400));
        assert!(fault.message.starts_with("Could not parse request body into json: "), "{}", fault.message);
        assert_eq!(send(kind, b"\"\xff\"".to_vec()).await.code, "InvalidRequestContentException");
    }
    let fault = send("RequestResponse", quoted(6 << 20)).await;
    let text = "Request must be smaller than 6291456 bytes for the InvokeFunction operation";
    assert_eq!((fault.code.as_str(), fault.status, fault.message.as_str()), ("RequestTooLargeException", 413, text));
    let fault = send("Event", quoted(1 << 20)).await;
    assert_eq!(fault.message, "Request must be smaller than 1048576 bytes for the InvokeFunction operation");
    let input = json!({"FunctionName": "f", "ClientContext": "!"});
    rig.refused("Invoke", input, "InvalidRequestContentException", "Client context must be").await;
    for option in ["DurableExecutionName", "TenantId"] {
        let input = json!({"FunctionName": "f", option: "x"});
        rig.refused("Invoke", input, "InvalidParameterValueException", option).await;
    }
}
