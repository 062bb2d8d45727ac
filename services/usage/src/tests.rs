//! What a user of the usage room would notice.

use crate::{Check, Config, Doctor, Examination, Parts, Usage, api};
use async_trait::async_trait;
use base::port::{Activity, Meter};
use base::{Arn, Event, FunctionActivity, FunctionRef, Percentiles, Scope, Source, Start, Timestamp, UsageRecord};
use kit::{ManualClock, Seeded, scope};
use room::{Context, Room};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use store::flaky::{Faults, Flaky};
use store::{Store, memory::Memory, sqlite::Sqlite};
use wire::{Decoded, Fault};

/// 2026-11-23T15:51:04Z
const NOW: u64 = 1_795_449_064_000;
const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

struct Well;

#[async_trait]
impl Doctor for Well {
    async fn examine(&self) -> Examination {
        let check = Check { name: "disk".into(), status: "ok".into(), detail: "9 GB free".into(), remedy: None };
        Examination {
            checks: vec![check],
            version: "0.1.0".into(),
            listen: "127.0.0.1:4566".into(),
            data_dir: "d".into(),
        }
    }
}

impl Activity for Well {
    fn of(&self, of: &Scope) -> Vec<FunctionActivity> {
        assert_eq!(of, &scope(), "the caller's own functions");
        let busy = FunctionActivity {
            name: "resize".into(),
            busy: 3,
            calls_per_second: 1.5,
            calls: 7,
            latency: Some(Percentiles { p50_ms: 1.0, p90_ms: 2.0, p99_ms: 30.0 }),
            ..FunctionActivity::default()
        };
        vec![busy, FunctionActivity { name: "rests".into(), idle: 1, parked: Some(1), ..FunctionActivity::default() }]
    }
}

struct Setting {
    usage: Arc<Usage>,
    clock: Arc<ManualClock>,
}

fn on(store: Store) -> Setting {
    let (clock, entropy) = (ManualClock::at(Timestamp(NOW)), Arc::new(Seeded::new(1)));
    let (doctor, activity, config) = (Arc::new(Well), Arc::new(Well), Config::default());
    let parts = Parts { store, clock: clock.clone(), entropy, doctor, activity, config };
    Setting { usage: Usage::open(parts), clock }
}

fn setting() -> Setting {
    on(Store::new(Arc::new(Memory::default())))
}

/// A warm run of 100 ms at 1,024 MB, so a tenth of a gigabyte-second.
fn run(function: &str, at: u64, id: u64) -> UsageRecord {
    let function = FunctionRef { scope: scope(), name: function.into(), qualifier: Some("$LATEST".into()) };
    UsageRecord {
        request_id: format!("r{id}"),
        function,
        at: Timestamp(at),
        duration_us: 99_500,
        init_us: 0,
        billed_ms: 100,
        memory_mb: 1024,
        max_memory_mb: 40,
        bytes_in: 10,
        bytes_out: 20,
        network_bytes: 30,
        start: Start::Warm,
        error: None,
    }
}

impl Setting {
    async fn call(&self, operation: &str, input: Value) -> Result<Value, Fault> {
        let cx = Context {
            caller: kit::caller(),
            request_id: "r".into(),
            host: "localhost:4566".into(),
            source_ip: [127, 0, 0, 1].into(),
            trace: None,
        };
        let op = api::SERVICE.operation(operation).expect("in the model");
        let room = crate::room(self.usage.clone());
        let prepared = room.prepare(cx, op, Decoded { input, payload: Default::default() })?;
        assert_eq!(prepared.access[0].action, format!("wadi:{operation}"));
        prepared.run.await.map(|e| e.output)
    }

    async fn ok(&self, operation: &str, input: Value) -> Value {
        self.call(operation, input).await.unwrap_or_else(|f| panic!("{operation}: {f}"))
    }

    /// How many invocations a range has, all functions together.
    async fn count(&self, start: u64, end: u64) -> i64 {
        let reply = self.ok("GetUsage", json!({"Start": start, "End": end})).await;
        assert_eq!((reply["Start"].as_u64(), reply["End"].as_u64()), (Some(start), Some(end)));
        let functions = reply["Functions"].as_array().expect("functions").iter();
        functions.map(|f| f["Invocations"].as_i64().expect("a number")).sum()
    }

    /// Meters runs as they end: the clock shows when.
    async fn meter(&self, record: UsageRecord) {
        self.clock.set(Timestamp(record.at.millis() + 100));
        self.usage.record(record).await;
        self.usage.flush().await;
    }
}

