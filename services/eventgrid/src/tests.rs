//! The room through its door: what is taken, who is asked, what is sent and how often.

use crate::store::{Space, State, Subscription};
use crate::{EventGrid, EventGridDoor, Parts};
use ::store::{Store, outbox};
use base::port::{Denied, SendError, Target, Targets};
use base::{Arn, Event, Source, Timestamp, Verdict};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use kit::{Keys, ManualClock, Pigeonhole, Seeded};
use room::Door;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const START: Timestamp = Timestamp(1_795_449_064_123);
const TOPIC: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/orders";

const PUBLISH: &str = "/_wadi/eventgrid/orders/api/events?api-version=2018-01-01";

/// One bus, `orders`.
struct Buses;

impl Targets for Buses {
    fn find(&self, target: &Arn) -> Option<&dyn Target> {
        (target.service == "events").then_some(self)
    }
}

#[async_trait::async_trait]
impl Target for Buses {
    async fn accepts(&self, target: &Arn, _: &Source) -> Result<(), Denied> {
        match target.resource.as_str() {
            "event-bus/orders" => Ok(()),
            other => Err(Denied(other.to_owned())),
        }
    }

    async fn deliver(&self, _: &Event, _: u32) -> Verdict {
        Verdict::Done
    }
}

struct Rig {
    grid: Arc<EventGrid>,
    door: EventGridDoor,
    store: Store,
    clock: Arc<ManualClock>,
    courier: Arc<Pigeonhole>,
}

