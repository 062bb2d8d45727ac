//! The room through its table: what PutEvents commits, what it refuses, and what arrives at a bus.

mod web;
mod work;

use crate::{Bus, Parts, room};
use ::room::{Context, Fault, Room, TableRoom};
use ::store::{Store, outbox};
use base::port::{Clock, Courier, Target as _};
use base::{Event, Source, Timestamp, Verdict};
use bytes::Bytes;
use kit::{ManualClock, Pigeonhole, Seeded};
use serde_json::{Value, json};
use std::sync::Arc;
use wire::Decoded;

const START: Timestamp = Timestamp(1_795_449_064_123);
const F: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";
const Q: &str = "arn:aws:sqs:us-east-1:000000000000:q";
const FIFO: &str = "arn:aws:sqs:us-east-1:000000000000:q.fifo";
const OTHER: &str = "arn:aws:events:us-east-1:000000000000:event-bus/other";

struct Rig {
    bus: Arc<Bus>,
    store: Store,
    table: TableRoom<Bus>,
}

impl Rig {
    fn new() -> Self {
        let store = Store::new(Arc::new(::store::memory::Memory::default()));
        Self::with(store, ManualClock::at(START), Arc::new(Pigeonhole::always(200)))
    }

    fn with(store: Store, clock: Arc<dyn Clock>, courier: Arc<dyn Courier>) -> Self {
        let entropy = Arc::new(Seeded::new(1));
        let seal = Arc::new(::store::Seal::new(&[[7; 32]], entropy.clone()));
        let bus = Bus::open(Parts { store: store.clone(), seal, clock, entropy, courier });
        Self { table: room(bus.clone()), bus, store }
    }

    async fn call(&self, operation: &str, input: Value) -> Result<Value, Fault> {
        let operation = self.table.service().operations.iter().find(|o| o.name == operation).expect("an operation");
        let cx = Context {
            caller: kit::caller(),
            request_id: "r".into(),
            host: "127.0.0.1:4566".into(),
            source_ip: [127, 0, 0, 1].into(),
            trace: None,
        };
        let request = Decoded { input, payload: Bytes::new() };
        Ok(self.table.prepare(cx, operation, request)?.run.await?.output)
    }

    async fn ok(&self, operation: &str, input: Value) -> Value {
        match self.call(operation, input.clone()).await {
            Ok(output) => output,
            Err(fault) => panic!("{operation} {input}: {fault}"),
        }
    }

    async fn refused(&self, operation: &str, input: Value, code: &str, text: &str) {
        match self.call(operation, input.clone()).await {
            Ok(output) => panic!("{operation} {input}: {output}"),
            Err(fault) => {
                assert_eq!(fault.code, code, "{operation}: {}", fault.message);
                assert!(fault.message.contains(text), "{operation}: {}", fault.message);
            }
        }
    }

    async fn rule(&self, name: &str, pattern: Value, targets: Value) {
        self.ok("PutRule", json!({"Name": name, "EventPattern": pattern.to_string()})).await;
        let put = self.ok("PutTargets", json!({"Rule": name, "Targets": targets})).await;
        assert_eq!(put["FailedEntryCount"], 0);
    }

    async fn put(&self, source: &str, detail: Value) -> Value {
        let entry = json!({"Source": source, "DetailType": "order", "Detail": detail.to_string()});
        self.ok("PutEvents", json!({"Entries": [entry]})).await
    }

    async fn waiting(&self) -> Vec<Event> {
        outbox::waiting(&self.store, None, 100).await.expect("memory").into_iter().map(|w| w.event).collect()
    }
}

fn payload(event: &Event) -> Value {
    serde_json::from_str(event.payload.get()).expect("JSON")
}

