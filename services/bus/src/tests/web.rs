//! API destinations, connections and CloudEvents: what is sent, what is kept secret, what an answer means.

use super::*;
use base::port::SendError;
use http::{Request, Response};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn basic() -> Value {
    json!({"BasicAuthParameters": {"Username": "u", "Password": "hunter2"}})
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Result<Response<Bytes>, SendError> {
    let built = headers.iter().fold(Response::builder().status(status), |built, (k, v)| built.header(*k, *v));
    Ok(built.body(Bytes::from(body.to_owned())).expect("a response"))
}

impl Rig {
    fn web(courier: Arc<Pigeonhole>) -> Self {
        let store = Store::new(Arc::new(::store::memory::Memory::default()));
        Self::with(store, ManualClock::at(START), courier)
    }

    async fn connect(&self, kind: &str, auth: Value) -> String {
        let given = json!({"Name": "c", "AuthorizationType": kind, "AuthParameters": auth});
        self.ok("CreateConnection", given).await["ConnectionArn"].as_str().expect("an ARN").to_owned()
    }

    async fn destine(&self, connection: &str, more: Value) -> String {
        let mut given = json!({"Name": "d", "ConnectionArn": connection, "HttpMethod": "POST",
            "InvocationEndpoint": "https://a.test/hook"});
        given.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        self.ok("CreateApiDestination", given).await["ApiDestinationArn"].as_str().expect("an ARN").to_owned()
    }

    /// Sends an event through a rule with this target, and makes one attempt.
    async fn sent(&self, destination: &str, more: Value, detail: Value) -> Verdict {
        let mut target = json!({"Id": "1", "Arn": destination});
        target.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        self.rule("r", json!({"source": ["s"]}), json!([target])).await;
        self.put("s", detail).await;
        let event = self.waiting().await.pop().expect("matched");
        self.bus.deliver(&event, 1).await
    }
}

fn header<'a>(request: &'a Request<Bytes>, name: &str) -> &'a str {
    request.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

#[tokio::test]
async fn a_request_has_what_target_and_connection_say() {
    let courier = Arc::new(Pigeonhole::always(200));
    let rig = Rig::web(courier.clone());
    let mut auth = basic();
    auth["InvocationHttpParameters"] = json!({
        "HeaderParameters": [{"Key": "X-Both", "Value": "connection"}, {"Key": "Host", "Value": "evil"}],
        "QueryStringParameters": [{"Key": "q", "Value": "a b", "IsValueSecret": true}],
        "BodyParameters": [{"Key": "extra", "Value": "1"}],
    });
    let connection = rig.connect("BASIC", auth).await;
    let more = json!({"InvocationEndpoint": "https://a.test/x/*/y/*?z=1", "HttpMethod": "PUT"});
    let destination = rig.destine(&connection, more).await;
    let http = json!({"HttpParameters": {
        "PathParameterValues": ["$.detail.id", "../up"],
        "HeaderParameters": {"X-Both": "target", "X-Event": "$.detail-type"},
        "QueryStringParameters": {"n": "$.detail.n", "q": "target"},
    }});
    assert_eq!(rig.sent(&destination, http, json!({"id": "é/1", "n": 7})).await, Verdict::Done);
    let sent = courier.sent().pop().expect("sent");
    assert_eq!(sent.method(), "PUT");
    assert_eq!(sent.uri(), "https://a.test/x/%C3%A9%2F1/y/..%2Fup?z=1&n=7&q=a%20b");
    assert_eq!(header(&sent, "authorization"), "Basic dTpodW50ZXIy");
    assert_eq!((header(&sent, "x-both"), header(&sent, "x-event")), ("connection", "order"));
    assert_eq!((header(&sent, "host"), header(&sent, "user-agent")), ("", "Amazon/EventBridge/ApiDestinations"));
    assert_eq!(header(&sent, "content-type"), "application/json; charset=utf-8");
    let body: Value = serde_json::from_slice(sent.body()).expect("JSON");
    assert_eq!((&body["detail"]["n"], &body["extra"]), (&json!(7), &json!("1")));
    let shown = rig.ok("ListTargetsByRule", json!({"Rule": "r"})).await;
    assert_eq!(shown["Targets"][0]["HttpParameters"]["PathParameterValues"][1], "../up");
}

