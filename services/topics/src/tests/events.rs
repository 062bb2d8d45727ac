//! Events of other rooms for topics, and keys.

use super::*;
use base::port::Target as _;
use base::{Source, Terms, Verdict};
use serde_json::value::RawValue;

fn event(target: &str, payload: Value, attributes: Value) -> Event {
    Event {
        id: "11111111-1111-4111-8111-111111111111".into(),
        target: target.parse().expect("an ARN"),
        source: bucket(),
        created: START,
        payload: RawValue::from_string(payload.to_string()).expect("JSON"),
        attributes: attributes.as_object().expect("one").clone(),
        terms: Terms::default(),
    }
}

fn bucket() -> Source {
    Source {
        service: Some("s3.amazonaws.com".into()),
        arn: Some("arn:aws:s3:::photos".parse().expect("an ARN")),
        account: "000000000000".into(),
    }
}

async fn let_in(rig: &Rig, topic: &str) {
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "SNS:Publish", "Resource": topic,
        "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::photos"}},
    }]});
    let set = json!({"TopicArn": topic, "AttributeName": "Policy", "AttributeValue": policy.to_string()});
    rig.ok("SetTopicAttributes", set).await;
}

#[tokio::test]
async fn a_topic_takes_what_its_policy_lets_in() {
    let rig = Rig::new().await;
    let topic = T.parse().expect("an ARN");
    assert!(rig.topics.accepts(&topic, &bucket()).await.expect_err("absent").0.contains("Topic does not exist"));
    rig.topic("t").await;
    rig.subscribe(T, "sqs", Q, json!({})).await;
    assert!(rig.topics.accepts(&topic, &bucket()).await.expect_err("closed").0.contains("sns:Publish"));
    let given = event(T, json!({"Records": []}), json!({"Subject": "Amazon S3 Notification"}));
    assert!(matches!(rig.topics.deliver(&given, 1).await, Verdict::Dead { .. }));
    let_in(&rig, T).await;
    rig.topics.accepts(&topic, &bucket()).await.expect("it is let in");
    let Verdict::Over { failure: None, then } = rig.topics.deliver(&given, 1).await else { panic!("refused") };
    let message = payload(&then[0]);
    assert_eq!(
        (&message["Subject"], &message["Message"]),
        (&json!("Amazon S3 Notification"), &json!("{\"Records\":[]}"))
    );
    assert_eq!(message["MessageId"], given.id);
    assert_eq!((then[0].terms.origin.as_deref(), then.len()), (Some(given.id.as_str()), 1));
    // A text that stands for itself, and attributes.
    let attributes = json!({
        "RawBody": true, "MessageAttributes": {"ERROR_CODE": {"DataType": "String", "StringValue": "x"}},
    });
    let Verdict::Over { then, .. } = rig.topics.deliver(&event(T, json!("a\nb"), attributes), 1).await else {
        panic!("refused")
    };
    let message = payload(&then[0]);
    assert_eq!(
        (&message["Message"], &message["MessageAttributes"]["ERROR_CODE"]["Value"]),
        (&json!("a\nb"), &json!("x"))
    );
}

#[tokio::test]
async fn a_fifo_topic_knows_an_event_again() {
    let rig = Rig::new().await;
    rig.fifo_topic(json!({})).await;
    rig.subscribe(FIFO, "sqs", FIFO_Q, json!({})).await;
    let_in(&rig, FIFO).await;
    let given = event(FIFO, json!({"n": 1}), json!({}));
    for _ in 0..2 {
        let verdict = rig.topics.deliver(&given, 1).await;
        assert_eq!(verdict, Verdict::Over { failure: None, then: Vec::new() });
    }
    let events = rig.settle().await;
    assert_eq!((events.len(), &events[0].attributes["MessageGroupId"]), (1, &json!("events")));
}

#[tokio::test]
async fn a_key_is_made_once_and_again_if_it_cannot_be_opened() {
    let rig = Rig::new().await;
    let known = rig.topics.signer().await.expect("a key").name.clone();
    let open = |keys: &[[u8; 32]]| {
        let entropy = Arc::new(Seeded::new(9));
        Topics::open(Parts {
            store: rig.store.clone(),
            seal: Arc::new(Seal::new(keys, entropy.clone())),
            clock: rig.clock.clone(),
            entropy,
            courier: rig.courier.clone(),
        })
    };
    let name = async |topics: Arc<Topics>| topics.signer().await.expect("a key").name.clone();
    assert_eq!(name(open(&[[7; 32]])).await, known);
    open(&[[8; 32], [7; 32]]).reseal().await.expect("seals it with the newer master key");
    assert_eq!(name(open(&[[8; 32]])).await, known, "and the older one is needed no more");
    let other = name(open(&[[9; 32]])).await;
    assert_ne!(other, known);
    assert_eq!(name(open(&[[9; 32]])).await, other);
}
