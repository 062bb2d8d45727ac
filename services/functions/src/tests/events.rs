//! Asynchronous invocations: accepted durably, delivered by AWS's rules.

use super::rig::{ARN, Answer, Rig};
use base::port::Target;
use base::{Arn, Event, InvokeError, Source, Verdict};
use bytes::Bytes;
use serde_json::json;
use std::time::Duration;
use store::outbox;

/// Invokes with `Event` and gives the event that lies in the outbox.
async fn accepted(rig: &Rig, function: &str) -> Event {
    let input = json!({"FunctionName": function, "InvocationType": "Event"});
    let reply = rig.send("Invoke", input, Bytes::from_static(b"{\"n\": 1}")).await.expect("accepted");
    assert_eq!((reply.status, reply.output), (Some(202), json!({})));
    let mut waiting = outbox::waiting(&rig.store, None, 10).await.expect("storage works");
    waiting.pop().expect("an event").event
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn after(verdict: Verdict) -> Duration {
    match verdict {
        Verdict::Retry { after, .. } => after,
        other => panic!("{other:?}"),
    }
}

/// From half to one and a half of it.
fn around(after: Duration, middle: Duration) {
    assert!((middle / 2..=middle * 3 / 2).contains(&after), "{after:?} is not around {middle:?}");
}

fn dead(verdict: Verdict) -> String {
    match verdict {
        Verdict::Dead { reason } => reason,
        Verdict::Over { failure: Some(reason), then } if then.is_empty() => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn accepted_then_delivered() {
    let rig = Rig::new();
    rig.create("f").await;
    let event = accepted(&rig, "f").await;
    assert_eq!((event.target.to_string().as_str(), event.payload.get()), (ARN, "{\"n\": 1}"));
    assert_eq!(rig.functions.deliver(&event, 1).await, Verdict::Done);
    let (call, _) = rig.runner.last_call();
    assert_eq!((call.request_id, &call.payload[..]), (event.id, &b"{\"n\": 1}"[..]));
}

#[tokio::test]
async fn the_functions_own_errors_are_tried_twice_more() {
    let rig = Rig::new();
    rig.create("f").await;
    let event = accepted(&rig, "f").await;
    // A throttle in between is no error of the function.
    let throttle = || Answer::Refuses(InvokeError::Throttled { reason: "x" });
    rig.runner.then([Answer::Fails("E"), throttle(), Answer::Fails("E"), Answer::Fails("KeyError")]);
    assert_eq!(after(rig.functions.deliver(&event, 1).await), secs(60));
    around(after(rig.functions.deliver(&event, 2).await), secs(2));
    assert_eq!(after(rig.functions.deliver(&event, 3).await), secs(120));
    let reason = dead(rig.functions.deliver(&event, 4).await);
    assert!(rig.store.get_bytes(&store::Key::of("functions/retry").text(&event.id)).await.expect("works").is_none());
    assert!(reason.starts_with("RetriesExhausted after 3 errors: KeyError: {"), "{reason}");
}

#[tokio::test]
async fn throttles_are_tried_until_the_event_is_too_old() {
    let rig = Rig::new();
    rig.create("f").await;
    let event = accepted(&rig, "f").await;
    let throttle = || Answer::Refuses(InvokeError::Throttled { reason: "x" });
    rig.runner.then((0..5).map(|_| throttle()));
    around(after(rig.functions.deliver(&event, 1).await), secs(1));
    around(after(rig.functions.deliver(&event, 5).await), secs(16));
    around(after(rig.functions.deliver(&event, 30).await), secs(300));
    rig.clock.advance(secs(6 * 3600 - 2));
    assert_eq!(after(rig.functions.deliver(&event, 79).await), secs(2), "the last time when its age is reached");
    rig.clock.advance(secs(2));
    let reason = dead(rig.functions.deliver(&event, 80).await);
    assert!(reason.starts_with("EventAgeExceeded"), "{reason}");
}

/// A crowd that was refused together must not come back together.
#[tokio::test]
async fn throttled_events_spread() {
    let rig = Rig::new();
    rig.create("f").await;
    let event = accepted(&rig, "f").await;
    rig.runner.then((0..20).map(|_| Answer::Refuses(InvokeError::Throttled { reason: "x" })));
    let mut pauses = std::collections::BTreeSet::new();
    for _ in 0..20 {
        pauses.insert(after(rig.functions.deliver(&event, 4).await));
    }
    assert!(pauses.len() >= 15, "{pauses:?}");
}

#[tokio::test]
async fn settings_of_the_qualifier_hold() {
    let rig = Rig::new();
    rig.create("f").await;
    rig.ok("PublishVersion", json!({"FunctionName": "f"})).await;
    rig.ok("CreateAlias", json!({"FunctionName": "f", "Name": "prod", "FunctionVersion": "1"})).await;
    let put = json!({
        "FunctionName": "f", "Qualifier": "prod", "MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
    });
    let config = rig.ok("PutFunctionEventInvokeConfig", put).await;
    assert_eq!(
        config,
        json!({
            "LastModified": 1_795_449_064.123, "FunctionArn": format!("{ARN}:prod"), "MaximumRetryAttempts": 0,
            "MaximumEventAgeInSeconds": 60, "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
        })
    );
    let event = accepted(&rig, "f:prod").await;
    rig.runner.then([Answer::Fails("E")]);
    dead(rig.functions.deliver(&event, 1).await);
    let update = json!({"FunctionName": "f", "Qualifier": "prod", "MaximumRetryAttempts": 1});
    assert_eq!(rig.ok("UpdateFunctionEventInvokeConfig", update).await["MaximumEventAgeInSeconds"], 60);
    let listed = rig.ok("ListFunctionEventInvokeConfigs", json!({"FunctionName": "f"})).await;
    assert_eq!(listed["FunctionEventInvokeConfigs"][0]["FunctionArn"], format!("{ARN}:prod"));
    let text = format!("The function {ARN}:$LATEST doesn't have an EventInvokeConfig");
    rig.refused("GetFunctionEventInvokeConfig", json!({"FunctionName": "f"}), "ResourceNotFoundException", &text).await;
    let bucket = json!({
        "FunctionName": "f", "DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:s3:::bucket"}},
    });
    rig.refused("PutFunctionEventInvokeConfig", bucket, "InvalidParameterValueException", "takes failures alone").await;
    let prod = json!({"FunctionName": "f", "Qualifier": "prod"});
    rig.ok("DeleteFunctionEventInvokeConfig", prod.clone()).await;
    rig.refused("DeleteFunctionEventInvokeConfig", prod, "ResourceNotFoundException", "EventInvokeConfig").await;
}

#[tokio::test]
async fn a_function_deleted_meanwhile_is_the_end() {
    let rig = Rig::new();
    rig.create("f").await;
    let event = accepted(&rig, "f").await;
    rig.ok("DeleteFunction", json!({"FunctionName": "f"})).await;
    assert_eq!(dead(rig.functions.deliver(&event, 1).await), format!("Function not found: {ARN}"));
}

#[tokio::test]
async fn other_services_need_permission() {
    let rig = Rig::new();
    rig.create("f").await;
    let target: Arn = ARN.parse().expect("an ARN");
    let from = |bucket: &str| Source {
        service: Some("s3.amazonaws.com".into()),
        arn: Some(format!("arn:aws:s3:::{bucket}").parse().expect("an ARN")),
        account: "000000000000".into(),
    };
    let denied = rig.functions.accepts(&target, &from("photos")).await.expect_err("no policy yet");
    assert!(denied.0.contains("is not authorized to perform: lambda:InvokeFunction"), "{denied}");
    let grant = json!({
        "FunctionName": "f", "StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com",
        "SourceArn": "arn:aws:s3:::photos", "SourceAccount": "000000000000",
    });
    rig.ok("AddPermission", grant).await;
    rig.functions.accepts(&target, &from("photos")).await.expect("allowed");
    rig.functions.accepts(&target, &from("other")).await.expect_err("another bucket");
    let missing: Arn = "arn:aws:lambda:us-east-1:000000000000:function:g".parse().expect("an ARN");
    let denied = rig.functions.accepts(&missing, &from("photos")).await.expect_err("no function");
    assert!(denied.0.contains("Function not found"), "{denied}");

    let event = Event { source: from("photos"), ..accepted(&rig, "f").await };
    assert_eq!(rig.functions.deliver(&event, 1).await, Verdict::Done);
    rig.ok("RemovePermission", json!({"FunctionName": "f", "StatementId": "s3"})).await;
    assert!(dead(rig.functions.deliver(&event, 1).await).contains("not authorized"));
}

#[tokio::test]
async fn outcomes_are_told_to_their_destinations() {
    let rig = Rig::new();
    let (queue, bus) =
        ("arn:aws:sqs:us-east-1:000000000000:q", "arn:aws:events:us-east-1:000000000000:event-bus/default");
    let mut input = Rig::create_input("f");
    input["DeadLetterConfig"] = json!({"TargetArn": queue});
    let made = rig.ok("CreateFunction", input).await;
    assert_eq!(made["DeadLetterConfig"], json!({"TargetArn": queue}));
    rig.settle().await;
    let config = json!({"OnSuccess": {"Destination": queue}, "OnFailure": {"Destination": bus}});
    let put = json!({"FunctionName": "f", "MaximumRetryAttempts": 0, "DestinationConfig": config});
    assert_eq!(rig.ok("PutFunctionEventInvokeConfig", put).await["DestinationConfig"], config);
    let event = accepted(&rig, "f").await;
    let payload = |event: &base::Event| serde_json::from_str::<serde_json::Value>(event.payload.get()).expect("JSON");

    let Verdict::Over { failure: None, then } = rig.functions.deliver(&event, 1).await else { panic!("a success") };
    assert_eq!((then.len(), then[0].target.to_string().as_str()), (1, queue));
    let told = payload(&then[0]);
    assert_eq!(
        (&told["requestContext"]["condition"], &told["requestContext"]["requestId"]),
        (&json!("Success"), &json!(event.id))
    );
    assert_eq!((&told["requestPayload"], &told["responsePayload"]), (&json!({"n": 1}), &json!({"n": 1})));
    assert_eq!(told["responseContext"], json!({"statusCode": 200, "executedVersion": "$LATEST"}));

    rig.runner.then([Answer::Fails("KeyError")]);
    let Verdict::Over { failure: Some(reason), then } = rig.functions.deliver(&event, 1).await else {
        panic!("a failure")
    };
    assert!(reason.starts_with("RetriesExhausted after 1 errors: KeyError"), "{reason}");
    let targets: Vec<String> = then.iter().map(|e| e.target.to_string()).collect();
    assert_eq!(targets, [bus, queue]);
    let told = payload(&then[0]);
    assert_eq!(
        (&told["source"], &told["detail-type"]),
        (&json!("lambda"), &json!("Lambda Function Invocation Result - Failure"))
    );
    let detail = &told["detail"];
    assert_eq!(detail["requestContext"]["functionArn"], format!("{ARN}:$LATEST"));
    assert_eq!(
        (&detail["responseContext"]["functionError"], &detail["responsePayload"]["errorType"]),
        (&json!("Unhandled"), &json!("KeyError"))
    );
    assert_eq!(payload(&then[1]), json!({"n": 1}));
    let attributes = &then[1].attributes["MessageAttributes"];
    assert_eq!(
        (&attributes["ErrorCode"]["StringValue"], &attributes["ErrorMessage"]["StringValue"]),
        (&json!("200"), &json!("no"))
    );
    assert_eq!(attributes["RequestID"]["StringValue"], json!(event.id));

    let none = json!({"FunctionName": "f", "DestinationConfig": {"OnSuccess": {}}});
    assert_eq!(
        rig.ok("UpdateFunctionEventInvokeConfig", none).await["DestinationConfig"],
        json!({"OnSuccess": {}, "OnFailure": {"Destination": bus}})
    );
    assert_eq!(rig.functions.deliver(&event, 1).await, Verdict::Done);
    rig.ok("UpdateFunctionConfiguration", json!({"FunctionName": "f", "DeadLetterConfig": {"TargetArn": ""}})).await;
    rig.settle().await;
    assert_eq!(rig.config(json!({"FunctionName": "f"})).await["DeadLetterConfig"], serde_json::Value::Null);
    let bad = json!({"FunctionName": "f", "DeadLetterConfig": {"TargetArn": ARN}});
    rig.refused("UpdateFunctionConfiguration", bad, "InvalidParameterValueException", "not of a queue or a topic")
        .await;
}

#[tokio::test]
async fn a_bucket_gets_the_records_of_failures() {
    let rig = Rig::new();
    rig.create("f").await;
    let config = json!({"OnFailure": {"Destination": "arn:aws:s3:::failed"}});
    let put = json!({"FunctionName": "f", "MaximumRetryAttempts": 0, "DestinationConfig": config});
    rig.ok("PutFunctionEventInvokeConfig", put).await;
    let event = accepted(&rig, "f").await;
    rig.runner.then([Answer::Fails("KeyError")]);
    let Verdict::Over { failure: Some(_), then } = rig.functions.deliver(&event, 1).await else { panic!("a failure") };
    assert_eq!((then.len(), then[0].target.to_string().as_str()), (1, "arn:aws:s3:::failed"));
    let key = then[0].attributes["Key"].as_str().expect("a key");
    let (date, rest) = key.strip_prefix("aws/lambda/async/f/").expect("the layout").split_at(11);
    let [year, month, day, empty] = date.split('/').collect::<Vec<_>>()[..] else { panic!("{key}") };
    assert!(empty.is_empty() && rest.starts_with(&format!("{year}-{month}-{day}T")), "{key}");
    let record: serde_json::Value = serde_json::from_str(then[0].payload.get()).expect("JSON");
    assert_eq!(record["requestContext"]["condition"], "RetriesExhausted");
}

#[tokio::test]
async fn a_recursive_loop_is_stopped_where_it_is_not_allowed() {
    let rig = Rig::new();
    rig.create("f").await;
    let named = json!({"FunctionName": "f"});
    assert_eq!(rig.ok("GetFunctionRecursionConfig", named.clone()).await["RecursiveLoop"], "Terminate");
    let mut event = accepted(&rig, "f").await;
    // What the function has caused itself comes with the trace that it was given.
    let mut turn = async |n: u32| {
        let verdict = rig.functions.deliver(&event, 1).await;
        let entered = rig.functions.enter(
            &base::FunctionRef { scope: kit::scope(), name: "f".into(), qualifier: None },
            crate::events::trace_of(&event),
        );
        assert_eq!(entered.times, n);
        event.attributes.insert("trace_id".into(), entered.trace.into());
        verdict
    };
    for n in 1..=16 {
        assert_eq!(turn(n).await, Verdict::Done);
    }
    assert!(dead(turn(17).await).starts_with("RecursiveLoop after 16 invocations"));
    let allow = json!({"FunctionName": "f", "RecursiveLoop": "Allow"});
    assert_eq!(rig.ok("PutFunctionRecursionConfig", allow).await["RecursiveLoop"], "Allow");
    assert_eq!(rig.ok("GetFunctionRecursionConfig", named).await["RecursiveLoop"], "Allow");
    assert_eq!(turn(18).await, Verdict::Done);
}