#[tokio::test]
async fn answers_are_judged_as_documented() {
    for (status, headers, verdict) in [
        (200, &[][..], "done"),
        (204, &[], "done"),
        (301, &[], "dead"),
        (400, &[], "dead"),
        (404, &[], "dead"),
        (401, &[], "retry 1"),
        (407, &[], "retry 1"),
        (409, &[], "retry 1"),
        (429, &[("retry-after", "120")][..], "retry 120"),
        (500, &[], "retry 1"),
        (503, &[("retry-after", "-1")], "dead"),
    ] {
        let rig = Rig::web(Arc::new(Pigeonhole::new(move |_| answer(status, headers, ""))));
        let connection = rig.connect("BASIC", basic()).await;
        let destination = rig.destine(&connection, json!({})).await;
        let said = match rig.sent(&destination, json!({}), json!({})).await {
            Verdict::Done => "done".to_owned(),
            Verdict::Dead { reason } => {
                assert!(reason.ends_with(&status.to_string()), "{reason}");
                "dead".to_owned()
            }
            Verdict::Retry { after, .. } => format!("retry {}", after.as_secs()),
            over => format!("{over:?}"),
        };
        assert_eq!(said, verdict, "{status}");
    }
    for (error, again) in [
        (SendError::Late(Duration::from_secs(5)), true),
        (SendError::Failed("refused".into()), true),
        (SendError::Forbidden("10.0.0.1:80".into()), false),
    ] {
        let told = error.clone();
        let rig = Rig::web(Arc::new(Pigeonhole::new(move |_| Err(told.clone()))));
        let connection = rig.connect("BASIC", basic()).await;
        let destination = rig.destine(&connection, json!({})).await;
        let verdict = rig.sent(&destination, json!({}), json!({})).await;
        assert_eq!(matches!(verdict, Verdict::Retry { .. }), again, "{error}: {verdict:?}");
    }
}

#[tokio::test]
async fn oauth_tokens_are_kept_and_asked_for_again_when_refused() {
    let (asked, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, stale) = (asked.clone(), refused.clone());
    let courier = Arc::new(Pigeonhole::new(move |request| match request.uri().path() {
        "/token" => {
            let n = count.fetch_add(1, Ordering::Relaxed);
            answer(200, &[], &json!({"access_token": format!("t{n}"), "expires_in": 100}).to_string())
        }
        _ if stale.load(Ordering::Relaxed) > 0 => {
            stale.fetch_sub(1, Ordering::Relaxed);
            answer(401, &[], "")
        }
        _ => answer(200, &[], ""),
    }));
    let store = Store::new(Arc::new(::store::memory::Memory::default()));
    let clock = ManualClock::at(START);
    let rig = Rig::with(store, clock.clone(), courier.clone());
    let oauth = json!({"OAuthParameters": {
        "ClientParameters": {"ClientID": "me", "ClientSecret": "s&cret"}, "HttpMethod": "POST",
        "AuthorizationEndpoint": "https://auth.test/token",
        "OAuthHttpParameters": {"BodyParameters": [{"Key": "audience", "Value": "x y"}]},
    }});
    let connection = rig.connect("OAUTH_CLIENT_CREDENTIALS", oauth).await;
    let request = courier.sent().pop().expect("asked at creation");
    assert_eq!(header(&request, "content-type"), "application/x-www-form-urlencoded");
    let form = "grant_type=client_credentials&client_id=me&client_secret=s%26cret&audience=x%20y";
    assert_eq!(request.body(), form);
    let destination = rig.destine(&connection, json!({"InvocationRateLimitPerSecond": 1_000_000})).await;
    let bearer = || header(&courier.sent().pop().expect("sent"), "authorization").to_owned();
    assert_eq!(rig.sent(&destination, json!({}), json!({})).await, Verdict::Done);
    assert_eq!(bearer(), "Bearer t1");
    let event = rig.waiting().await.pop().expect("waits");
    // Kept until shortly before it is over.
    clock.advance(Duration::from_secs(80));
    assert_eq!(rig.bus.deliver(&event, 1).await, Verdict::Done);
    assert_eq!(bearer(), "Bearer t1");
    clock.advance(Duration::from_secs(15));
    assert_eq!(rig.bus.deliver(&event, 1).await, Verdict::Done);
    assert_eq!(bearer(), "Bearer t2");
    // Refused, it is asked for again.
    refused.store(1, Ordering::Relaxed);
    clock.advance(Duration::from_secs(1));
    assert!(matches!(rig.bus.deliver(&event, 1).await, Verdict::Retry { .. }));
    clock.advance(Duration::from_secs(1));
    assert_eq!(rig.bus.deliver(&event, 2).await, Verdict::Done);
    assert_eq!((bearer().as_str(), asked.load(Ordering::Relaxed)), ("Bearer t3", 4));
}

