//! Endpoints: confirmed by their tokens, sent to with headers, tried again as their policy says.

use super::*;
use ::room::Door as _;
use base::Verdict;
use base::port::Target as _;
use http::Request;
use http_body_util::BodyExt as _;
use std::time::Duration;

/// Delivers what waits for endpoints, once.
async fn deliver(rig: &Rig) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for event in rig.settle().await {
        verdicts.push(rig.topics.deliver(&event, 1).await);
    }
    verdicts
}

/// What the door answers to a URL that a message has.
async fn visit(rig: &Rig, url: &str) -> (u16, String) {
    let request = Request::get(url).header("host", "127.0.0.1:4566").body(::room::empty()).expect("a request");
    let response = rig.door().serve(request, "r", [127, 0, 0, 1].into()).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("whole").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

/// The body of the one message that an endpoint was sent.
fn sent(rig: &Rig) -> (http::HeaderMap, Value) {
    let mut all = rig.courier.sent();
    assert_eq!(all.len(), 1);
    let (parts, body) = all.remove(0).into_parts();
    (parts.headers, serde_json::from_slice(&body).expect("JSON"))
}

async fn confirmed(rig: &Rig, attributes: Value) -> String {
    rig.topic("t").await;
    let arn = rig.subscribe(T, "http", URL, attributes).await;
    assert_eq!(deliver(rig).await, [Verdict::Done]);
    let (_, body) = sent(rig);
    let (status, text) = visit(rig, body["SubscribeURL"].as_str().expect("a URL")).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains(&format!("<SubscriptionArn>{arn}</SubscriptionArn>")), "{text}");
    arn
}

#[tokio::test]
async fn an_endpoint_confirms_and_is_sent_to() {
    let rig = Rig::new().await;
    rig.topic("t").await;
    let made = rig.ok("Subscribe", json!({"TopicArn": T, "Protocol": "http", "Endpoint": URL})).await;
    assert_eq!(made["SubscriptionArn"], "pending confirmation");
    let listed = rig.ok("ListSubscriptionsByTopic", json!({"TopicArn": T})).await;
    assert_eq!(listed["Subscriptions"][0]["SubscriptionArn"], "PendingConfirmation");
    deliver(&rig).await;
    let (headers, body) = sent(&rig);
    assert_eq!(headers["x-amz-sns-message-type"], "SubscriptionConfirmation");
    assert_eq!(headers["x-amz-sns-topic-arn"], T);
    assert_eq!((headers.get("x-amz-sns-subscription-arn"), &body["TopicArn"]), (None, &json!(T)));
    rig.publish("too early").await;
    assert!(rig.waiting().await.is_empty(), "it is not confirmed");

    let bad = json!({"TopicArn": T, "Token": "x"});
    rig.refused("ConfirmSubscription", bad, "InvalidParameter", "Invalid parameter: Token").await;
    let done = rig.ok("ConfirmSubscription", json!({"TopicArn": T, "Token": body["Token"]})).await;
    let arn = done["SubscriptionArn"].as_str().expect("an ARN");
    rig.publish("hello").await;
    assert_eq!(deliver(&rig).await, [Verdict::Done]);
    let (headers, body) = sent(&rig);
    assert_eq!(headers["x-amz-sns-message-type"], "Notification");
    assert_eq!(headers["x-amz-sns-subscription-arn"], arn);
    assert_eq!(headers["x-amz-sns-message-id"], body["MessageId"].as_str().expect("text"));
    assert_eq!(
        (&headers["content-type"], &body["Message"]),
        (&"text/plain; charset=UTF-8".parse().expect("one"), &json!("hello"))
    );
    let (status, pem) = visit(&rig, body["SigningCertURL"].as_str().expect("a URL")).await;
    assert_eq!((status, pem.as_str()), (200, key().1.as_str()));
    assert_eq!(visit(&rig, "http://127.0.0.1:4566/SimpleNotificationService-x.pem").await.0, 404);
}

#[tokio::test]
async fn raw_messages_and_content_types() {
    let rig = Rig::new().await;
    let policy = json!({"requestPolicy": {"headerContentType": "application/json"}}).to_string();
    confirmed(&rig, json!({"RawMessageDelivery": "true", "DeliveryPolicy": policy})).await;
    rig.publish("{\"a\": 1}").await;
    deliver(&rig).await;
    let (headers, body) = sent(&rig);
    assert_eq!(
        (&headers["x-amz-sns-rawdelivery"], &headers["content-type"]),
        (&"true".parse().expect("one"), &"application/json".parse().expect("one"))
    );
    assert_eq!(body, json!({"a": 1}));
}

