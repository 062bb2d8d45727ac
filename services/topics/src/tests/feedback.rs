//! What topics tell in log groups of their deliveries.

use super::*;
use base::port::Target as _;
use base::{Fate, Verdict};

const ROLE: &str = "arn:aws:iam::000000000000:role/feedback";

async fn told_of(rig: &Rig, protocol: &str, kinds: &[&str]) {
    let attributes: Value =
        kinds.iter().map(|kind| (format!("{protocol}{kind}FeedbackRoleArn"), json!(ROLE))).collect();
    rig.ok("CreateTopic", json!({"Name": "t", "Attributes": attributes})).await;
}

fn receipt_of(event: &Event, failure: Option<&str>) -> Event {
    let receipt = event.terms.receipt.as_ref().expect("a receipt is asked for");
    let failure = failure.map(str::to_owned);
    let fate = Fate { event: event.id.clone(), attempts: 3, tried: event.created, failure };
    Event {
        target: receipt.to.clone(),
        payload: serde_json::value::to_raw_value(&receipt.about).expect("JSON"),
        attributes: [("receipt".to_owned(), json!(fate))].into_iter().collect(),
        ..event.clone()
    }
}

fn entry(verdict: Verdict) -> (String, Value) {
    let Verdict::Over { failure: None, then } = verdict else { panic!("{verdict:?}") };
    assert_eq!(then.len(), 1);
    assert_eq!(then[0].terms.receipt, None, "entries are not told of");
    (then[0].target.to_string(), payload(&then[0]))
}

#[tokio::test]
async fn receipts_become_entries() {
    let rig = Rig::new().await;
    told_of(&rig, "SQS", &["Success", "Failure"]).await;
    rig.subscribe(T, "sqs", Q, json!({})).await;
    rig.subscribe(T, "lambda", F, json!({})).await;
    let published = rig.publish("hello").await;
    let events = rig.settle().await;
    let to = |target: &str| events.iter().find(|event| event.target.to_string() == target).expect(target);
    assert_eq!(to(F).terms.receipt, None, "only queues are told of");
    let asked = to(Q).terms.receipt.as_ref().expect("a receipt");
    assert!(asked.taken && asked.failed);

    let (group, taken) = entry(rig.topics.deliver(&receipt_of(to(Q), None), 1).await);
    assert_eq!(group, "arn:aws:logs:us-east-1:000000000000:log-group:sns/us-east-1/000000000000/t");
    assert_eq!((&taken["status"], &taken["notification"]["messageId"]), (&json!("SUCCESS"), &published["MessageId"]));
    let refused = receipt_of(to(Q), Some("The specified queue does not exist: q"));
    let (group, refused) = entry(rig.topics.deliver(&refused, 1).await);
    assert!(group.ends_with(":log-group:sns/us-east-1/000000000000/t/Failure"), "{group}");
    assert_eq!((&refused["status"], &refused["delivery"]["attempts"]), (&json!("FAILURE"), &json!(3)));
    assert_eq!(refused["delivery"]["destination"], Q);
}

#[tokio::test]
async fn successes_are_sampled() {
    let rig = Rig::new().await;
    told_of(&rig, "SQS", &["Success"]).await;
    rig.subscribe(T, "sqs", Q, json!({"RawMessageDelivery": "true"})).await;
    for (rate, expect) in [("0", 0..=0), ("30", 15..=45), ("100", 100..=100)] {
        let set = json!({"TopicArn": T, "AttributeName": "SQSSuccessFeedbackSampleRate", "AttributeValue": rate});
        rig.ok("SetTopicAttributes", set).await;
        for _ in 0..100 {
            rig.publish("x").await;
        }
        let sampled = rig.settle().await.iter().filter(|event| event.terms.receipt.is_some()).count();
        assert!(expect.contains(&sampled), "{rate}: {sampled}");
    }
}

#[tokio::test]
async fn endpoints_are_told_of_with_their_answers() {
    let rig = Rig::with(Pigeonhole::always(202)).await;
    told_of(&rig, "HTTP", &["Success", "Failure"]).await;
    rig.subscribe(T, "http", URL, json!({})).await;
    let asked = rig.settle().await.remove(0);
    assert_eq!(rig.topics.deliver(&asked, 1).await, Verdict::Done, "handshakes are not told of");
    let (_, body) = rig.courier.sent().remove(0).into_parts();
    let token = serde_json::from_slice::<Value>(&body).expect("JSON")["Token"].clone();
    rig.ok("ConfirmSubscription", json!({"TopicArn": T, "Token": token})).await;
    rig.publish("hello").await;
    let event = rig.settle().await.remove(0);
    let asked = event.terms.receipt.as_ref().expect("a receipt");
    assert!(!asked.taken && asked.failed, "what it took is told where it is sent to");
    let (_, taken) = entry(rig.topics.deliver(&event, 2).await);
    assert_eq!((&taken["delivery"]["statusCode"], &taken["delivery"]["attempts"]), (&json!(202), &json!(2)));
    assert_eq!(taken["delivery"]["destination"], URL);
    let refused = receipt_of(&event, Some("the endpoint answered 404 Not Found"));
    let (_, refused) = entry(rig.topics.deliver(&refused, 1).await);
    assert_eq!(refused["delivery"]["statusCode"], 404);
}