#[tokio::test]
async fn secrets_are_neither_shown_nor_stored_in_the_clear() {
    let rig = Rig::new();
    let auth = json!({"ApiKeyAuthParameters": {"ApiKeyName": "x-key", "ApiKeyValue": "hunter2"},
        "InvocationHttpParameters": {"HeaderParameters": [
            {"Key": "a", "Value": "hunter3", "IsValueSecret": true}, {"Key": "b", "Value": "open"}]}});
    let arn = rig.connect("API_KEY", auth).await;
    let shown = rig.ok("DescribeConnection", json!({"Name": "c"})).await;
    let listed = rig.ok("ListConnections", json!({})).await;
    assert_eq!(listed["Connections"][0]["ConnectionState"], "AUTHORIZED");
    assert_eq!(shown["AuthParameters"]["ApiKeyAuthParameters"], json!({"ApiKeyName": "x-key"}));
    assert_eq!(shown["AuthParameters"]["InvocationHttpParameters"]["HeaderParameters"][1]["Value"], "open");
    let all = rig.store.scan(b"", &[0xff; 64], 1000).await.expect("memory");
    let stored: Vec<u8> = all.iter().flat_map(|item| item.value.to_vec()).collect();
    for place in [shown.to_string().into_bytes(), listed.to_string().into_bytes(), stored] {
        assert!(!place.windows(6).any(|part| part == b"hunter"), "a secret is there to be read");
    }

    // A new value alone keeps the rest; without secrets it sends nothing.
    let update = json!({"ApiKeyAuthParameters": {"ApiKeyValue": "hunter4"}});
    rig.ok("UpdateConnection", json!({"Name": "c", "AuthParameters": update})).await;
    let shown = rig.ok("DescribeConnection", json!({"Name": "c"})).await;
    assert_eq!(shown["AuthParameters"]["InvocationHttpParameters"]["HeaderParameters"][1]["Value"], "open");
    let destination = rig.destine(&arn, json!({})).await;
    rig.ok("DeauthorizeConnection", json!({"Name": "c"})).await;
    assert_eq!(rig.ok("DescribeApiDestination", json!({"Name": "d"})).await["ApiDestinationState"], "INACTIVE");
    assert!(matches!(rig.sent(&destination, json!({}), json!({})).await, Verdict::Retry { .. }));
    rig.ok("DeleteConnection", json!({"Name": "c"})).await;
    let event = rig.waiting().await.pop().expect("waits");
    assert!(matches!(rig.bus.deliver(&event, 1).await, Verdict::Dead { .. }));
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let rig = Rig::new();
    let create = |kind: &str, auth: Value| json!({"Name": "x", "AuthorizationType": kind, "AuthParameters": auth});
    rig.refused("CreateConnection", create("API_KEY", basic()), "ValidationException", "do not match").await;
    let arn = rig.connect("BASIC", basic()).await;
    let again = json!({"Name": "c", "AuthorizationType": "BASIC", "AuthParameters": basic()});
    rig.refused("CreateConnection", again, "ResourceAlreadyExistsException", "Connection c already exists.").await;
    for endpoint in ["ftp://a.test/", "https://*.a.test/", "https://u:p@a.test/", "a.test"] {
        let bad = json!({"Name": "d", "ConnectionArn": arn, "HttpMethod": "POST", "InvocationEndpoint": endpoint});
        rig.refused("CreateApiDestination", bad, "ValidationException", "InvocationEndpoint").await;
    }
    let other = arn.replace("connection/c/", "connection/no/");
    let bad =
        json!({"Name": "d", "ConnectionArn": other, "HttpMethod": "POST", "InvocationEndpoint": "https://a.test/"});
    rig.refused("CreateApiDestination", bad, "ResourceNotFoundException", "'no' does not exist").await;
    rig.ok("PutRule", json!({"Name": "r", "EventPattern": "{\"source\": [\"s\"]}"})).await;
    let target = json!({"Id": "1", "Arn": Q, "HttpParameters": {"PathParameterValues": ["x"]}});
    rig.refused("PutTargets", json!({"Rule": "r", "Targets": [target]}), "ValidationException", "HttpParameters").await;
}