/// Says the validation code again, and answers `status` to events.
fn willing(status: u16) -> Arc<Pigeonhole> {
    Arc::new(Pigeonhole::new(move |request| {
        let asked: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let code = &asked[0]["data"]["validationCode"];
        let (status, body) = match code.is_string() {
            true => (200, json!({"validationResponse": code}).to_string()),
            false => (status, String::new()),
        };
        answer(status, &[], &body)
    }))
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Result<Response<Bytes>, SendError> {
    let built = headers.iter().fold(Response::builder().status(status), |built, (k, v)| built.header(*k, *v));
    Ok(built.body(Bytes::from(body.to_owned())).expect("a response"))
}

impl Rig {
    fn new(courier: Arc<Pigeonhole>) -> Self {
        let store = Store::new(Arc::new(::store::memory::Memory::default()));
        let (clock, entropy) = (ManualClock::at(START), Arc::new(Seeded::new(1)));
        let grid = EventGrid::open(Parts {
            store: store.clone(),
            seal: Arc::new(::store::Seal::new(&[[7; 32]], entropy.clone())),
            clock: clock.clone(),
            entropy,
            courier: courier.clone(),
            identity: Arc::new(Keys::test()),
            targets: Arc::new(Buses),
        });
        Self { door: EventGridDoor(grid.clone()), grid, store, clock, courier }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("host", "wadi.test:4566");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let body = if body.is_null() { room::empty() } else { room::full(body.to_string()) };
        let response = self.door.serve(request.body(body).expect("a request"), "r", [127, 0, 0, 1].into()).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn manage(&self, method: &str, rest: &str, body: Value) -> (u16, Value) {
        // test:test
        self.ask(method, &format!("{TOPIC}{rest}"), &[("authorization", "Basic dGVzdDp0ZXN0")], body).await
    }

    /// Makes the topic, and says its first key.
    async fn topic(&self, schema: &str) -> String {
        let put = json!({"location": "westus2", "properties": {"inputSchema": schema}});
        let (status, made) = self.manage("PUT", "", put).await;
        assert_eq!((status, &made["properties"]["provisioningState"]), (201, &json!("Succeeded")), "{made}");
        assert_eq!(made["properties"]["endpoint"], "http://wadi.test:4566/_wadi/eventgrid/orders/api/events");
        self.manage("POST", "/listKeys", Value::Null).await.1["key1"].as_str().expect("a key").to_owned()
    }

    async fn subscribe(&self, name: &str, more: Value) -> (u16, Value) {
        let hook = json!({"endpointType": "WebHook", "properties": {"endpointUrl": "https://a.test/hook?secret=1"}});
        let mut properties = json!({"destination": hook});
        properties.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        self.manage("PUT", &format!("/eventSubscriptions/{name}"), json!({"properties": properties})).await
    }

    async fn publish(&self, key: &str, kind: &str, body: Value) -> (u16, Value) {
        self.ask("POST", PUBLISH, &[("aeg-sas-key", key), ("content-type", kind)], body).await
    }

    async fn waiting(&self) -> Vec<Event> {
        outbox::waiting(&self.store, None, 100).await.expect("memory").into_iter().map(|w| w.event).collect()
    }
}

fn event(id: &str, kind: &str) -> Value {
    json!({"id": id, "subject": "/orders/7", "eventType": kind, "eventTime": "2026-11-23T10:00:00.1234567Z",
        "data": {"total": 5}, "dataVersion": "1.0"})
}

fn header<'a>(request: &'a Request<Bytes>, name: &str) -> &'a str {
    request.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

#[tokio::test]
async fn events_go_to_the_bus_and_to_who_wants_them() {
    let rig = Rig::new(willing(200));
    let key = rig.topic("EventGridSchema").await;
    let (status, made) = rig.subscribe("all", json!({})).await;
    assert_eq!((status, &made["properties"]["provisioningState"]), (201, &json!("Succeeded")), "{made}");
    assert!(!made.to_string().contains("secret"), "the query of a webhook is not shown");
    assert_eq!(header(&rig.courier.sent()[0], "aeg-event-type"), "SubscriptionValidation");
    rig.subscribe("paid", json!({"filter": {"includedEventTypes": ["paid"]}})).await;
    rig.courier.sent();
    let (status, said) = rig.publish(&key, "application/json", json!([event("1", "placed"), event("2", "paid")])).await;
    assert_eq!((status, said), (200, Value::Null));
    let sent = rig.waiting().await;
    let targets: Vec<&str> = sent.iter().map(|e| e.target.resource.as_str()).collect();
    let count = |name: &str| targets.iter().filter(|t| **t == name).count();
    let counts = ["event-bus/orders", "subscription/orders/all", "subscription/orders/paid"].map(count);
    assert_eq!((counts, sent.len()), ([2, 2, 1], 5));
    assert!(sent.iter().all(|e| e.target.region == "us-east-1"), "an Azure location is no region");
    let told: Value =
        serde_json::from_str(sent.iter().find(|e| e.target.service == "events").expect("told").payload.get())
            .expect("JSON");
    assert_eq!((&told["detail"], &told["resources"]), (&json!({"total": 5}), &json!(["/orders/7"])));
    assert_eq!((&told["source"], &told["time"]), (&json!(TOPIC), &json!("2026-11-23T10:00:00Z")));

    let paid = sent.iter().find(|e| e.target.resource.ends_with("/paid")).expect("wanted");
    assert_eq!(rig.grid.deliver(paid, 1).await, Verdict::Done);
    let request = rig.courier.sent().pop().expect("sent");
    let body: Value = serde_json::from_slice(request.body()).expect("JSON");
    assert_eq!(
        (&body[0]["eventType"], &body[0]["topic"], &body[0]["metadataVersion"]),
        (&json!("paid"), &json!(TOPIC), &json!("1"))
    );
    assert_eq!((header(&request, "aeg-event-type"), header(&request, "aeg-delivery-count")), ("Notification", "0"));
    // Who has gone wants nothing more.
    rig.manage("DELETE", "/eventSubscriptions/paid", Value::Null).await;
    assert_eq!(rig.grid.deliver(paid, 1).await, Verdict::Done);
    assert!(rig.courier.sent().is_empty());
}

#[tokio::test]
async fn what_is_not_right_is_refused_whole() {
    let rig = Rig::new(willing(200));
    let key = rig.topic("EventGridSchema").await;
    let refused = async |key: &str, body: Value, status: u16, code: &str| {
        let (said, error) = rig.publish(key, "application/json", body.clone()).await;
        assert_eq!((said, &error["error"]["code"]), (status, &json!(code)), "{body}: {error}");
    };
    refused("wrong", json!([event("1", "t")]), 401, "Unauthorized").await;
    refused(&key, event("1", "t"), 400, "BadRequest").await;
    for (name, value) in [
        ("id", json!("")),
        ("eventTime", json!("now")),
        ("topic", json!("/other")),
        ("extra", json!(1)),
        ("eventType", json!(1)),
    ] {
        let mut bad = event("1", "t");
        bad[name] = value;
        refused(&key, json!([event("0", "t"), bad]), 400, "BadRequest").await;
    }
    let mut large = event("1", "t");
    large["data"] = "x".repeat(1 << 20).into();
    refused(&key, json!([large]), 413, "RequestEntityTooLarge").await;
    assert!(rig.waiting().await.is_empty());
    let (status, _) = rig.ask("POST", "/_wadi/eventgrid/orders/api/events", &[("aeg-sas-key", &key)], json!([])).await;
    assert_eq!(status, 400, "no api-version");
    let (status, _) = rig.ask("PUT", TOPIC, &[], json!({"location": "x"})).await;
    assert_eq!(status, 401);
    let filter = json!({"advancedFilters": [{"operatorType": "StringLike", "key": "subject", "values": ["a"]}]});
    let (status, said) = rig.subscribe("hook", json!({"filter": filter})).await;
    assert!(status == 400 && said.to_string().contains("StringLike"), "{said}");
    let (status, said) = rig.ask("POST", PUBLISH, &[("aeg-sas-token", "r=a&e=b&s=c")], json!([])).await;
    assert!(status == 401 && said.to_string().contains("SAS token"), "{said}");
    // The other key goes on working while one is made anew.
    let keys = rig.manage("POST", "/regenerateKey", json!({"keyName": "key1"})).await.1;
    refused(&key, json!([event("1", "t")]), 401, "Unauthorized").await;
    for key in ["key1", "key2"] {
        let (status, _) = rig.publish(keys[key].as_str().expect("a key"), "application/json", json!([])).await;
        assert_eq!(status, 200);
    }
}

#[tokio::test]
async fn cloud_events_are_taken_and_sent() {
    let courier = Arc::new(Pigeonhole::new(|_| answer(200, &[("webhook-allowed-origin", "eventgrid.azure.net")], "")));
    let rig = Rig::new(courier);
    let key = rig.topic("CloudEventSchemaV1_0").await;
    let (status, _) = rig.subscribe("grid", json!({"eventDeliverySchema": "EventGridSchema"})).await;
    assert_eq!(status, 400);
    assert_eq!(rig.subscribe("hook", json!({})).await.0, 201);
    assert_eq!(rig.courier.sent()[0].method(), "OPTIONS");
    let told = json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "paid", "data": [1], "ext": "x"});
    let batch = "application/cloudevents-batch+json; charset=utf-8";
    assert_eq!(rig.publish(&key, batch, json!([told])).await.0, 200);
    assert_eq!(rig.publish(&key, "application/json", json!([told])).await.0, 400);
    let sent = rig.waiting().await;
    let hook = sent.iter().find(|e| e.target.service == "eventgrid").expect("wanted");
    assert_eq!(rig.grid.deliver(hook, 3).await, Verdict::Done);
    let request = rig.courier.sent().pop().expect("sent");
    assert_eq!(serde_json::from_slice::<Value>(request.body()).expect("JSON"), told);
    assert_eq!(header(&request, "content-type"), "application/cloudevents+json; charset=utf-8");
    assert_eq!(header(&request, "aeg-delivery-count"), "2");
}