#[tokio::test]
async fn sums_are_right_and_survive_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = async || {
        // The writer of a room that was dropped lets go of the store a moment later.
        for _ in 0..200 {
            if let Ok(engine) = Sqlite::open(&dir.path().join("wadi.db")) {
                return Store::new(Arc::new(engine));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the store cannot be opened");
    };
    let expect = json!([
        {
            "FunctionName": "resize", "Invocations": 1, "Errors": 0, "ColdStarts": 0, "DurationMs": 99.5, "InitMs": 0.0,
            "BilledMs": 100, "GbSeconds": 0.1, "BytesIn": 10, "BytesOut": 20, "NetworkBytes": 30, "MaxMemoryMb": 40,
        },
        {
            "FunctionName": "thumbs", "Invocations": 3, "Errors": 1, "ColdStarts": 1, "DurationMs": 298.5,
            "InitMs": 50.25, "BilledMs": 351, "GbSeconds": 0.3005, "BytesIn": 30, "BytesOut": 60, "NetworkBytes": 90,
            "MaxMemoryMb": 99,
        },
    ]);
    {
        let s = on(open().await);
        let cold = UsageRecord { start: Start::Cold, init_us: 50_250, billed_ms: 150, ..run("thumbs", NOW, 1) };
        let small = UsageRecord { memory_mb: 512, billed_ms: 101, ..run("thumbs", NOW + 1, 2) };
        let failed = UsageRecord { error: Some("KeyError".into()), max_memory_mb: 99, ..run("thumbs", NOW + DAY, 3) };
        for record in [cold, small, failed, run("resize", NOW, 4)] {
            s.usage.record(record).await;
        }
        s.usage.flush().await;
        assert_eq!(s.ok("GetUsage", json!({})).await["Functions"], expect);
    }
    let s = on(open().await);
    assert_eq!(s.ok("GetUsage", json!({})).await["Functions"], expect);
    let list = s.ok("ListInvocations", json!({"Function": "thumbs"})).await;
    let last = &list["Invocations"][0];
    assert_eq!(
        (&last["RequestId"], &last["Error"], &last["Start"]),
        (&json!("r3"), &json!("KeyError"), &json!("warm"))
    );
}

#[tokio::test]
async fn any_range_is_added_up_exactly() {
    let s = setting();
    let times: Vec<u64> = (0..60).map(|i| NOW + i * 67 * MINUTE).collect();
    for (i, at) in times.iter().enumerate() {
        s.meter(run(["a", "b"][i % 2], *at, i as u64)).await;
    }
    for from in [0, 1, 7, 30, 59] {
        for to in [from, from + 1, from + 2, 40, 59] {
            if from <= to && to < times.len() {
                assert_eq!(s.count(times[from], times[to]).await, (to - from) as i64, "{from}..{to}");
                assert_eq!(s.count(times[from] + 1, times[to] + 1).await, (to - from) as i64, "{from}..{to}");
            }
        }
    }
    let fault = s.call("GetUsage", json!({"Start": 2, "End": 1})).await.expect_err("refused");
    assert_eq!((fault.code.as_str(), fault.message.as_str()), ("ValidationException", "start must not be after end."));
}

#[tokio::test]
async fn invocations_are_paged_latest_first() {
    let s = setting();
    for i in 0..250 {
        s.clock.set(Timestamp(NOW + i * 10));
        s.usage.record(run(["a", "b"][i as usize % 2], NOW + i * 10, i)).await;
        if i % 9 == 0 {
            s.usage.flush().await;
        }
    }
    s.usage.flush().await;
    let pages = async |mut input: Value| {
        let mut ids = Vec::new();
        loop {
            let page = s.ok("ListInvocations", input.clone()).await;
            let runs = page["Invocations"].as_array().expect("runs");
            ids.extend(runs.iter().map(|r| r["RequestId"].as_str().expect("an id").to_owned()));
            match page.get("NextToken") {
                Some(token) => input["NextToken"] = token.clone(),
                None => return ids,
            }
        }
    };
    let ids = |all: &mut dyn Iterator<Item = u64>| -> Vec<String> { all.map(|i| format!("r{i}")).collect() };
    for limit in [1, 7, 250, 1000] {
        assert_eq!(pages(json!({"Limit": limit})).await, ids(&mut (0..250).rev()), "limit {limit}");
    }
    assert_eq!(pages(json!({"Limit": 10, "Function": "b"})).await, ids(&mut (0..250).rev().filter(|i| i % 2 == 1)));
    assert_eq!(pages(json!({"Start": NOW + 2_400})).await, ids(&mut (240..250).rev()));
    let fault = s.call("ListInvocations", json!({"NextToken": "junk"})).await.expect_err("refused");
    assert_eq!(fault.code, "ValidationException");
}

#[tokio::test]
async fn old_records_go_and_sums_stay() {
    let s = setting();
    s.meter(run("a", NOW, 1)).await;
    s.meter(run("a", NOW + 8 * DAY, 2)).await;
    s.usage.sweep().await.expect("sweeps");
    let list = s.ok("ListInvocations", json!({})).await;
    assert_eq!(list["Invocations"].as_array().map(Vec::len), Some(1));
    assert_eq!(s.ok("GetUsage", json!({})).await["Functions"][0]["Invocations"], 2);
    // The edge of a range that old is a whole hour, and the reply says so.
    let reply = s.ok("GetUsage", json!({"Start": NOW + 1, "End": NOW + DAY})).await;
    assert_eq!(
        (reply["Functions"][0]["Invocations"].as_u64(), reply["Start"].as_u64()),
        (Some(1), Some(NOW - 3_064_000))
    );
}

/// An event for a function of `account` that died at `died`.
async fn bury(store: &Store, id: &str, account: &str, died: u64) {
    let event = Event {
        id: id.into(),
        target: Arn::new("lambda", "us-east-1", account, "function:thumbs"),
        source: Source { service: None, arn: Some(Arn::new("s3", "", "", "photos")), account: account.into() },
        created: Timestamp(NOW),
        payload: serde_json::value::RawValue::from_string("{}".into()).expect("JSON"),
        attributes: Default::default(),
        terms: Default::default(),
    };
    let waiting = store::outbox::Waiting { event, attempts: 2, due: Timestamp(NOW), tried: Vec::new() };
    store
        .transact(async |tx| {
            let last = store::outbox::Attempt { at: Timestamp(died), reason: "it always fails".into() };
            store::outbox::bury(&tx, &waiting, &last)
        })
        .await
        .expect("buries");
}

#[tokio::test]
async fn dead_events_in_pages() {
    let store = Store::new(Arc::new(Memory::default()));
    let s = on(store.clone());
    for i in 0..50 {
        bury(&store, &format!("own-{i:02}"), "000000000000", NOW + i / 3).await;
        bury(&store, &format!("other-{i:02}"), "111111111111", NOW + 1_000 + i).await;
    }
    let (mut ids, mut request) = (Vec::new(), json!({"Limit": 20}));
    for _ in 0..4 {
        let page = s.ok("ListDeadEvents", request).await;
        let events = page["Events"].as_array().expect("events");
        assert!(events.len() <= 20);
        ids.extend(events.iter().map(|e| e["Id"].as_str().expect("an id").to_owned()));
        let Some(next) = page["NextToken"].as_str() else { break };
        request = json!({"Limit": 20, "NextToken": next});
    }
    let expect: Vec<_> = (0..50).rev().map(|i| format!("own-{i:02}")).collect();
    assert_eq!(ids, expect, "all of the account's, the latest first, and nobody else's");
    let fault = s.call("ListDeadEvents", json!({"NextToken": "junk"})).await.expect_err("refused");
    assert_eq!(fault.code, "ValidationException");
}

#[tokio::test]
async fn events_are_found_wherever_they_are_and_dead_ones_sent_again() {
    let store = Store::new(Arc::new(Memory::default()));
    let s = on(store.clone());
    bury(&store, "dead", "000000000000", NOW + 5).await;
    bury(&store, "other", "111111111111", NOW + 5).await;
    let event = |id: &str| Event {
        id: id.into(),
        target: Arn::new("lambda", "us-east-1", "000000000000", "function:thumbs"),
        source: Source { service: None, arn: None, account: "000000000000".into() },
        created: Timestamp(NOW),
        payload: serde_json::value::RawValue::from_string("{}".into()).expect("JSON"),
        attributes: Default::default(),
        terms: base::Terms { origin: Some("first".into()), rule: Some("r".into()), ..Default::default() },
    };
    let waiting =
        |id: &str| store::outbox::Waiting { event: event(id), attempts: 0, due: Timestamp(NOW), tried: Vec::new() };
    let done = store::trail::Way::of(&waiting("done"), Timestamp(NOW + 9), None, Vec::new());
    let put = async |tx: store::Tx| {
        store::trail::put(&tx, &done)?;
        tx.emit(&event("waits"))
    };
    store.transact(put).await.expect("commits");
    let ids = |reply: &Value| {
        let events = reply["Events"].as_array().expect("events").iter();
        events
            .map(|e| format!("{} {}", e["Id"].as_str().unwrap_or(""), e["State"].as_str().unwrap_or("")))
            .collect::<Vec<_>>()
    };
    let all = s.ok("ListEvents", json!({})).await;
    assert_eq!(ids(&all), ["done delivered", "dead dead", "waits waiting"]);
    assert_eq!((&all["Events"][0]["Rule"], &all["Events"][1]["Reason"]), (&json!("r"), &json!("it always fails")));
    assert_eq!(all["Events"][1]["Tried"], json!([{"At": NOW + 5, "Reason": "it always fails"}]));
    assert_eq!(ids(&s.ok("ListEvents", json!({"Id": "first"})).await), ["done delivered", "waits waiting"]);
    assert_eq!(ids(&s.ok("ListEvents", json!({"Id": "dead"})).await), ["dead dead"]);
    assert_eq!(ids(&s.ok("ListEvents", json!({"Since": NOW + 6})).await), ["done delivered"]);
    assert_eq!(ids(&s.ok("ListEvents", json!({"Limit": 1})).await), ["done delivered"]);
    let none = s.ok("RedriveDeadEvents", json!({"Target": "arn:aws:lambda:us-east-1:000000000000:function:x"})).await;
    assert_eq!(none, json!({"Redriven": 0, "More": false}));
    assert_eq!(s.ok("RedriveDeadEvents", json!({})).await, json!({"Redriven": 1, "More": false}));
    assert_eq!(ids(&s.ok("ListEvents", json!({"Id": "dead"})).await), ["dead waiting"]);
    assert_eq!(store::outbox::counts(&store, 9).await.expect("counts").dead, 1, "another account's stays");
}

#[tokio::test]
async fn records_wait_for_storage_and_count_once() {
    for faults in [Faults { full: 1000, ..Faults::default() }, Faults { commit_unknown: 1000, ..Faults::default() }] {
        let memory = Arc::new(Memory::default());
        let flaky = Arc::new(Flaky::new(memory, ManualClock::at(Timestamp(0)), 1, faults));
        let s = on(Store::new(flaky.clone()));
        s.usage.record(run("a", NOW, 1)).await;
        s.usage.record(run("a", NOW, 2)).await;
        let healed = async {
            s.clock.pass_one_sleep().await;
            flaky.set(Faults::default());
        };
        tokio::join!(s.usage.flush(), healed);
        let reply = s.ok("GetUsage", json!({})).await;
        assert_eq!(reply["Functions"][0]["Invocations"], 2, "{faults:?}");
    }
}

#[tokio::test]
async fn dead_events_and_the_doctor() {
    let store = Store::new(Arc::new(Memory::default()));
    let s = on(store.clone());
    bury(&store, "e1", "000000000000", NOW + 5).await;
    let dead = s.ok("ListDeadEvents", json!({})).await;
    let expect = json!([{
        "Id": "e1", "Target": "arn:aws:lambda:us-east-1:000000000000:function:thumbs", "Source": "arn:aws:s3:::photos",
        "Created": NOW, "Died": NOW + 5, "Attempts": 3, "Reason": "it always fails",
    }]);
    assert_eq!(dead["Events"], expect);
    let said = s.ok("GetDoctor", json!({})).await;
    assert_eq!(said["Checks"], json!([{"Name": "disk", "Status": "ok", "Detail": "9 GB free"}]));
    assert_eq!(said["Listen"], "127.0.0.1:4566");
}

#[tokio::test]
async fn activity_leaves_out_what_is_not_known() {
    let reply = setting().ok("GetActivity", json!({})).await;
    let rest = |name: &str, more: Value| {
        let mut f = json!({
            "FunctionName": name, "Idle": 0, "Busy": 0, "Starting": 0, "Waiting": 0, "CallsPerSecond": 0.0,
            "Calls": 0, "ColdStarts": 0, "Errors": 0, "Throttles": 0,
        });
        more.as_object().expect("an object").iter().for_each(|(k, v)| f[k] = v.clone());
        f
    };
    let busy = json!({"Busy": 3, "CallsPerSecond": 1.5, "Calls": 7, "P50Ms": 1.0, "P90Ms": 2.0, "P99Ms": 30.0});
    let want = [rest("resize", busy), rest("rests", json!({"Idle": 1, "Parked": 1}))];
    assert_eq!(reply["Functions"], json!(want));
}