fn cloudy(mode: &str) -> Value {
    let mut auth = basic();
    auth["InvocationHttpParameters"] = json!({"HeaderParameters": [{"Key": "Wadi-CloudEvents", "Value": mode}]});
    auth
}

#[tokio::test]
async fn cloud_events_are_sent_to_who_allows_it() {
    let denies = Rig::web(Arc::new(Pigeonhole::always(200)));
    let arn = denies.connect("BASIC", cloudy("structured")).await;
    let create =
        json!({"Name": "d", "ConnectionArn": arn, "HttpMethod": "POST", "InvocationEndpoint": "https://a.test/"});
    denies.refused("CreateApiDestination", create, "ValidationException", "WebHook-Allowed-Origin").await;
    let bad = json!({"Name": "x", "AuthorizationType": "BASIC", "AuthParameters": cloudy("loud")});
    denies.refused("CreateConnection", bad, "ValidationException", "structured or binary").await;

    for mode in ["structured", "binary"] {
        let allowed = &[("webhook-allowed-origin", "127.0.0.1"), ("webhook-allowed-rate", "600")];
        let courier = Arc::new(Pigeonhole::new(move |_| answer(200, allowed, "")));
        let rig = Rig::web(courier.clone());
        let arn = rig.connect("BASIC", cloudy(mode)).await;
        let destination = rig.destine(&arn, json!({})).await;
        let shaken = courier.sent().pop().expect("shaken");
        assert_eq!((shaken.method().as_str(), header(&shaken, "webhook-request-origin")), ("OPTIONS", "127.0.0.1"));
        assert_eq!(rig.sent(&destination, json!({}), json!({"n": 1})).await, Verdict::Done);
        let sent = courier.sent().pop().expect("sent");
        assert_eq!(header(&sent, "wadi-cloudevents"), "", "the option stays here");
        let told = match mode {
            "structured" => {
                assert_eq!(header(&sent, "content-type"), "application/cloudevents+json; charset=UTF-8");
                let whole: Value = serde_json::from_slice(sent.body()).expect("JSON");
                assert_eq!(whole["specversion"], "1.0");
                (whole["source"].clone(), whole["type"].clone(), whole["data"].clone())
            }
            _ => {
                assert_eq!(
                    (header(&sent, "ce-specversion"), header(&sent, "content-type")),
                    ("1.0", "application/json")
                );
                let data = serde_json::from_slice(sent.body()).expect("JSON");
                (header(&sent, "ce-source").into(), header(&sent, "ce-type").into(), data)
            }
        };
        assert_eq!(told, (json!("s"), json!("order"), json!({"n": 1})));
    }
}