#[tokio::test]
async fn an_event_goes_to_the_targets_of_the_rules_that_match() {
    let rig = Rig::new();
    rig.rule("all", json!({"source": ["shop"]}), json!([{"Id": "1", "Arn": F}, {"Id": "2", "Arn": Q}])).await;
    rig.rule("large", json!({"detail": {"total": [{"numeric": [">", 100]}]}}), json!([{"Id": "1", "Arn": Q}])).await;
    rig.rule("other", json!({"source": ["else"]}), json!([{"Id": "1", "Arn": Q}])).await;
    let put = rig.put("shop", json!({"total": 7})).await;
    assert_eq!(put["FailedEntryCount"], 0);
    let id = put["Entries"][0]["EventId"].as_str().expect("an id");
    let events = rig.waiting().await;
    assert_eq!(events.iter().map(|e| e.target.to_string()).collect::<Vec<_>>(), [F, Q]);
    let event = &events[0];
    assert_eq!(
        payload(event),
        json!({
            "version": "0", "id": id, "detail-type": "order", "source": "shop", "account": "000000000000",
            "time": "2026-11-23T15:51:04Z", "region": "us-east-1", "resources": [], "detail": {"total": 7},
        })
    );
    let rule = "arn:aws:events:us-east-1:000000000000:rule/all";
    assert_eq!(event.terms.rule.as_deref(), Some(rule));
    assert_eq!((event.terms.retries_max, event.terms.age_max_s), (Some(185), Some(86_400)));
    assert_eq!(
        (event.terms.origin.as_deref(), event.source.service.as_deref()),
        (Some(id), Some("events.amazonaws.com"))
    );
    rig.put("x", json!({"total": 101})).await;
    assert_eq!(rig.waiting().await.len(), 3);
}

#[tokio::test]
async fn a_change_of_rules_holds_at_once() {
    let rig = Rig::new();
    rig.rule("r", json!({"source": ["shop"]}), json!([{"Id": "1", "Arn": F}])).await;
    rig.put("shop", json!({})).await;
    rig.ok("DisableRule", json!({"Name": "r"})).await;
    assert_eq!(rig.ok("DescribeRule", json!({"Name": "r"})).await["State"], "DISABLED");
    rig.put("shop", json!({})).await;
    assert_eq!(rig.waiting().await.len(), 1);
    rig.ok("EnableRule", json!({"Name": "r"})).await;
    rig.put("shop", json!({})).await;
    assert_eq!(rig.waiting().await.len(), 2);
    rig.refused("DeleteRule", json!({"Name": "r"}), "ValidationException", "since it has targets").await;
    let removed = rig.ok("RemoveTargets", json!({"Rule": "r", "Ids": ["1", "9"]})).await;
    assert_eq!((&removed["FailedEntryCount"], &removed["FailedEntries"][0]["TargetId"]), (&json!(1), &json!("9")));
    rig.ok("DeleteRule", json!({"Name": "r"})).await;
    rig.refused(
        "DescribeRule",
        json!({"Name": "r"}),
        "ResourceNotFoundException",
        "Rule r does not exist on EventBus default.",
    )
    .await;
    rig.put("shop", json!({})).await;
    assert_eq!(rig.waiting().await.len(), 2);
}

