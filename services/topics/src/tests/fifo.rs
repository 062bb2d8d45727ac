//! FIFO topics: numbers, order, and what is sent once.

use super::*;
use std::time::Duration;

async fn publish(rig: &Rig, message: &str, group: &str, dedup: Option<&str>) -> Value {
    let mut input = json!({"TopicArn": FIFO, "Message": message, "MessageGroupId": group});
    if let Some(dedup) = dedup {
        input["MessageDeduplicationId"] = dedup.into();
    }
    rig.ok("Publish", input).await
}

#[tokio::test]
async fn messages_have_numbers_and_keep_their_order() {
    let rig = Rig::new().await;
    rig.fifo_topic(json!({})).await;
    let subscription = rig.subscribe(FIFO, "sqs", FIFO_Q, json!({})).await;
    rig.subscribe(FIFO, "sqs", Q, json!({"RawMessageDelivery": "true"})).await;
    let numbers: Vec<Value> = [
        publish(&rig, "1", "g", Some("a")).await,
        publish(&rig, "2", "g", Some("b")).await,
        publish(&rig, "3", "h", Some("c")).await,
    ]
    .iter()
    .map(|accepted| accepted["SequenceNumber"].clone())
    .collect();
    assert_eq!(numbers, ["10000000000000000001", "10000000000000000002", "10000000000000000003"]);
    let events = rig.settle().await;
    let fifo: Vec<&Event> = events.iter().filter(|e| e.target.to_string() == FIFO_Q).collect();
    let seen: Vec<(Value, &str)> =
        fifo.iter().map(|e| (payload(e)["Message"].clone(), e.terms.order.as_deref().expect("an order"))).collect();
    let (g, h) = (format!("{subscription} g"), format!("{subscription} h"));
    assert_eq!(seen, [(json!("1"), &*g), (json!("2"), &*g), (json!("3"), &*h)]);
    let ids: Vec<&String> = fifo.iter().map(|e| &e.id).collect();
    assert!(ids.is_sorted() && ids[0].len() == 36, "{ids:?}");
    assert_eq!(fifo[0].attributes["MessageDeduplicationId"], "a");
    assert_eq!(payload(fifo[0])["SequenceNumber"], "10000000000000000001");
    assert_eq!(payload(fifo[0]).get("Signature"), None);
    assert_eq!(events.len(), 6);
}

#[tokio::test]
async fn what_was_sent_is_not_sent_again_for_five_minutes() {
    let rig = Rig::new().await;
    rig.fifo_topic(json!({"ContentBasedDeduplication": "true"})).await;
    rig.subscribe(FIFO, "sqs", FIFO_Q, json!({})).await;
    let first = publish(&rig, "x", "g", None).await;
    assert_eq!(publish(&rig, "x", "h", None).await, first, "in whatever group");
    assert_ne!(publish(&rig, "x", "g", Some("d")).await, first);
    assert_eq!(rig.settle().await.len(), 2);
    rig.clock.advance(Duration::from_secs(299));
    assert_eq!(publish(&rig, "x", "g", None).await, first);
    rig.clock.advance(Duration::from_secs(1));
    assert_ne!(publish(&rig, "x", "g", None).await, first);
    assert_eq!(rig.settle().await.len(), 1);
    rig.clock.advance(Duration::from_secs(301));
    rig.topics.sweep().await.expect("sweeps");
    for space in ["topics/sent", "topics/until"] {
        let all = ::store::Key::of(space);
        assert_eq!(rig.store.scan(all.as_bytes(), &all.end(), 10).await.expect("reads").len(), 0, "{space}");
    }
}

#[tokio::test]
async fn groups_may_tell_messages_apart() {
    let rig = Rig::new().await;
    rig.fifo_topic(json!({"FifoThroughputScope": "MessageGroup"})).await;
    let first = publish(&rig, "x", "g", Some("d")).await;
    assert_eq!(publish(&rig, "x", "g", Some("d")).await, first);
    assert_ne!(publish(&rig, "x", "h", Some("d")).await, first);
}

#[tokio::test]
async fn what_is_refused() {
    let rig = Rig::new().await;
    rig.fifo_topic(json!({})).await;
    for (input, text) in [
        (json!({"Message": "x", "MessageDeduplicationId": "d"}), "MessageGroupId parameter is required"),
        (json!({"Message": "x", "MessageGroupId": "g"}), "ContentBasedDeduplication enabled or"),
        (json!({"Message": "x", "MessageGroupId": "a b", "MessageDeduplicationId": "d"}), "MessageGroupId"),
        (json!({"Message": "x", "MessageGroupId": "g", "MessageDeduplicationId": ""}), "MessageDeduplicationId"),
    ] {
        let mut input = input;
        input["TopicArn"] = FIFO.into();
        rig.refused("Publish", input, "InvalidParameter", text).await;
    }
    for (protocol, endpoint) in [("lambda", F), ("http", URL)] {
        let input = json!({"TopicArn": FIFO, "Protocol": protocol, "Endpoint": endpoint});
        rig.refused("Subscribe", input, "InvalidParameter", "FIFO topics can not deliver").await;
    }
    rig.topic("t").await;
    let input = json!({"TopicArn": T, "Protocol": "sqs", "Endpoint": FIFO_Q});
    rig.refused("Subscribe", input, "InvalidParameter", "can not be subscribed to standard").await;
}

#[tokio::test]
async fn many_publish_at_once() {
    let rig = Arc::new(Rig::new().await);
    rig.fifo_topic(json!({})).await;
    let all = (0..30).map(|n| {
        let rig = rig.clone();
        tokio::spawn(async move { publish(&rig, "x", "g", Some(&n.to_string())).await["SequenceNumber"].clone() })
    });
    let mut numbers = Vec::new();
    for one in all.collect::<Vec<_>>() {
        numbers.push(one.await.expect("runs").as_str().expect("text").to_owned());
    }
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 30);
}
