//! What is published to a standard topic, and in which form its subscribers get it.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsa::pkcs8::DecodePrivateKey;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha1::{Digest, Sha1};

#[tokio::test]
async fn every_subscriber_gets_it_in_its_form() {
    let rig = Rig::new().await;
    rig.topic("t").await;
    let queue = rig.subscribe(T, "sqs", Q, json!({})).await;
    rig.subscribe(T, "sqs", &format!("{Q}-raw"), json!({"RawMessageDelivery": "true"})).await;
    let function = rig.subscribe(T, "lambda", F, json!({})).await;
    let input = json!({
        "TopicArn": T, "Message": "hello", "Subject": "Hi", "MessageGroupId": "g",
        "MessageAttributes": {
            "kind": {"DataType": "String", "StringValue": "order"},
            "bytes": {"DataType": "Binary", "BinaryValue": "AAE="},
        },
    });
    let id = rig.ok("Publish", input).await["MessageId"].clone();
    let events = rig.waiting().await;
    let to = |target: &str| events.iter().find(|e| e.target.to_string() == target).expect(target);

    let whole = to(Q);
    let body = payload(whole);
    for (name, value) in [
        ("Type", json!("Notification")),
        ("MessageId", id.clone()),
        ("TopicArn", json!(T)),
        ("Subject", json!("Hi")),
        ("Message", json!("hello")),
        ("Timestamp", json!("2026-11-23T15:51:04.123Z")),
        ("SignatureVersion", json!("1")),
        (
            "MessageAttributes",
            json!({
                "kind": {"Type": "String", "Value": "order"}, "bytes": {"Type": "Binary", "Value": "AAE="},
            }),
        ),
    ] {
        assert_eq!(body[name], value, "{name}");
    }
    assert!(whole.payload.get().starts_with("{\n  \"Type\" : \"Notification\",\n  \"MessageId\" : "));
    let url = body["UnsubscribeURL"].as_str().expect("a URL");
    assert!(url.starts_with("http://127.0.0.1:4566/?Action=Unsubscribe&SubscriptionArn=arn%3Aaws%3Asns"), "{url}");
    assert_eq!((whole.attributes["MessageGroupId"].as_str(), whole.terms.rule.as_deref()), (Some("g"), Some(&*queue)));
    assert_eq!(whole.source.service.as_deref(), Some("sns.amazonaws.com"));
    assert_eq!(whole.source.arn.as_ref().expect("it").to_string(), T);
    assert_eq!(whole.terms.origin.as_deref(), id.as_str());

    let text = format!(
        "Message\nhello\nMessageId\n{}\nSubject\nHi\nTimestamp\n2026-11-23T15:51:04.123Z\nTopicArn\n{T}\nType\nNotification\n",
        id.as_str().expect("text")
    );
    let signature = STANDARD.decode(body["Signature"].as_str().expect("text")).expect("base64");
    let public = RsaPrivateKey::from_pkcs8_der(&key().0).expect("the key").to_public_key();
    public.verify(Pkcs1v15Sign::new::<Sha1>(), &Sha1::digest(text.as_bytes()), &signature).expect("it is signed");

    let raw = to(&format!("{Q}-raw"));
    assert_eq!((payload(raw), &raw.attributes["RawBody"]), (json!("hello"), &json!(true)));
    assert_eq!(raw.attributes["MessageAttributes"]["kind"], json!({"DataType": "String", "StringValue": "order"}));

    let record = payload(to(F))["Records"][0].clone();
    assert_eq!((&record["EventSource"], &record["EventSubscriptionArn"]), (&json!("aws:sns"), &json!(function)));
    assert_eq!((&record["Sns"]["Message"], &record["Sns"]["Signature"]), (&json!("hello"), &body["Signature"]));
    assert!(record["Sns"]["SigningCertUrl"].as_str().expect("a URL").ends_with(".pem"));
}

#[tokio::test]
async fn filters_and_structures() {
    let rig = Rig::new().await;
    rig.topic("t").await;
    rig.subscribe(T, "sqs", Q, json!({"FilterPolicy": "{\"kind\": [\"order\"]}"})).await;
    let of_body = json!({"FilterPolicy": "{\"kind\": [\"order\"]}", "FilterPolicyScope": "MessageBody"});
    rig.subscribe(T, "lambda", F, of_body).await;
    let targets = async |input: Value| {
        let mut all = json!({"TopicArn": T});
        all.as_object_mut().expect("one").extend(input.as_object().expect("one").clone());
        rig.ok("Publish", all).await;
        rig.settle().await.iter().map(|e| e.target.service.clone()).collect::<Vec<_>>()
    };
    let kind = |text: &str| json!({"kind": {"DataType": "String", "StringValue": text}});
    assert_eq!(targets(json!({"Message": "x", "MessageAttributes": kind("order")})).await, ["sqs"]);
    assert_eq!(targets(json!({"Message": "{\"kind\": \"order\"}"})).await, ["lambda"]);
    assert_eq!(targets(json!({"Message": "x", "MessageAttributes": kind("return")})).await, [""; 0]);

    rig.topic("u").await;
    let u = T.replace(":t", ":u");
    rig.subscribe(&u, "sqs", Q, json!({})).await;
    rig.subscribe(&u, "lambda", F, json!({})).await;
    let bodies = json!({"default": "d", "sqs": "q"}).to_string();
    rig.ok("Publish", json!({"TopicArn": u, "MessageStructure": "json", "Message": bodies})).await;
    let events = rig.settle().await;
    assert_eq!(payload(&events[0])["Records"][0]["Sns"]["Message"], "d");
    assert_eq!(payload(&events[1])["Message"], "q");
}