#[tokio::test]
async fn targets_receive_the_form_they_ask_for() {
    let rig = Rig::new();
    let transformer = json!({"InputPathsMap": {"n": "$.detail.n"}, "InputTemplate": "{\"n\": <n>, \"r\": \"<aws.events.rule-name>\"}"});
    let lines = json!({"InputPathsMap": {"n": "$.detail.n"}, "InputTemplate": "\"n is <n>\"\n\"second\""});
    rig.rule("r", json!({"source": ["s"]}), json!([
        {"Id": "1", "Arn": F, "Input": "{\"fixed\": [1, 2]}"},
        {"Id": "2", "Arn": F, "InputPath": "$.detail"},
        {"Id": "3", "Arn": F, "InputTransformer": transformer},
        {"Id": "4", "Arn": Q, "InputTransformer": lines, "RetryPolicy": {"MaximumRetryAttempts": 0}, "DeadLetterConfig": {"Arn": Q}},
        {"Id": "5", "Arn": FIFO, "SqsParameters": {"MessageGroupId": "g"}},
    ])).await;
    rig.put("s", json!({"n": 5})).await;
    let events = rig.waiting().await;
    let mut to_f: Vec<Value> = events.iter().filter(|e| e.target.to_string() == F).map(payload).collect();
    to_f.sort_by_key(|told| (told.to_string().len(), told.to_string()));
    assert_eq!(to_f, [json!({"n": 5}), json!({"fixed": [1, 2]}), json!({"n": 5, "r": "r"})]);
    let q = events.iter().find(|e| e.target.to_string() == Q).expect("for q");
    assert_eq!((payload(q), &q.attributes["RawBody"]), (json!("\"n is 5\"\n\"second\""), &json!(true)));
    assert_eq!((q.terms.retries_max, q.terms.dead_letter.as_ref().map(ToString::to_string)), (Some(0), Some(Q.into())));
    let fifo = events.iter().find(|e| e.target.to_string() == FIFO).expect("for the FIFO queue");
    assert_eq!(fifo.attributes["MessageGroupId"], "g");
    let listed = rig.ok("ListTargetsByRule", json!({"Rule": "r", "Limit": 3})).await;
    assert_eq!(
        (listed["Targets"].as_array().map(Vec::len), &listed["Targets"][2]["InputTransformer"]),
        (Some(3), &transformer)
    );
    let rest = rig.ok("ListTargetsByRule", json!({"Rule": "r", "NextToken": listed["NextToken"]})).await;
    assert_eq!(rest["Targets"][0]["RetryPolicy"], json!({"MaximumRetryAttempts": 0}));
    assert_eq!(rig.ok("ListRuleNamesByTarget", json!({"TargetArn": Q})).await["RuleNames"], json!(["r"]));
}

#[tokio::test]
async fn entries_are_refused_one_by_one() {
    let rig = Rig::new();
    rig.rule("r", json!({"source": ["s"]}), json!([{"Id": "1", "Arn": F}])).await;
    let good = json!({"Source": "s", "DetailType": "t", "Detail": "{}"});
    let with = |name: &str, value: Value| {
        let mut entry = good.clone();
        entry[name] = value;
        entry
    };
    let entries = json!([
        good,
        with("Source", json!("")),
        with("DetailType", Value::Null),
        with("Detail", Value::Null),
        with("Detail", json!("[1]")),
        with("Source", json!("aws.s3")),
        with("EventBusName", json!("nowhere")),
    ]);
    let put = rig.ok("PutEvents", json!({"Entries": entries})).await;
    assert_eq!(put["FailedEntryCount"], 6);
    let codes: Vec<&str> =
        put["Entries"].as_array().expect("entries").iter().filter_map(|e| e["ErrorCode"].as_str()).collect();
    assert_eq!(
        codes,
        [
            "InvalidArgument",
            "InvalidArgument",
            "InvalidArgument",
            "MalformedDetail",
            "NotAuthorizedForSourceException",
            "ResourceNotFoundException"
        ]
    );
    assert_eq!(
        put["Entries"][1]["ErrorMessage"],
        "Parameter Source is not valid. Reason: Source is a required argument."
    );
    assert_eq!(rig.waiting().await.len(), 1);
    let large = json!({"Source": "s", "DetailType": "t", "Detail": json!({"x": "y".repeat(600_000)}).to_string()});
    rig.refused("PutEvents", json!({"Entries": [large, large]}), "ValidationException", "over the limit").await;
}