#[tokio::test]
async fn answers_decide_whether_it_is_tried_again() {
    for (status, expect) in [(204, None), (404, Some(false)), (302, Some(false)), (429, Some(true)), (503, Some(true))]
    {
        let mut first = true;
        let rig = Rig::with(Pigeonhole::new(move |_| {
            let status = if std::mem::take(&mut first) { 200 } else { status };
            Ok(http::Response::builder().status(status).body(Bytes::new()).expect("a status"))
        }))
        .await;
        let policy = json!({"healthyRetryPolicy": {"minDelayTarget": 1, "maxDelayTarget": 5, "numRetries": 2}});
        confirmed(&rig, json!({"DeliveryPolicy": policy.to_string()})).await;
        rig.publish("x").await;
        let event = rig.waiting().await.remove(0);
        assert!(rig.topics.patient(&event.target) && !rig.topics.patient(&T.parse().expect("an ARN")));
        let mut delays = Vec::new();
        let last = loop {
            match rig.topics.deliver(&event, delays.len() as u32 + 1).await {
                Verdict::Retry { after, .. } => delays.push(after),
                verdict => break verdict,
            }
        };
        match expect {
            None => assert_eq!(last, Verdict::Done),
            Some(again) => {
                assert!(matches!(last, Verdict::Dead { .. }), "{status}: {last:?}");
                let expect: &[u64] = if again { &[1, 5] } else { &[] };
                assert_eq!(delays, expect.iter().map(|s| Duration::from_secs(*s)).collect::<Vec<_>>(), "{status}");
            }
        }
    }
}

#[tokio::test]
async fn who_has_the_url_may_unsubscribe_and_the_endpoint_may_take_it_back() {
    let rig = Rig::new().await;
    let arn = confirmed(&rig, json!({})).await;
    rig.publish("x").await;
    deliver(&rig).await;
    let (_, body) = sent(&rig);
    let (status, text) = visit(&rig, body["UnsubscribeURL"].as_str().expect("a URL")).await;
    assert_eq!(status, 200, "{text}");
    rig.refused("GetSubscriptionAttributes", json!({"SubscriptionArn": arn}), "NotFound", "").await;
    assert_eq!(deliver(&rig).await, [Verdict::Done]);
    let (headers, body) = sent(&rig);
    assert_eq!(headers["x-amz-sns-message-type"], "UnsubscribeConfirmation");
    assert_eq!(visit(&rig, body["SubscribeURL"].as_str().expect("a URL")).await.0, 200);
    rig.publish("back").await;
    assert_eq!(deliver(&rig).await, [Verdict::Done]);
}

#[tokio::test]
async fn a_guarded_subscription_ends_by_signature_only() {
    let rig = Rig::new().await;
    rig.topic("t").await;
    let arn = rig.subscribe(T, "http", URL, json!({})).await;
    deliver(&rig).await;
    let (_, body) = sent(&rig);
    let confirm = json!({"TopicArn": T, "Token": body["Token"], "AuthenticateOnUnsubscribe": "true"});
    rig.ok("ConfirmSubscription", confirm).await;
    let url = format!("http://127.0.0.1:4566/?Action=Unsubscribe&SubscriptionArn={arn}");
    let (status, text) = visit(&rig, &url).await;
    assert!(status == 403 && text.contains("<Code>AuthorizationError</Code>"), "{status} {text}");
    rig.ok("Unsubscribe", json!({"SubscriptionArn": arn})).await;
}

#[tokio::test]
async fn the_door_does_nothing_else() {
    let rig = Rig::new().await;
    rig.topic("t").await;
    for query in ["Action=DeleteTopic&TopicArn=x", "%41ction=DeleteTopic&TopicArn=x", "Action=Publish"] {
        let (status, text) = visit(&rig, &format!("http://h/?{query}")).await;
        assert_eq!(status, 403, "{text}");
    }
    let both = format!("http://h/?Action=Unsubscribe&Action=DeleteTopic&TopicArn={T}");
    assert_eq!(visit(&rig, &both).await.0, 400);
    rig.ok("GetTopicAttributes", json!({"TopicArn": T})).await;
}

#[tokio::test]
async fn a_token_runs_out() {
    use ::store::alarm::{Alarm, Ring as _};
    let rig = Rig::new().await;
    rig.topic("t").await;
    let arn = rig.subscribe(T, "http", URL, json!({})).await;
    let alarm = Alarm { due: START.plus(Duration::from_secs(3 * 24 * 3600)), id: arn.clone() };
    let rung = rig.store.transact(async |tx: Tx| rig.topics.ring(&tx, &alarm).await).await;
    rung.expect("memory");
    rig.refused("GetSubscriptionAttributes", json!({"SubscriptionArn": arn}), "NotFound", "").await;
    // One that was confirmed stays.
    let rig = Rig::new().await;
    let arn = confirmed(&rig, json!({})).await;
    let alarm = Alarm { id: arn.clone(), ..alarm };
    rig.store.transact(async |tx: Tx| rig.topics.ring(&tx, &alarm).await).await.expect("memory");
    rig.ok("GetSubscriptionAttributes", json!({"SubscriptionArn": arn})).await;
}
