//! What a user of the logs room would notice.

use crate::api;
use crate::{Config, Error, Logs, Parts};
use base::Timestamp;
use base::log::{LogBatch, LogLine};
use base::port::LogSink;
use kit::{ManualClock, Seeded, scope};
use room::{Context, Room};
use serde_json::{Value, json};
use std::sync::Arc;
use store::flaky::{Faults, Flaky};
use store::{Store, memory::Memory};
use wire::{Decoded, Fault};

const NOW: u64 = 1_795_449_064_000;
const GROUP: &str = "/aws/lambda/thumbs";

struct Setting {
    logs: Arc<Logs>,
    table: room::TableRoom<Logs>,
    clock: Arc<ManualClock>,
}

fn setting() -> Setting {
    on(Store::new(Arc::new(Memory::default())))
}

fn on(store: Store) -> Setting {
    let (clock, entropy) = (ManualClock::at(Timestamp(NOW)), Arc::new(Seeded::new(1)));
    let logs = Logs::open(Parts { store, clock: clock.clone(), entropy, config: Config::default() });
    Setting { table: crate::room(logs.clone()), logs, clock }
}

fn context() -> Context {
    Context {
        caller: kit::caller(),
        request_id: "r".into(),
        host: "localhost:4566".into(),
        source_ip: [127, 0, 0, 1].into(),
        trace: None,
    }
}

impl Setting {
    /// Runs an operation as the gate does, without the wire.
    async fn call(&self, operation: &str, input: Value) -> Result<Value, Fault> {
        let op = api::SERVICE.operation(operation).expect("in the model");
        let prepared = self.table.prepare(context(), op, Decoded { input, payload: Default::default() })?;
        assert_eq!(prepared.access[0].action, format!("logs:{operation}"));
        prepared.run.await.map(|e| e.output)
    }

    async fn ok(&self, operation: &str, input: Value) -> Value {
        self.call(operation, input).await.unwrap_or_else(|f| panic!("{operation}: {f}"))
    }

    async fn fails(&self, operation: &str, input: Value, code: &str, message: &str) {
        let fault = self.call(operation, input).await.expect_err(operation);
        assert_eq!((fault.code.as_str(), fault.message.as_str()), (code, message), "{operation}");
    }

    /// Lines of a function's instance, at times after [`NOW`].
    async fn write(&self, stream: &str, lines: &[(u64, &str)]) {
        let line = |(at, message): &(u64, &str)| LogLine { at: Timestamp(NOW + at), message: (*message).to_owned() };
        let lines = lines.iter().map(line).collect();
        self.logs.append(LogBatch { scope: scope(), group: GROUP.into(), stream: stream.into(), lines }).await;
    }

    async fn filter(&self, more: Value) -> Value {
        let mut input = json!({"logGroupName": GROUP});
        let fields = more.as_object().cloned().unwrap_or_default();
        input.as_object_mut().expect("an object").extend(fields);
        self.ok("FilterLogEvents", input).await
    }
}

fn messages(page: &Value) -> Vec<&str> {
    page["events"].as_array().expect("events").iter().map(|e| e["message"].as_str().expect("text")).collect()
}

#[tokio::test]
async fn lines_of_functions_appear_in_order_across_streams() {
    let s = setting();
    s.write("a", &[(0, "a0"), (20, "a20")]).await;
    s.write("b", &[(10, "b10"), (30, "b30")]).await;
    s.write("a", &[(5, "a5"), (3_000, "a3000")]).await;
    s.logs.flush().await;
    let all = ["a0", "a5", "b10", "a20", "b30", "a3000"];
    assert_eq!(messages(&s.filter(json!({})).await), all);

    let mut latest_first = all;
    latest_first.reverse();
    assert_eq!(messages(&s.filter(json!({"startFromHead": false})).await), latest_first);
    let part = s.filter(json!({"startTime": NOW + 5, "endTime": NOW + 20})).await;
    assert_eq!(messages(&part), ["a5", "b10", "a20"], "the end is inclusive");
    assert_eq!(messages(&s.filter(json!({"logStreamNames": ["b"]})).await), ["b10", "b30"]);
    assert_eq!(
        messages(&s.filter(json!({"logStreamNamePrefix": "a", "filterPattern": "-a5"})).await),
        ["a0", "a20", "a3000"]
    );
    s.fails(
        "FilterLogEvents",
        json!({"logGroupName": GROUP, "filterPattern": "{ $.level = \"ERROR\" }"}),
        "InvalidParameterException",
        "Wadi does not have filter patterns for JSON, { $.field = value }, yet.",
    )
    .await;
}