#[tokio::test]
async fn what_rules_and_targets_may_not_be() {
    let rig = Rig::new();
    rig.refused("PutRule", json!({"Name": "r"}), "ValidationException", "EventPattern or ScheduleExpression").await;
    rig.refused(
        "PutRule",
        json!({"Name": "r", "EventPattern": "{\"a\": 1}"}),
        "InvalidEventPatternException",
        "Event pattern is not valid. Reason: \"a\" must be an object or an array",
    )
    .await;
    rig.refused(
        "PutRule",
        json!({"Name": "r", "EventBusName": "no", "EventPattern": "{\"a\": [1]}"}),
        "ResourceNotFoundException",
        "Event bus no does not exist.",
    )
    .await;
    rig.ok("PutRule", json!({"Name": "r", "EventPattern": "{\"a\": [1]}"})).await;
    for (target, text) in [
        (json!({"Id": "1", "Arn": "nonsense"}), "Provided Arn is not in correct format"),
        (
            json!({"Id": "1", "Arn": "arn:aws:kinesis:us-east-1:000000000000:stream/s"}),
            "Wadi does not have targets like",
        ),
        (json!({"Id": "1", "Arn": F, "Input": "{"}), "JSON syntax error in input for target 1"),
        (
            json!({"Id": "1", "Arn": F, "Input": "{}", "InputPath": "$"}),
            "Only one of Input, InputPath, or InputTransformer",
        ),
        (json!({"Id": "1", "Arn": F, "InputPath": "detail"}), "Invalid InputPath for target 1"),
        (json!({"Id": "1", "Arn": F, "InputTransformer": {"InputTemplate": "<x>"}}), "invalid placeholder x"),
        (json!({"Id": "1", "Arn": FIFO}), "SqsParameters must be specified for target: 1"),
        (json!({"Id": "1", "Arn": F, "DeadLetterConfig": {"Arn": F}}), "not the ARN of an SQS queue"),
        (json!({"Id": "1", "Arn": F, "EcsParameters": {"TaskDefinitionArn": "x"}}), "EcsParameters"),
    ] {
        rig.refused("PutTargets", json!({"Rule": "r", "Targets": [target]}), "ValidationException", text).await;
    }
    let six: Vec<Value> = (0..6).map(|i| json!({"Id": i.to_string(), "Arn": F})).collect();
    rig.refused("PutTargets", json!({"Rule": "r", "Targets": six}), "LimitExceededException", "maximum number").await;
}

#[tokio::test]
async fn buses_live_and_are_listed_with_the_default_one() {
    let rig = Rig::new();
    for name in ["other", "a", "z"] {
        rig.ok("CreateEventBus", json!({"Name": name, "Tags": [{"Key": "k", "Value": name}]})).await;
    }
    rig.refused(
        "CreateEventBus",
        json!({"Name": "a"}),
        "ResourceAlreadyExistsException",
        "Event bus a already exists.",
    )
    .await;
    let names = |list: &Value| {
        list["EventBuses"]
            .as_array()
            .expect("buses")
            .iter()
            .map(|b| b["Name"].as_str().unwrap_or("").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&rig.ok("ListEventBuses", json!({})).await), ["a", "default", "other", "z"]);
    assert_eq!(names(&rig.ok("ListEventBuses", json!({"NamePrefix": "o"})).await), ["other"]);
    let (mut all, mut token) = (Vec::new(), Value::Null);
    for _ in 0..4 {
        let page = rig.ok("ListEventBuses", json!({"Limit": 1, "NextToken": token})).await;
        all.extend(names(&page));
        token = page["NextToken"].clone();
    }
    assert_eq!((all.as_slice(), token), (&["a", "default", "other", "z"].map(str::to_owned)[..], Value::Null));
    rig.ok("PutPermission", json!({"Action": "events:PutEvents", "Principal": "111122223333", "StatementId": "s"}))
        .await;
    let described = rig.ok("DescribeEventBus", json!({})).await;
    assert!(described["Policy"].as_str().is_some_and(|p| p.contains("arn:aws:iam::111122223333:root")), "{described}");
    assert_eq!(names(&rig.ok("ListEventBuses", json!({})).await).len(), 4, "once");
    rig.ok("RemovePermission", json!({"StatementId": "s"})).await;
    rig.refused(
        "RemovePermission",
        json!({"StatementId": "s"}),
        "ResourceNotFoundException",
        "Statement with the provided id",
    )
    .await;
    let tags = rig.ok("ListTagsForResource", json!({"ResourceARN": OTHER})).await;
    assert_eq!(tags["Tags"], json!([{"Key": "k", "Value": "other"}]));
    rig.ok("PutRule", json!({"Name": "r", "EventBusName": "other", "EventPattern": "{\"a\": [1]}"})).await;
    rig.refused("DeleteEventBus", json!({"Name": "other"}), "ValidationException", "rules still exist").await;
    rig.refused("DeleteEventBus", json!({"Name": "default"}), "ValidationException", "default").await;
    rig.ok("DeleteRule", json!({"Name": "r", "EventBusName": OTHER})).await;
    rig.ok("DeleteEventBus", json!({"Name": "other"})).await;
    rig.refused(
        "DescribeEventBus",
        json!({"Name": "other"}),
        "ResourceNotFoundException",
        "Event bus other does not exist.",
    )
    .await;
}