#[tokio::test]
async fn what_is_refused() {
    let rig = Rig::new().await;
    rig.topic("t").await;
    for (input, code, text) in [
        (json!({"TopicArn": T, "Message": ""}), "InvalidParameter", "Empty message"),
        (json!({"TopicArn": T, "Message": "x".repeat((256 << 10) + 1)}), "InvalidParameter", "Message too long"),
        (json!({"TopicArn": T, "Message": "x", "Subject": "a\nb"}), "InvalidParameter", "Subject"),
        (json!({"TopicArn": "t", "Message": "x"}), "InvalidParameter", "An ARN must have at least 6 elements, not 1"),
        (json!({"Message": "x"}), "InvalidParameter", "TopicArn or TargetArn Reason: no value"),
        (json!({"PhoneNumber": "+1", "Message": "x"}), "InvalidParameter", "PhoneNumber"),
        (json!({"TopicArn": T, "Message": "x", "MessageStructure": "xml"}), "InvalidParameter", "MessageStructure"),
        (
            json!({"TopicArn": T, "Message": "x", "MessageStructure": "json"}),
            "InvalidParameter",
            "Message Structure - JSON message body failed to parse",
        ),
        (
            json!({"TopicArn": T, "Message": "x", "MessageDeduplicationId": "d"}),
            "InvalidParameter",
            "MessageDeduplicationId parameter that is not valid for this topic type",
        ),
        (
            json!({"TopicArn": T, "Message": "x", "MessageAttributes": {"a": {"DataType": "Text", "StringValue": "b"}}}),
            "ParameterValueInvalid",
            "has an invalid message attribute type",
        ),
    ] {
        rig.refused("Publish", input, code, text).await;
    }
    assert!(rig.waiting().await.is_empty());
}

#[tokio::test]
async fn a_batch_fails_in_parts() {
    let rig = Rig::new().await;
    rig.topic("t").await;
    rig.subscribe(T, "sqs", Q, json!({})).await;
    let batch = |entries: Value| json!({"TopicArn": T, "PublishBatchRequestEntries": entries});
    let done = rig.ok("PublishBatch", batch(json!([{"Id": "a", "Message": "1"}, {"Id": "b", "Message": ""}]))).await;
    assert_eq!((&done["Successful"][0]["Id"], done["Successful"].as_array().map(Vec::len)), (&json!("a"), Some(1)));
    assert_eq!((&done["Failed"][0]["Id"], &done["Failed"][0]["Code"]), (&json!("b"), &json!("InvalidParameter")));
    assert_eq!(done["Failed"][0]["SenderFault"], true);
    assert_eq!(rig.settle().await.len(), 1);
    let many = |n: usize| (0..n).map(|n| json!({"Id": format!("{n}"), "Message": "x"})).collect::<Vec<_>>();
    rig.refused("PublishBatch", batch(json!([])), "EmptyBatchRequest", "").await;
    rig.refused("PublishBatch", batch(json!(many(11))), "TooManyEntriesInBatchRequest", "").await;
    let twice = json!([{"Id": "a", "Message": "1"}, {"Id": "a", "Message": "2"}]);
    rig.refused("PublishBatch", batch(twice), "BatchEntryIdsNotDistinct", "").await;
    rig.refused("PublishBatch", batch(json!([{"Id": "a b", "Message": "1"}])), "InvalidBatchEntryId", "").await;
    let large = "x".repeat(200 << 10);
    let long = json!([{"Id": "a", "Message": large}, {"Id": "b", "Message": large}]);
    rig.refused("PublishBatch", batch(long), "BatchRequestTooLong", "").await;
    assert!(rig.waiting().await.is_empty());
}

#[tokio::test]
async fn a_message_with_many_subscribers_goes_on_in_steps() {
    use base::Verdict;
    use base::port::Target as _;
    let rig = Rig::new().await;
    rig.topic("t").await;
    for n in 0..40 {
        rig.subscribe(T, "sqs", &format!("{Q}{n}"), json!({"RawMessageDelivery": "true"})).await;
    }
    rig.publish(&"x".repeat(256 << 10)).await;
    let (mut reached, mut steps) = (Vec::new(), 0);
    let mut events = rig.settle().await;
    while let Some(at) = events.iter().position(|e| e.target.to_string() == T) {
        let on = events.remove(at);
        reached.append(&mut events);
        steps += 1;
        match rig.topics.deliver(&on, 1).await {
            Verdict::Over { failure: None, then } => events = then,
            other => panic!("{other:?}"),
        }
    }
    reached.append(&mut events);
    let mut targets: Vec<String> = reached.iter().map(|e| e.target.to_string()).collect();
    targets.sort();
    targets.dedup();
    assert_eq!((reached.len(), targets.len(), steps), (40, 40, 2), "each once");
}

#[tokio::test]
async fn a_dead_letter_is_what_a_queue_would_have_got() {
    let rig = Rig::new().await;
    rig.topic("t").await;
    let dead = json!({"RedrivePolicy": json!({"deadLetterTargetArn": format!("{Q}-dead")}).to_string()});
    rig.subscribe(T, "lambda", F, dead).await;
    rig.publish("hello").await;
    let event = rig.settle().await.remove(0);
    assert_eq!(event.terms.dead_letter.as_ref().expect("one").to_string(), format!("{Q}-dead"));
    let letter = event.attributes["letter"]["body"].as_str().expect("a body");
    assert_eq!(serde_json::from_str::<Value>(letter).expect("JSON")["Message"], "hello");
}