/// Pages of every size, in both directions, give every event once.
#[tokio::test]
async fn pages_give_every_event_once() {
    let s = setting();
    let mut expect = Vec::new();
    for i in 0..60u64 {
        let text = format!("m{i}");
        s.write(["x", "y", "z"][i as usize % 3], &[(i * 700, &text)]).await;
        if i % 4 == 0 {
            s.logs.flush().await;
        }
        expect.push(text);
    }
    s.logs.flush().await;
    for limit in [1, 7, 60, 100] {
        for forward in [true, false] {
            let (mut got, mut ids, mut token) = (Vec::new(), Vec::new(), Value::Null);
            loop {
                let mut input = json!({"limit": limit, "startFromHead": forward});
                if !token.is_null() {
                    input["nextToken"] = token;
                }
                let page = s.filter(input).await;
                assert!(page["events"].as_array().expect("events").len() <= limit);
                got.extend(messages(&page).iter().map(|m| (*m).to_owned()));
                ids.extend(page["events"].as_array().expect("events").iter().map(|e| e["eventId"].clone()));
                token = page["nextToken"].clone();
                if token.is_null() {
                    break;
                }
            }
            if !forward {
                got.reverse();
            }
            assert_eq!(got, expect, "limit {limit}, forward {forward}");
            ids.dedup();
            assert_eq!(ids.len(), expect.len(), "event ids are unique");
        }
    }
    let junk = json!({"logGroupName": GROUP, "nextToken": "junk"});
    s.fails("FilterLogEvents", junk, "InvalidParameterException", "The specified nextToken is invalid.").await;
}

#[tokio::test]
async fn one_stream_forwards_and_backwards() {
    let s = setting();
    s.write("a", &[(0, "0"), (1, "1"), (2, "2"), (3, "3"), (4, "4")]).await;
    s.write("b", &[(2, "other")]).await;
    s.logs.flush().await;
    let get = async |more: Value| {
        let mut input = json!({"logGroupName": GROUP, "logStreamName": "a", "limit": 2});
        input.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        s.ok("GetLogEvents", input).await
    };
    let tail = get(json!({})).await;
    assert_eq!(messages(&tail), ["3", "4"]);
    let before = get(json!({"nextToken": tail["nextBackwardToken"]})).await;
    assert_eq!(messages(&before), ["1", "2"]);
    let head = get(json!({"startFromHead": true})).await;
    assert_eq!(messages(&head), ["0", "1"]);
    let next = get(json!({"nextToken": head["nextForwardToken"]})).await;
    assert_eq!(messages(&next), ["2", "3"]);

    let end = get(json!({"nextToken": tail["nextForwardToken"]})).await;
    assert_eq!(end["nextForwardToken"], tail["nextForwardToken"], "the token repeats at the end");
    assert!(messages(&end).is_empty());
    s.write("a", &[(9, "9")]).await;
    s.logs.flush().await;
    assert_eq!(messages(&get(json!({"nextToken": end["nextForwardToken"]})).await), ["9"]);
    assert_eq!(messages(&get(json!({"startTime": NOW + 1, "endTime": NOW + 3, "limit": 9})).await), ["1", "2"]);
}