#[tokio::test]
async fn a_bus_passes_on_what_arrives_and_loops_end() {
    let rig = Rig::new();
    rig.ok("CreateEventBus", json!({"Name": "other"})).await;
    rig.ok("PutRule", json!({"Name": "on", "EventBusName": "other", "EventPattern": "{\"source\": [\"s\"]}"})).await;
    rig.ok("PutTargets", json!({"Rule": "on", "EventBusName": "other", "Targets": [{"Id": "1", "Arn": OTHER}]})).await;
    rig.rule("r", json!({"source": ["s"]}), json!([{"Id": "1", "Arn": OTHER}])).await;
    let id = rig.put("s", json!({})).await["Entries"][0]["EventId"].clone();
    let mut event = rig.waiting().await.pop().expect("for the other bus");
    for hop in 1..=8 {
        assert_eq!(event.attributes["hops"], hop);
        let Verdict::Over { failure: None, then } = rig.bus.deliver(&event, 1).await else { panic!("passed on") };
        event = then.into_iter().next().expect("once more");
        assert_eq!(json!(event.terms.origin), id);
    }
    assert!(matches!(rig.bus.deliver(&event, 1).await, Verdict::Dead { reason } if reason.contains("9 event buses")));
    let from = Source { service: None, arn: None, account: "000000000000".into() };
    assert!(rig.bus.accepts(&event.target, &from).await.is_ok());
    let nowhere = "arn:aws:events:us-east-1:000000000000:event-bus/nowhere".parse().expect("an ARN");
    assert!(rig.bus.accepts(&nowhere, &from).await.is_err());
    assert!(matches!(
        rig.bus.deliver(&Event { target: nowhere, attributes: Default::default(), ..event }, 1).await,
        Verdict::Dead { .. }
    ));
}

#[tokio::test]
async fn patterns_can_be_tried() {
    let rig = Rig::new();
    let event = json!({"id": "1", "account": "1", "source": "s", "time": "t", "region": "r", "detail-type": "d", "resources": []});
    let test = |pattern: Value, event: &Value| json!({"EventPattern": pattern.to_string(), "Event": event.to_string()});
    assert_eq!(rig.ok("TestEventPattern", test(json!({"source": ["s"]}), &event)).await["Result"], true);
    assert_eq!(rig.ok("TestEventPattern", test(json!({"source": ["x"]}), &event)).await["Result"], false);
    rig.refused(
        "TestEventPattern",
        test(json!({"source": "s"}), &event),
        "InvalidEventPatternException",
        "must be an object or an array",
    )
    .await;
    rig.refused(
        "TestEventPattern",
        test(json!({"source": ["s"]}), &json!({})),
        "ValidationException",
        "Parameter Event is not valid",
    )
    .await;
}
