//! Events of other rooms become messages; other rooms read.

use super::*;
use base::port::{QueueReader, Target};
use base::{Arn, Event, QueueError, Source, Verdict};
use serde_json::value::to_raw_value;

fn event(target: &str, payload: Value, attributes: Value) -> Event {
    Event {
        id: "event-1".into(),
        target: arn(target).parse().expect("an ARN"),
        source: Source {
            service: Some("s3.amazonaws.com".into()),
            arn: Some("arn:aws:s3:::photos".parse().expect("an ARN")),
            account: "000000000000".into(),
        },
        created: Timestamp(NOW),
        payload: to_raw_value(&payload).expect("JSON"),
        terms: base::Terms::default(),
        attributes: attributes.as_object().cloned().unwrap_or_default(),
    }
}

fn policy(name: &str) -> Value {
    let document = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage",
        "Resource": arn(name), "Condition": {"StringEquals": {"aws:SourceAccount": "000000000000"}},
    }]});
    json!({"Policy": document.to_string()})
}

#[tokio::test]
async fn an_event_is_a_message_if_the_policy_lets_it() {
    let s = setting();
    s.create("closed", json!({})).await;
    s.create("open", policy("open")).await;
    let accepts = async |name: &str| {
        let event = event(name, json!({}), json!({}));
        s.queues.accepts(&event.target, &event.source).await.is_ok()
    };
    assert!(accepts("open").await && !accepts("closed").await && !accepts("none").await);
    assert_eq!(s.queues.deliver(&event("open", json!({"Records": []}), json!({})), 1).await, Verdict::Done);
    assert!(matches!(s.queues.deliver(&event("closed", json!({}), json!({})), 1).await, Verdict::Dead { .. }));
    assert!(matches!(s.queues.deliver(&event("none", json!({}), json!({})), 1).await, Verdict::Dead { .. }));
    let more = json!({
        "RawBody": true, "AWSTraceHeader": "Root=1", "MessageGroupId": "g",
        "MessageAttributes": {"a": {"DataType": "String", "StringValue": "x"}},
    });
    assert_eq!(s.queues.deliver(&event("open", json!("plain"), more), 1).await, Verdict::Done);
    let got = s.receive("open", json!({})).await;
    assert_eq!((&got[0]["Body"], &got[1]["Body"]), (&json!(r#"{"Records":[]}"#), &json!("plain")));
    assert_eq!(got[1]["MessageAttributes"]["a"]["StringValue"], "x");
    assert_eq!(got[1]["Attributes"]["AWSTraceHeader"], "Root=1");
}

#[tokio::test]
async fn an_event_delivered_twice_is_one_message_of_a_fifo_queue() {
    let s = setting();
    let mut attributes = policy("q.fifo");
    attributes["FifoQueue"] = "true".into();
    s.create("q.fifo", attributes).await;
    for attempt in 1..=2 {
        assert_eq!(s.queues.deliver(&event("q.fifo", json!({}), json!({})), attempt).await, Verdict::Done);
    }
    assert_eq!(s.bodies("q.fifo").await, ["{}"]);
}

#[tokio::test]
async fn other_rooms_read() {
    let s = setting();
    s.create("q", json!({"VisibilityTimeout": "40"})).await;
    let queue: Arn = arn("q").parse().expect("an ARN");
    let reader: &dyn QueueReader = s.queues.as_ref();
    let facts = reader.facts(&queue).await.expect("there");
    assert_eq!((facts.fifo, facts.visibility), (false, Duration::from_secs(40)));
    let none: Arn = arn("none").parse().expect("an ARN");
    assert_eq!(reader.facts(&none).await, Err(QueueError::NoSuchQueue));
    let (got, ()) = tokio::join!(reader.receive(&queue, 10, None), async {
        others_run().await;
        s.pass(3600);
        others_run().await;
        s.send("q", "a").await;
    });
    let got = got.expect("receives");
    assert_eq!((got[0].body.as_str(), got[0].attributes["ApproximateReceiveCount"].as_str()), ("a", "1"));
    let first = got[0].handle.clone();
    let handles = || vec![first.clone()];
    reader.give_back(&queue, handles(), Duration::ZERO).await.expect("gives back");
    let got = reader.receive(&queue, 10, Some(Duration::ZERO)).await.expect("receives");
    assert_eq!(got[0].attributes["ApproximateReceiveCount"], "2");
    reader.give_back(&queue, handles(), Duration::ZERO).await.expect("no longer in flight");
    reader.delete(&queue, vec![got[0].handle.clone()]).await.expect("deletes");
    assert_eq!(s.counts("q").await, (0, 0, 0));
}