#[tokio::test]
async fn put_checks_and_reports_what_it_refuses() {
    let s = setting();
    let put = |events: Value| json!({"logGroupName": "g", "logStreamName": "s", "logEvents": events});
    let event = |at: u64| json!({"timestamp": at, "message": "m"});
    let missing = "The specified log group does not exist.";
    s.fails("PutLogEvents", put(json!([event(NOW)])), "ResourceNotFoundException", missing).await;
    s.ok("CreateLogGroup", json!({"logGroupName": "g"})).await;
    let missing = "The specified log stream does not exist.";
    s.fails("PutLogEvents", put(json!([event(NOW)])), "ResourceNotFoundException", missing).await;
    s.ok("CreateLogStream", json!({"logGroupName": "g", "logStreamName": "s"})).await;
    let unordered = "Log events in a single PutLogEvents request must be in chronological order.";
    s.fails("PutLogEvents", put(json!([event(NOW), event(NOW - 1)])), "InvalidParameterException", unordered).await;
    let hour = 3_600_000;
    let reply = s.ok("PutLogEvents", put(json!([event(NOW), event(NOW + 3 * hour)]))).await;
    assert_eq!(reply["rejectedLogEventsInfo"], json!({"tooNewLogEventStartIndex": 1}));
    let reply = s.ok("PutLogEvents", put(json!([event(NOW - 15 * 24 * hour)]))).await;
    assert_eq!(reply["rejectedLogEventsInfo"], json!({"tooOldLogEventEndIndex": 1}));
    let page = s.ok("FilterLogEvents", json!({"logGroupName": "g"})).await;
    assert_eq!(messages(&page), ["m"]);
    let groups = s.ok("DescribeLogGroups", json!({})).await;
    assert_eq!(groups["logGroups"][0]["storedBytes"], 27);
}

#[tokio::test]
async fn groups_are_made_listed_and_deleted() {
    let s = setting();
    for name in ["/a/1", "/a/2", "/a/3", "/b"] {
        s.ok("CreateLogGroup", json!({"logGroupName": name, "tags": {"team": "x"}})).await;
    }
    let exists = "The specified log group already exists";
    s.fails("CreateLogGroup", json!({"logGroupName": "/b"}), "ResourceAlreadyExistsException", exists).await;
    let names = |page: &Value| -> Vec<String> {
        let groups = page["logGroups"].as_array().expect("groups");
        groups.iter().map(|g| g["logGroupName"].as_str().expect("a name").to_owned()).collect()
    };
    let page = s.ok("DescribeLogGroups", json!({"logGroupNamePrefix": "/a/", "limit": 2})).await;
    assert_eq!(names(&page), ["/a/1", "/a/2"]);
    let rest = json!({"logGroupNamePrefix": "/a/", "limit": 2, "nextToken": page["nextToken"]});
    let page = s.ok("DescribeLogGroups", rest).await;
    assert_eq!((names(&page), page.get("nextToken")), (vec!["/a/3".to_owned()], None));
    assert_eq!(names(&s.ok("DescribeLogGroups", json!({"logGroupNamePattern": "B"})).await), ["/b"]);

    let arn = "arn:aws:logs:us-east-1:000000000000:log-group:/b";
    s.ok("TagResource", json!({"resourceArn": arn, "tags": {"k": "v"}})).await;
    s.ok("UntagResource", json!({"resourceArn": format!("{arn}:*"), "tagKeys": ["team"]})).await;
    assert_eq!(s.ok("ListTagsForResource", json!({"resourceArn": arn})).await["tags"], json!({"k": "v"}));
    s.ok("DeleteLogGroup", json!({"logGroupName": "/b"})).await;
    let missing = "The specified log group does not exist.";
    for (operation, input) in [
        ("DeleteLogGroup", json!({"logGroupName": "/b"})),
        ("FilterLogEvents", json!({"logGroupName": "/b"})),
        ("ListTagsForResource", json!({"resourceArn": arn})),
    ] {
        s.fails(operation, input, "ResourceNotFoundException", missing).await;
    }
}

#[tokio::test]
async fn streams_are_listed_by_name_and_by_last_event() {
    let s = setting();
    s.write("a", &[(30, "x")]).await;
    s.write("b", &[(10, "x")]).await;
    s.write("c", &[(20, "x")]).await;
    s.logs.flush().await;
    s.write("b", &[(40, "x")]).await;
    s.logs.flush().await;
    s.ok("CreateLogStream", json!({"logGroupName": GROUP, "logStreamName": "empty"})).await;
    let list = async |more: Value| {
        let (mut names, mut input) = (Vec::new(), more);
        input["logGroupName"] = GROUP.into();
        input["limit"] = 2.into();
        loop {
            let page = s.ok("DescribeLogStreams", input.clone()).await;
            let streams = page["logStreams"].as_array().expect("streams");
            names.extend(streams.iter().map(|l| l["logStreamName"].as_str().expect("a name").to_owned()));
            match page.get("nextToken") {
                Some(token) => input["nextToken"] = token.clone(),
                None => return names.join(" "),
            }
        }
    };
    assert_eq!(list(json!({})).await, "a b c empty");
    assert_eq!(list(json!({"descending": true})).await, "empty c b a");
    assert_eq!(list(json!({"logStreamNamePrefix": "b"})).await, "b");
    assert_eq!(list(json!({"orderBy": "LastEventTime", "descending": true})).await, "b a c empty");
    assert_eq!(list(json!({"orderBy": "LastEventTime"})).await, "empty c a b");
}

