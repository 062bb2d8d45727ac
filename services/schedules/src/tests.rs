//! The room through its table and with its clockwork; tokio's time is paused, so that days take milliseconds.

use crate::{Parts, Schedules, room};
use ::room::{Context, Fault, Room, TableRoom};
use ::store::{Store, outbox};
use base::{Event, Timestamp};
use bytes::Bytes;
use kit::{RunningClock, Seeded};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wire::Decoded;

/// 2026-11-23T15:51:04.123Z
const START: u64 = 1_795_449_064_123;
const F: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";
const ROLE: &str = "arn:aws:iam::000000000000:role/r";
const MINUTE: Duration = Duration::from_secs(60);

struct Rig {
    store: Store,
    clock: Arc<RunningClock>,
    room: Arc<Schedules>,
    table: TableRoom<Schedules>,
}

impl Rig {
    fn new() -> Self {
        Self::on(Store::new(Arc::new(::store::memory::Memory::default())), RunningClock::at(Timestamp(START)))
    }

    fn on(store: Store, clock: Arc<RunningClock>) -> Self {
        let parts = Parts { store: store.clone(), clock: clock.clone(), entropy: Arc::new(Seeded::new(1)) };
        let room_ = Schedules::open(parts);
        Self { store, clock, table: room(room_.clone()), room: room_ }
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

    /// Runs the clockwork for a while.
    async fn live(&self, lasts: Duration) {
        let stop = CancellationToken::new();
        let work = tokio::spawn(self.room.clone().work(stop.clone()));
        tokio::time::sleep(lasts).await;
        stop.cancel();
        work.await.expect("ends well");
    }

    async fn emitted(&self) -> Vec<Event> {
        outbox::waiting(&self.store, None, 10_000).await.expect("memory").into_iter().map(|w| w.event).collect()
    }

    /// When events were emitted, in seconds from the start, in order.
    async fn times(&self) -> Vec<u64> {
        let mut times: Vec<u64> = self.emitted().await.iter().map(|e| (e.created.0 - START) / 1000).collect();
        times.sort_unstable();
        times
    }
}

fn schedule(name: &str, expression: &str, more: Value) -> Value {
    let mut input = json!({
        "Name": name, "ScheduleExpression": expression, "Target": {"Arn": F, "RoleArn": ROLE},
        "FlexibleTimeWindow": {"Mode": "OFF"},
    });
    for (key, value) in more.as_object().expect("an object") {
        input[key] = value.clone();
    }
    input
}

#[tokio::test(start_paused = true)]
async fn a_rate_begins_at_once_and_goes_on() {
    let rig = Rig::new();
    let made = rig.ok("CreateSchedule", schedule("r", "rate(5 minutes)", json!({}))).await;
    assert_eq!(made["ScheduleArn"], "arn:aws:scheduler:us-east-1:000000000000:schedule/default/r");
    rig.live(11 * MINUTE).await;
    assert_eq!(rig.times().await, [0, 300, 600]);
    let event = &rig.emitted().await[0];
    let told: Value = serde_json::from_str(event.payload.get()).expect("JSON");
    assert_eq!(
        told,
        json!({
            "version": "0", "id": event.id, "detail-type": "Scheduled Event", "source": "aws.scheduler",
            "account": "000000000000", "time": "2026-11-23T15:51:04Z", "region": "us-east-1",
            "resources": [made["ScheduleArn"]], "detail": "{}",
        })
    );
    assert_eq!((event.terms.retries_max, event.terms.rule.as_deref()), (Some(185), made["ScheduleArn"].as_str()));
}

#[tokio::test(start_paused = true)]
async fn cron_is_told_in_the_zones_time() {
    let rig = Rig::new();
    // 17:00 in Berlin is 16:00 in UTC, nine minutes from the start.
    let more = json!({"ScheduleExpressionTimezone": "Europe/Berlin"});
    rig.ok("CreateSchedule", schedule("c", "cron(0 17 * * ? *)", more)).await;
    rig.live(25 * 60 * MINUTE).await;
    assert_eq!(rig.times().await, [535, 535 + 86_400]);
    assert_eq!(rig.ok("GetSchedule", json!({"Name": "c"})).await["ScheduleExpressionTimezone"], "Europe/Berlin");
}

#[tokio::test(start_paused = true)]
async fn a_restart_neither_skips_nor_repeats() {
    let rig = Rig::new();
    rig.ok("CreateSchedule", schedule("r", "rate(1 hour)", json!({}))).await;
    rig.ok("CreateSchedule", schedule("o", "at(2026-11-23T18:00:00)", json!({}))).await;
    rig.live(MINUTE).await;
    // Nobody looks for ten hours and a half.
    tokio::time::sleep(630 * MINUTE).await;
    let rig = Rig::on(rig.store, rig.clock);
    rig.live(MINUTE).await;
    let rig = Rig::on(rig.store, rig.clock);
    rig.live(40 * MINUTE).await;
    // Once for all that was missed, then at its time.
    assert_eq!(rig.times().await, [0, 37_860, 37_860, 39_600]);
}

#[tokio::test(start_paused = true)]
async fn what_is_over_can_be_deleted_with_it() {
    let rig = Rig::new();
    let delete = json!({"ActionAfterCompletion": "DELETE"});
    rig.ok("CreateSchedule", schedule("once", "at(2026-11-23T16:00:00)", delete.clone())).await;
    rig.ok("CreateSchedule", schedule("kept", "at(2026-11-23T16:00:00)", json!({}))).await;
    let ends = json!({"StartDate": (START + 120_000) / 1000, "EndDate": (START + 300_000) / 1000, "ActionAfterCompletion": "DELETE"});
    rig.ok("CreateSchedule", schedule("some", "rate(1 minute)", ends)).await;
    rig.live(20 * MINUTE).await;
    assert_eq!(rig.times().await, [119, 179, 239, 299, 535, 535]);
    let left = rig.ok("ListSchedules", json!({})).await;
    assert_eq!(left["Schedules"].as_array().map(Vec::len), Some(1));
    assert_eq!(left["Schedules"][0]["Name"], "kept");
}

#[tokio::test(start_paused = true)]
async fn a_change_holds_from_then_on() {
    let rig = Rig::new();
    rig.ok("CreateSchedule", schedule("r", "rate(5 minutes)", json!({}))).await;
    rig.live(MINUTE).await;
    rig.ok("UpdateSchedule", schedule("r", "rate(2 minutes)", json!({}))).await;
    rig.live(4 * MINUTE).await;
    rig.ok("UpdateSchedule", schedule("r", "rate(2 minutes)", json!({"State": "DISABLED"}))).await;
    rig.live(10 * MINUTE).await;
    assert_eq!(rig.times().await, [0, 120, 240]);
    rig.ok("DeleteSchedule", json!({"Name": "r"})).await;
    rig.refused("GetSchedule", json!({"Name": "r"}), "ResourceNotFoundException", "Schedule r does not exist.").await;
    rig.refused("UpdateSchedule", schedule("r", "rate(2 minutes)", json!({})), "ResourceNotFoundException", "").await;
    let alarms = ::store::Key::of(crate::store::ALARMS);
    assert!(rig.store.scan(alarms.as_bytes(), &alarms.end(), 9).await.expect("memory").is_empty());
}

#[tokio::test(start_paused = true)]
async fn flexible_windows_spread_and_skip_none() {
    let rig = Rig::new();
    let flexible = json!({"FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}});
    for n in 0..100 {
        rig.ok("CreateSchedule", schedule(&n.to_string(), "cron(0/5 16 23 11 ? 2026)", flexible.clone())).await;
    }
    rig.live(100 * MINUTE).await;
    let times = rig.times().await;
    assert_eq!(times.len(), 1200, "twelve each");
    assert!(times.iter().all(|t| (535..535 + 3300 + 900).contains(t)));
    let distinct: std::collections::BTreeSet<&u64> = times.iter().collect();
    assert!(distinct.len() > 500, "{}", distinct.len());
}

#[tokio::test(start_paused = true)]
async fn targets_get_their_input() {
    let rig = Rig::new();
    let target = |arn: &str, more: Value| {
        let mut target = json!({"Arn": arn, "RoleArn": ROLE});
        for (key, value) in more.as_object().expect("an object") {
            target[key] = value.clone();
        }
        json!({ "Target": target })
    };
    let bus = "arn:aws:events:us-east-1:000000000000:event-bus/default";
    let queue = "arn:aws:sqs:us-east-1:000000000000:q";
    let event = json!({"Input": "{\"n\": 1}", "EventBridgeParameters": {"DetailType": "d", "Source": "s"}});
    rig.ok("CreateSchedule", schedule("b", "at(2026-11-23T16:00:00)", target(bus, event))).await;
    let text = json!({"Input": "at <aws.scheduler.scheduled-time>", "RetryPolicy": {"MaximumRetryAttempts": 0}, "DeadLetterConfig": {"Arn": queue}});
    rig.ok("CreateSchedule", schedule("q", "at(2026-11-23T16:00:00)", target(queue, text))).await;
    rig.ok(
        "CreateSchedule",
        schedule(
            "fifo",
            "at(2026-11-23T16:00:00)",
            target("arn:aws:sqs:us-east-1:000000000000:q.fifo", json!({"SqsParameters": {"MessageGroupId": "g"}})),
        ),
    )
    .await;
    rig.live(10 * MINUTE).await;
    let events = rig.emitted().await;
    let to = |service: &str, end: &str| {
        events.iter().find(|e| e.target.service == service && e.target.resource.ends_with(end)).expect("emitted")
    };
    let told: Value = serde_json::from_str(to("events", "default").payload.get()).expect("JSON");
    assert_eq!((&told["source"], &told["detail-type"], &told["detail"]), (&json!("s"), &json!("d"), &json!({"n": 1})));
    let q = to("sqs", "q");
    assert_eq!((q.payload.get(), &q.attributes["RawBody"]), ("\"at 2026-11-23T16:00:00Z\"", &json!(true)));
    assert_eq!((q.terms.retries_max, q.terms.dead_letter.is_some()), (Some(0), true));
    assert_eq!(to("sqs", ".fifo").attributes["MessageGroupId"], "g");
    for (given, text) in [
        (target("nonsense", json!({})), "not in correct format"),
        (
            target("arn:aws:scheduler:::aws-sdk:sqs:sendMessage", json!({})),
            "universal targets, arn:aws:scheduler:::aws-sdk:sqs:sendMessage,",
        ),
        (target("arn:aws:states:us-east-1:000000000000:stateMachine:s", json!({})), "targets like arn:aws:states"),
        (target(bus, json!({"Input": "{}"})), "EventBridgeParameters must be specified"),
        (target(F, json!({"Input": "{"})), "must be JSON"),
        (target(F, json!({"KinesisParameters": {"PartitionKey": "k"}})), "KinesisParameters"),
    ] {
        rig.refused("CreateSchedule", schedule("x", "rate(1 day)", given), "ValidationException", text).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_schedule() {
    let rig = Rig::new();
    rig.refused(
        "CreateSchedule",
        schedule("x", "rate(1 week)", json!({})),
        "ValidationException",
        "Invalid Schedule Expression rate(1 week).",
    )
    .await;
    rig.refused(
        "CreateSchedule",
        schedule("x", "rate(1 day)", json!({"ScheduleExpressionTimezone": "Mars"})),
        "ValidationException",
        "Timezone",
    )
    .await;
    rig.refused(
        "CreateSchedule",
        schedule("x", "rate(1 day)", json!({"GroupName": "g"})),
        "ResourceNotFoundException",
        "Schedule group g does not exist.",
    )
    .await;
    rig.refused(
        "CreateSchedule",
        schedule("x", "rate(1 day)", json!({"EndDate": 1})),
        "ValidationException",
        "EndDate",
    )
    .await;
    rig.refused(
        "CreateSchedule",
        schedule("x", "rate(1 day)", json!({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}})),
        "ValidationException",
        "MaximumWindowInMinutes",
    )
    .await;
    rig.ok("CreateSchedule", schedule("x", "rate(1 day)", json!({}))).await;
    rig.refused(
        "CreateSchedule",
        schedule("x", "rate(1 day)", json!({})),
        "ConflictException",
        "Schedule x already exists.",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn groups_hold_schedules_and_take_them_along() {
    let rig = Rig::new();
    rig.ok("CreateScheduleGroup", json!({"Name": "g", "Tags": [{"Key": "k", "Value": "v"}]})).await;
    rig.refused("CreateScheduleGroup", json!({"Name": "g"}), "ConflictException", "already exists").await;
    for n in 0..70 {
        rig.ok(
            "CreateSchedule",
            schedule(&n.to_string(), "rate(1 day)", json!({"GroupName": "g", "StartDate": START / 1000 + 9000})),
        )
        .await;
    }
    rig.ok("CreateSchedule", schedule("own", "rate(1 day)", json!({"State": "DISABLED"}))).await;
    let page = rig.ok("ListSchedules", json!({"GroupName": "g", "MaxResults": 40})).await;
    let rest = rig.ok("ListSchedules", json!({"GroupName": "g", "NextToken": page["NextToken"]})).await;
    assert_eq!(
        (page["Schedules"].as_array().map(Vec::len), rest["Schedules"].as_array().map(Vec::len)),
        (Some(40), Some(30))
    );
    assert_eq!(rest["NextToken"], Value::Null);
    assert_eq!(rig.ok("ListSchedules", json!({"State": "DISABLED"})).await["Schedules"][0]["Name"], "own");
    let arn = "arn:aws:scheduler:us-east-1:000000000000:schedule-group/g";
    rig.ok("TagResource", json!({"ResourceArn": arn, "Tags": [{"Key": "l", "Value": "w"}]})).await;
    rig.ok("UntagResource", json!({"ResourceArn": arn, "TagKeys": ["k"]})).await;
    assert_eq!(
        rig.ok("ListTagsForResource", json!({"ResourceArn": arn})).await["Tags"],
        json!([{"Key": "l", "Value": "w"}])
    );
    let first = rig.ok("ListScheduleGroups", json!({"MaxResults": 1})).await;
    let second = rig.ok("ListScheduleGroups", json!({"MaxResults": 1, "NextToken": first["NextToken"]})).await;
    assert_eq!(
        (&first["ScheduleGroups"][0]["Name"], &second["ScheduleGroups"][0]["Name"]),
        (&json!("default"), &json!("g"))
    );
    assert_eq!(second["NextToken"], Value::Null);
    rig.ok("DeleteScheduleGroup", json!({"Name": "g"})).await;
    rig.refused("GetScheduleGroup", json!({"Name": "g"}), "ResourceNotFoundException", "does not exist").await;
    rig.refused("DeleteScheduleGroup", json!({"Name": "default"}), "ValidationException", "default").await;
    let left = rig.ok("ListSchedules", json!({})).await;
    assert_eq!(left["Schedules"].as_array().map(Vec::len), Some(1));
    rig.live(10_000 * MINUTE).await;
    assert!(rig.emitted().await.is_empty());
}
