//! Event source mappings: their operations, and what they do at work.

use super::rig::{ARN, Answer, Rig};
use base::{InvokeError, QueueFacts};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:q";

/// A rig whose background work runs.
struct World {
    rig: Rig,
    stop: CancellationToken,
    work: JoinHandle<()>,
}

async fn world() -> World {
    let rig = Rig::new();
    rig.create("f").await;
    World::of(rig)
}

impl World {
    fn of(rig: Rig) -> Self {
        let stop = CancellationToken::new();
        let work = tokio::spawn({
            let (functions, stop) = (rig.functions.clone(), stop.clone());
            async move { functions.keep_mapping(&stop).await }
        });
        Self { rig, stop, work }
    }

    async fn map(&self, more: Value) -> String {
        let mapping = self.rig.ok("CreateEventSourceMapping", input(more)).await;
        assert_eq!(mapping["State"], "Creating");
        others_run().await;
        mapping["UUID"].as_str().expect("a UUID").to_owned()
    }

    async fn get(&self, uuid: &str) -> Value {
        self.rig.ok("GetEventSourceMapping", json!({"UUID": uuid})).await
    }

    fn put(&self, ids: std::ops::Range<u32>) {
        self.rig.queues.put(ids.map(|n| n.to_string()));
    }

    /// The ids in each event that the function got.
    fn events(&self) -> Vec<Vec<String>> {
        let ids = |payload: &[u8]| {
            let event: Value = serde_json::from_slice(payload).expect("JSON");
            let records = event["Records"].as_array().expect("records");
            records.iter().map(|r| r["messageId"].as_str().expect("an id").to_owned()).collect()
        };
        self.rig.runner.script.lock().calls.iter().map(|(call, _)| ids(&call.payload)).collect()
    }

    async fn end(self) -> Rig {
        self.stop.cancel();
        self.work.await.expect("ends");
        self.rig
    }
}

fn input(more: Value) -> Value {
    let mut input = json!({"EventSourceArn": QUEUE, "FunctionName": "f"});
    input.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
    input
}