#[tokio::test]
async fn a_deleted_stream_and_its_namesake_do_not_mix() {
    let s = setting();
    s.write("a", &[(0, "old")]).await;
    s.write("b", &[(1, "kept")]).await;
    s.logs.flush().await;
    s.ok("DeleteLogStream", json!({"logGroupName": GROUP, "logStreamName": "a"})).await;
    s.write("a", &[(2, "new")]).await;
    s.logs.flush().await;
    for _ in 0..2 {
        assert_eq!(messages(&s.filter(json!({})).await), ["kept", "new"]);
        let get = json!({"logGroupName": GROUP, "logStreamName": "a", "startFromHead": true});
        assert_eq!(messages(&s.ok("GetLogEvents", get).await), ["new"]);
        s.logs.sweep().await.expect("sweeps");
    }
    let groups = s.ok("DescribeLogGroups", json!({})).await;
    assert_eq!(groups["logGroups"][0]["storedBytes"], 4 + 26 + 3 + 26);
}

#[tokio::test]
async fn retention_hides_at_once_and_the_sweep_removes() {
    let store = Store::new(Arc::new(Memory::default()));
    let s = on(store.clone());
    for i in 0..200 {
        s.write(&format!("s{i}"), &[(i * 10_000, "old")]).await;
    }
    s.logs.flush().await;
    let day = 24 * 3_600_000;
    s.write("s0", &[(3 * day, "new")]).await;
    s.logs.flush().await;
    s.clock.set(Timestamp(NOW + 3 * day));
    let text = "Invalid retention value 2. Valid values are: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, \
                731, 1096, 1827, 2192, 2557, 2922, 3288, 3653.";
    let put = |days: u32| json!({"logGroupName": GROUP, "retentionInDays": days});
    s.fails("PutRetentionPolicy", put(2), "InvalidParameterException", text).await;
    s.ok("PutRetentionPolicy", put(1)).await;
    assert_eq!(messages(&s.filter(json!({})).await), ["new"]);
    s.logs.sweep().await.expect("sweeps");
    s.ok("DeleteRetentionPolicy", json!({"logGroupName": GROUP})).await;
    assert_eq!(messages(&s.filter(json!({})).await), ["new"]);
    assert_eq!(s.ok("DescribeLogGroups", json!({})).await["logGroups"][0]["storedBytes"], 29);

    s.ok("DeleteLogGroup", json!({"logGroupName": GROUP})).await;
    s.logs.sweep().await.expect("sweeps");
    assert!(store.scan(b"logs/", b"logs0", 10).await.expect("reads").is_empty(), "nothing is left behind");
}

#[tokio::test]
async fn lines_wait_for_storage_and_are_not_lost() {
    let full = Faults { full: 1000, ..Faults::default() };
    let flaky = Arc::new(Flaky::new(Arc::new(Memory::default()), ManualClock::at(Timestamp(0)), 1, full));
    let s = on(Store::new(flaky.clone()));
    s.write("a", &[(0, "x")]).await;
    s.write("b", &[(1, "y")]).await;
    let healed = async {
        for _ in 0..5 {
            s.clock.pass_one_sleep().await;
        }
        flaky.set(Faults::default());
    };
    tokio::join!(s.logs.flush(), healed);
    assert_eq!(messages(&s.filter(json!({})).await), ["x", "y"]);
    flaky.set(full);
    let put = json!({"logGroupName": GROUP, "logStreamName": "a", "logEvents": [{"timestamp": NOW, "message": "m"}]});
    let text = "No space is left on the node's disk, so nothing was written. Try again when there is.";
    s.fails("PutLogEvents", put, "ServiceUnavailableException", text).await;
}

#[test]
fn errors_keep_their_cause() {
    let fault = Fault::from(Error::Store(store::Error::Full));
    assert_eq!(fault.cause.expect("a cause").to_string(), "storage is full");
}