#[tokio::test]
async fn failures_are_tried_again_and_end_in_the_bucket() {
    let dead =
        json!({"deadLetterDestination": {"endpointType": "StorageBlob", "properties": {"blobContainerName": "dead"}}});
    for (status, attempt, age_s, expect) in [
        (500, 1, 0, "retry 10"),
        (404, 1, 0, "retry 300"),
        (503, 7, 0, "retry 3600"),
        (400, 1, 0, "UndeliverableEvent"),
        (413, 1, 0, "UndeliverableEvent"),
        (500, 30, 0, "MaxDeliveryAttemptsExceeded"),
        (500, 12, 20 * 3600, "TimeToLiveExceeded"),
    ] {
        let rig = Rig::new(willing(status));
        let key = rig.topic("EventGridSchema").await;
        rig.subscribe("hook", dead.clone()).await;
        rig.publish(&key, "application/json", json!([event("1", "t")])).await;
        let waiting = rig.waiting().await.into_iter().find(|e| e.target.service == "eventgrid").expect("wanted");
        rig.clock.advance(Duration::from_secs(age_s));
        match rig.grid.deliver(&waiting, attempt).await {
            Verdict::Retry { after, .. } => assert_eq!(format!("retry {}", after.as_secs()), expect, "{status}"),
            Verdict::Over { failure: Some(reason), then } => {
                assert!(reason.starts_with(expect), "{reason}");
                assert_eq!(then[0].target.to_string(), "arn:aws:s3:::dead");
                let key = then[0].attributes["Key"].as_str().expect("a key");
                assert!(key.starts_with("ORDERS/HOOK/2026/11/2") && key.ends_with(".json"), "{key}");
                let letter: Value = serde_json::from_str(then[0].payload.get()).expect("JSON");
                assert_eq!(
                    (&letter[0]["deadLetterReason"], &letter[0]["deliveryAttempts"]),
                    (&json!(expect), &json!(attempt))
                );
                assert_eq!((&letter[0]["id"], &letter[0]["data"]), (&json!("1"), &json!({"total": 5})));
            }
            other => panic!("{status}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_webhook_may_be_validated_by_hand_for_ten_minutes() {
    let rig = Rig::new(Arc::new(Pigeonhole::always(200)));
    let key = rig.topic("EventGridSchema").await;
    let (_, made) = rig.subscribe("hook", json!({})).await;
    assert_eq!(made["properties"]["provisioningState"], "AwaitingManualAction");
    let asked: Value = serde_json::from_slice(rig.courier.sent()[0].body()).expect("JSON");
    let url = asked[0]["data"]["validationUrl"].as_str().expect("a URL").to_owned();
    let path = url.strip_prefix("http://wadi.test:4566").expect("this node");
    rig.publish(&key, "application/json", json!([event("1", "t")])).await;
    let waiting = rig.waiting().await.into_iter().find(|e| e.target.service == "eventgrid").expect("wanted");
    assert!(matches!(rig.grid.deliver(&waiting, 1).await, Verdict::Retry { .. }));
    assert!(rig.courier.sent().is_empty(), "nothing is sent to who has not agreed");
    assert_eq!(rig.ask("GET", &path.replace("code=", "code=0"), &[], Value::Null).await.0, 404);
    assert_eq!(rig.ask("GET", path, &[], Value::Null).await.0, 200);
    assert_eq!(rig.grid.deliver(&waiting, 2).await, Verdict::Done);

    let (_, _) = rig.subscribe("late", json!({})).await;
    rig.clock.advance(Duration::from_secs(601));
    let shown = rig.manage("GET", "/eventSubscriptions/late", Value::Null).await.1;
    assert_eq!(shown["properties"]["provisioningState"], "Failed");
    let late: Subscription =
        rig.store.get(&Space::Subscription("orders", "late").key()).await.expect("memory").expect("there");
    assert!(matches!(late.state, State::Awaiting(_)));
    let path = format!("/_wadi/eventgrid/validate?topic=orders&subscription=late&code={}", late.code);
    assert_eq!(rig.ask("GET", &path, &[], Value::Null).await.0, 400);

    let refusing = Rig::new(Arc::new(Pigeonhole::always(500)));
    refusing.topic("EventGridSchema").await;
    let (status, said) = refusing.subscribe("hook", json!({})).await;
    assert!(status == 400 && said.to_string().contains("handshake failed"), "{said}");
    assert_eq!(refusing.manage("GET", "/eventSubscriptions/hook", Value::Null).await.0, 404);
}

#[tokio::test]
async fn filters_ask_for_what_is_in_events() {
    let rig = Rig::new(willing(200));
    let key = rig.topic("EventGridSchema").await;
    let of = |operator: &str, value: Value| {
        let filter = json!({"operatorType": operator, "key": "data.total", "value": value});
        json!({"filter": {"advancedFilters": [filter]}})
    };
    for (name, filter) in [("few", of("NumberLessThan", json!(5))), ("five", of("NumberGreaterThanOrEquals", json!(5)))]
    {
        let (status, made) = rig.subscribe(name, filter.clone()).await;
        assert_eq!(status, 201, "{made}");
        let shown = rig.manage("GET", &format!("/eventSubscriptions/{name}"), Value::Null).await.1;
        assert_eq!(shown["properties"]["filter"]["advancedFilters"], filter["filter"]["advancedFilters"]);
    }
    rig.publish(&key, "application/json", json!([event("1", "t")])).await;
    let sent = rig.waiting().await;
    let targets: Vec<&str> = sent.iter().map(|e| e.target.resource.as_str()).collect();
    assert!(
        targets.contains(&"subscription/orders/five") && !targets.contains(&"subscription/orders/few"),
        "{targets:?}"
    );
}

#[tokio::test]
async fn what_is_patched_changes_and_the_rest_stays() {
    let rig = Rig::new(willing(200));
    rig.topic("EventGridSchema").await;
    let (status, topic) = rig.manage("PATCH", "", json!({"tags": {"a": "1"}})).await;
    assert_eq!((status, &topic["tags"], &topic["location"]), (201, &json!({"a": "1"}), &json!("westus2")));
    let (status, said) = rig.manage("PATCH", "", json!({"sku": {}})).await;
    assert!(status == 400 && said.to_string().contains("sku"), "{said}");

    rig.subscribe("hook", json!({"labels": ["x"], "retryPolicy": {"maxDeliveryAttempts": 3}})).await;
    rig.courier.sent();
    let change = async |body: Value| rig.manage("PATCH", "/eventSubscriptions/hook", body).await;
    let (status, made) = change(json!({"filter": {"subjectBeginsWith": "/a"}, "labels": []})).await;
    let properties = &made["properties"];
    assert_eq!(
        (status, &properties["filter"]["subjectBeginsWith"], &properties["labels"]),
        (201, &json!("/a"), &json!([]))
    );
    assert_eq!(properties["retryPolicy"]["maxDeliveryAttempts"], 3);
    assert!(rig.courier.sent().is_empty(), "who is asked already is not asked again");
    let other =
        json!({"endpointType": "WebHook", "properties": {"endpointUrl": "https://b.test/", "maxEventsPerBatch": 1}});
    let (status, made) = change(json!({"destination": other})).await;
    assert_eq!(made["properties"]["destination"]["properties"]["endpointBaseUrl"], "https://b.test/");
    assert_eq!((status, rig.courier.sent().len()), (201, 1), "another webhook is asked");
    for (body, word) in [
        (json!({"properties": {}}), "properties"),
        (json!({"eventDeliverySchema": "CustomInputSchema"}), "CustomInputSchema"),
        (json!({"retryPolicy": {"maxDeliveryAttempts": 31}}), "maxDeliveryAttempts"),
        (json!({"destination": {"endpointType": "WebHook", "properties": {"endpointUrl": "ftp://a"}}}), "endpointUrl"),
        (
            json!({"destination": {"endpointType": "WebHook", "properties": {"endpointUrl": "https://a.test", "maxEventsPerBatch": 2}}}),
            "batching",
        ),
    ] {
        let (status, said) = change(body).await;
        assert!(status == 400 && said.to_string().contains(word), "{said}");
    }
    assert_eq!(rig.manage("PATCH", "/eventSubscriptions/none", json!({})).await.0, 404);
}

#[tokio::test]
async fn topics_are_listed_by_where_they_lie() {
    let rig = Rig::new(willing(200));
    let key = &[("authorization", "Basic dGVzdDp0ZXN0")];
    for (group, name) in [("g", "one"), ("g", "two"), ("gg", "three")] {
        let path = format!("/subscriptions/s/resourceGroups/{group}/providers/Microsoft.EventGrid/topics/{name}");
        assert_eq!(rig.ask("PUT", &path, key, json!({"location": "westus2"})).await.0, 201);
    }
    let list = async |place: &str, query: &str| {
        let path = format!("{place}/providers/Microsoft.EventGrid/topics?api-version=2022-06-15{query}");
        let (status, said) = rig.ask("GET", &path, key, Value::Null).await;
        let names = said["value"].as_array().cloned().unwrap_or_default();
        (status, names.iter().map(|topic| topic["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(list("/subscriptions/s/resourceGroups/G", "").await, (200, vec!["one".to_owned(), "two".to_owned()]));
    assert_eq!(list("/subscriptions/s", "").await.1.len(), 3);
    assert_eq!(list("/subscriptions/other", "").await, (200, vec![]));
    assert_eq!(list("/subscriptions/s", "&$filter=x").await.0, 400);
}