async fn others_run() {
    for _ in 0..300 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_life_of_a_mapping() {
    let w = world().await;
    let uuid = w.map(json!({"FunctionResponseTypes": ["ReportBatchItemFailures"]})).await;
    let mapping = w.get(&uuid).await;
    let expect = json!({
        "UUID": uuid, "BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "EventSourceArn": QUEUE,
        "FunctionArn": ARN, "LastModified": mapping["LastModified"], "State": "Enabled",
        "StateTransitionReason": "USER_INITIATED", "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "EventSourceMappingArn": format!("arn:aws:lambda:us-east-1:000000000000:event-source-mapping:{uuid}"),
    });
    assert_eq!(mapping, expect);
    w.rig.refused("CreateEventSourceMapping", input(json!({})), "ResourceConflictException", &uuid).await;
    let change = json!({"UUID": uuid, "Enabled": false, "BatchSize": 5, "ScalingConfig": {"MaximumConcurrency": 2}});
    assert_eq!(w.rig.ok("UpdateEventSourceMapping", change).await["State"], "Disabling");
    others_run().await;
    let mapping = w.get(&uuid).await;
    assert_eq!((&mapping["State"], &mapping["BatchSize"]), (&json!("Disabled"), &json!(5)));
    assert_eq!(mapping["ScalingConfig"], json!({"MaximumConcurrency": 2}));
    w.put(0..3);
    others_run().await;
    assert!(w.events().is_empty(), "it is disabled");
    let change = json!({"UUID": uuid, "Enabled": true, "ScalingConfig": {}});
    assert_eq!(w.rig.ok("UpdateEventSourceMapping", change).await["State"], "Enabling");
    others_run().await;
    assert_eq!(w.events(), [["0", "1", "2"]]);
    for (filter, found) in
        [(json!({}), 1), (json!({"FunctionName": "f"}), 1), (json!({"EventSourceArn": format!("{QUEUE}2")}), 0)]
    {
        let list = w.rig.ok("ListEventSourceMappings", filter).await;
        assert_eq!(list["EventSourceMappings"].as_array().map(Vec::len), Some(found));
    }
    assert_eq!(w.rig.ok("DeleteEventSourceMapping", json!({"UUID": uuid})).await["State"], "Deleting");
    others_run().await;
    w.rig.refused("GetEventSourceMapping", json!({"UUID": uuid}), "ResourceNotFoundException", "").await;
    w.put(3..6);
    others_run().await;
    assert_eq!(w.events().len(), 1);
    w.end().await;
}

#[tokio::test]
async fn what_is_refused() {
    let w = world().await;
    let refused = async |more: Value, code: &str, text: &str| {
        w.rig.refused("CreateEventSourceMapping", input(more), code, text).await;
    };
    let invalid = "InvalidParameterValueException";
    refused(json!({"EventSourceArn": "arn:aws:kinesis:us-east-1:000000000000:stream/s"}), invalid, "kinesis").await;
    refused(json!({"FunctionName": "none"}), "ResourceNotFoundException", "Function not found").await;
    refused(json!({"BatchSize": 11}), invalid, "Maximum batch window").await;
    for (name, value) in [
        ("StartingPosition", json!("LATEST")),
        ("ParallelizationFactor", json!(2)),
        ("DestinationConfig", json!({"OnFailure": {"Destination": format!("{QUEUE}2")}})),
        ("BisectBatchOnFunctionError", json!(true)),
        ("MaximumRetryAttempts", json!(1)),
        ("MaximumRecordAgeInSeconds", json!(60)),
        ("TumblingWindowInSeconds", json!(1)),
    ] {
        let told = format!("Unsupported {name} parameter for given event source mapping type.");
        refused(json!({name: value}), invalid, &told).await;
    }
    for (name, value) in [
        ("MetricsConfig", json!({"Metrics": ["EventCount"]})),
        ("ProvisionedPollerConfig", json!({"MinimumPollers": 2})),
        ("Tags", json!({"a": "b"})),
    ] {
        refused(json!({name: value}), invalid, name).await;
    }
    let eleven = vec![json!({"Pattern": "{\"body\": [1]}"}); 11];
    refused(json!({"FilterCriteria": {"Filters": eleven}}), invalid, "at most 10 filters").await;
    refused(json!({"FilterCriteria": {"Filters": [{}]}}), invalid, "Invalid filter pattern definition").await;
    let filter = json!({"FilterCriteria": {"Filters": [{"Pattern": "{\"body\": 1}"}]}});
    refused(filter, invalid, "Invalid filter pattern definition").await;
    w.rig.queues.state.lock().facts =
        Some(QueueFacts { fifo: true, visibility: Duration::from_secs(30), redrives: false });
    refused(json!({"BatchSize": 11, "MaximumBatchingWindowInSeconds": 1}), invalid, "FIFO").await;
    refused(json!({"MaximumBatchingWindowInSeconds": 1}), invalid, "FIFO").await;
    w.rig.queues.state.lock().facts =
        Some(QueueFacts { fifo: false, visibility: Duration::from_secs(1), redrives: false });
    refused(json!({}), invalid, "Queue visibility timeout: 1 seconds is less than Function timeout: 3 seconds").await;
    w.rig.queues.state.lock().facts = None;
    refused(json!({}), invalid, "AWS.SimpleQueueService.NonExistentQueue").await;
    w.end().await;
}

#[tokio::test]
async fn what_is_handled_is_deleted() {
    let w = world().await;
    let uuid = w.map(json!({"BatchSize": 3})).await;
    w.rig.runner.then([Answer::Reply(json!("fine")), Answer::Fails("Error")]);
    w.put(0..3);
    others_run().await;
    assert_eq!(w.get(&uuid).await["LastProcessingResult"], "OK");
    w.put(3..6);
    others_run().await;
    assert_eq!(w.rig.queues.deleted(), ["0", "1", "2"]);
    assert_eq!(w.get(&uuid).await["LastProcessingResult"], "PROBLEM: Function call failed");
    w.end().await;
}

#[tokio::test]
async fn parts_of_a_batch_may_fail() {
    let w = world().await;
    w.map(json!({"FunctionResponseTypes": ["ReportBatchItemFailures"]})).await;
    let failures = |ids: &[&str]| {
        let ids: Vec<Value> = ids.iter().map(|id| json!({"itemIdentifier": id})).collect();
        Answer::Reply(json!({"batchItemFailures": ids}))
    };
    w.rig.runner.then([failures(&["1"]), failures(&["nobody"]), failures(&[])]);
    for start in [0, 3, 6] {
        w.put(start..start + 3);
        others_run().await;
    }
    assert_eq!(w.rig.queues.deleted(), ["0", "2", "6", "7", "8"]);
    w.end().await;
}

#[tokio::test]
async fn a_window_gathers() {
    let w = world().await;
    w.map(json!({"BatchSize": 100, "MaximumBatchingWindowInSeconds": 10})).await;
    for start in [0, 15, 30] {
        w.put(start..start + 15);
        others_run().await;
        assert!(w.events().is_empty());
        w.rig.clock.advance(Duration::from_secs(4));
        others_run().await;
    }
    assert_eq!(w.events().iter().map(Vec::len).collect::<Vec<_>>(), [45], "after its ten seconds");
    w.put(100..300);
    others_run().await;
    assert_eq!(w.events().iter().map(Vec::len).collect::<Vec<_>>(), [45, 100, 100], "full ones do not wait");
    w.end().await;
}

#[tokio::test]
async fn throttling_does_not_use_up_receives() {
    let w = world().await;
    w.map(json!({})).await;
    let throttled =
        || Answer::Refuses(InvokeError::Throttled { reason: "ReservedFunctionConcurrentInvocationLimitExceeded" });
    w.rig.runner.then([throttled(), throttled(), throttled()]);
    w.put(0..2);
    others_run().await;
    for _ in 0..3 {
        w.rig.clock.advance(Duration::from_secs(4));
        others_run().await;
    }
    assert_eq!(w.events().len(), 4);
    assert_eq!((w.rig.queues.deleted().len(), w.rig.queues.state.lock().received), (2, 2));
    // Not for ever: then they come back by themselves.
    w.rig.runner.then((0..30).map(|_| throttled()));
    w.put(2..3);
    for _ in 0..20 {
        others_run().await;
        w.rig.clock.advance(Duration::from_secs(4));
    }
    others_run().await;
    assert_eq!(w.rig.queues.deleted().len(), 2);
    assert!(w.events().len() < 15, "{}", w.events().len());
    w.end().await;
}

#[tokio::test]
async fn a_restart_goes_on_and_a_missing_queue_is_waited_for() {
    let w = world().await;
    let uuid = w.map(json!({})).await;
    let rig = w.end().await.restarted();
    let w = World::of(rig);
    others_run().await;
    w.put(0..1);
    others_run().await;
    assert_eq!(w.rig.queues.deleted(), ["0"]);
    w.rig.queues.state.lock().facts = None;
    w.put(1..2);
    others_run().await;
    assert!(w.get(&uuid).await["LastProcessingResult"].as_str().expect("a result").starts_with("PROBLEM"));
    w.rig.queues.state.lock().facts =
        Some(QueueFacts { fifo: false, visibility: Duration::from_secs(30), redrives: false });
    w.rig.clock.advance(Duration::from_secs(1));
    others_run().await;
    assert_eq!(w.rig.queues.deleted(), ["0", "1"]);
    w.end().await;
}

async fn emitted(rig: &Rig) -> Vec<base::Event> {
    let waiting = ::store::outbox::waiting(&rig.store, None, 10).await.expect("storage works");
    waiting.into_iter().map(|w| w.event).collect()
}

/// What a message carries that has come through the function as often as it may.
fn round_and_round(rig: &Rig) -> String {
    let function = base::FunctionRef { scope: kit::scope(), name: "f".into(), qualifier: None };
    let mut trace = None;
    for _ in 0..16 {
        trace = Some(rig.functions.enter(&function, trace.as_deref()).trace);
    }
    trace.expect("a trace")
}

#[tokio::test]
async fn a_stopped_loop_goes_to_the_queues_dead_letters() {
    let w = world().await;
    let trace = round_and_round(&w.rig);
    let facts = QueueFacts { fifo: false, visibility: Duration::from_secs(30), redrives: true };
    w.rig.queues.state.lock().facts = Some(facts);
    let uuid = w.map(json!({})).await;
    w.rig.queues.put_traced(["0".to_owned()], Some(&trace));
    others_run().await;
    assert!(w.events().is_empty(), "the function was not invoked");
    assert_eq!(w.rig.queues.state.lock().given_back, ["handle-0"]);
    assert!(w.rig.queues.deleted().is_empty() && emitted(&w.rig).await.is_empty());
    assert_eq!(w.get(&uuid).await["LastProcessingResult"], "PROBLEM: Recursive loop stopped");
    w.end().await;
}

#[tokio::test]
async fn a_stopped_loop_is_told_to_the_functions_destination_or_is_dead() {
    let w = world().await;
    let trace = round_and_round(&w.rig);
    w.map(json!({})).await;
    w.rig.queues.put_traced(["0".to_owned()], Some(&trace));
    others_run().await;
    let dead = emitted(&w.rig).await;
    assert_eq!((dead.len(), dead[0].target.to_string().as_str()), (1, ARN));
    assert!(dead[0].attributes["undeliverable"].as_str().is_some_and(|why| why.starts_with("RecursiveLoop")));
    let to = "arn:aws:sqs:us-east-1:000000000000:failed";
    let config = json!({"FunctionName": "f", "DestinationConfig": {"OnFailure": {"Destination": to}}});
    w.rig.ok("PutFunctionEventInvokeConfig", config).await;
    w.rig.queues.put_traced(["1".to_owned()], Some(&trace));
    others_run().await;
    let told = emitted(&w.rig).await;
    let told: Vec<_> = told.iter().filter(|event| event.target.to_string() == to).collect();
    assert_eq!(told.len(), 1);
    let record: Value = serde_json::from_str(told[0].payload.get()).expect("JSON");
    assert_eq!(record["requestContext"]["condition"], "RecursiveLoop");
    assert_eq!(record["requestPayload"]["Records"][0]["messageId"], "1");
    assert_eq!(w.rig.queues.deleted(), ["0", "1"]);
    assert!(w.events().is_empty(), "the function was not invoked");
    w.end().await;
}
