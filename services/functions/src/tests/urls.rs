//! Function URLs and links to code, as a client meets them.

use super::rig::{Answer, Rig, zip};
use crate::UrlDoor;
use base::{InvokeError, Timestamp};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use room::{Body, Door, Head, empty, full};
use serde_json::{Value, json};
use wire::sigv4;

pub struct Url {
    pub rig: Rig,
    door: UrlDoor,
    host: String,
}

impl Url {
    async fn new(auth: &str, cors: Value) -> Self {
        let rig = Rig::new();
        rig.create("f").await;
        let mut input = json!({"FunctionName": "f", "AuthType": auth});
        if !cors.is_null() {
            input["Cors"] = cors;
        }
        let created = rig.ok("CreateFunctionUrlConfig", input).await;
        let url = created["FunctionUrl"].as_str().expect("text");
        let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        assert!(host.ends_with(".lambda-url.us-east-1.localhost:4566"), "{url}");
        Self { door: UrlDoor::new(rig.functions.clone()), rig, host }
    }

    pub async fn open_to_all(cors: Value) -> Self {
        let url = Self::new("NONE", cors).await;
        url.permit().await;
        url
    }

    async fn permit(&self) {
        let grant = json!({
            "FunctionName": "f", "StatementId": "public", "Action": "lambda:InvokeFunctionUrl", "Principal": "*",
            "FunctionUrlAuthType": "NONE",
        });
        self.rig.ok("AddPermission", grant).await;
    }

    pub fn get(&self, path: &str) -> Request<Body> {
        Request::get(path).header("host", &self.host).body(empty()).expect("valid")
    }

    pub async fn send(&self, request: Request<Body>) -> (u16, String) {
        read(self.serve(request).await).await
    }

    pub async fn serve(&self, request: Request<Body>) -> Response<Body> {
        self.door.serve(request, "r-1", [192, 0, 2, 7].into()).await
    }
}

async fn read(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("whole").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn only_with_permission() {
    let url = Url::new("NONE", Value::Null).await;
    assert_eq!(url.send(url.get("/")).await, (403, r#"{"Message":"Forbidden"}"#.into()));
    url.permit().await;
    assert_eq!(url.send(url.get("/x?a=1")).await.0, 200);
    let (call, _) = url.rig.runner.last_call();
    let event: Value = serde_json::from_slice(&call.payload).expect("JSON");
    assert_eq!(
        (&event["version"], &event["rawPath"], &event["rawQueryString"]),
        (&json!("2.0"), &json!("/x"), &json!("a=1"))
    );
    assert_eq!(event["requestContext"]["http"]["sourceIp"], "192.0.2.7");
}

#[tokio::test]
async fn replies_and_failures() {
    let url = Url::open_to_all(Value::Null).await;
    url.rig.runner.then([
        Answer::Reply(json!({"statusCode": 418, "body": "teapot", "headers": {"X-A": "b"}})),
        Answer::Reply(json!({"statusCode": "nonsense"})),
        Answer::Fails("KeyError"),
        Answer::Refuses(InvokeError::Throttled { reason: "x" }),
    ]);
    let response = url.serve(url.get("/")).await;
    assert_eq!(response.headers()["x-a"], "b");
    assert_eq!(response.headers()["x-amzn-requestid"], "r-1");
    assert_eq!(read(response).await, (418, "teapot".into()));
    let bad_gateway = (502, r#"{"Message":"Internal Server Error"}"#.to_owned());
    assert_eq!(url.send(url.get("/")).await, bad_gateway);
    assert_eq!(url.send(url.get("/")).await, bad_gateway);
    assert_eq!(url.send(url.get("/")).await.0, 429);
    let large = Request::post("/").header("host", &url.host).body(full(vec![b'x'; 7 << 20])).expect("valid");
    assert_eq!(url.send(large).await.0, 413);
    let stranger = Request::get("/").header("host", format!("{}.lambda-url.us-east-1.localhost", "a".repeat(32)));
    assert_eq!(url.send(stranger.body(empty()).expect("valid")).await.0, 404);
}

#[tokio::test]
async fn cors_is_answered_here() {
    let url = Url::open_to_all(json!({"AllowOrigins": ["https://a.test"], "AllowMethods": ["GET"]})).await;
    let preflight = Request::options("/").header("host", &url.host).header("origin", "https://a.test");
    let preflight = preflight.header("access-control-request-method", "GET").body(empty()).expect("valid");
    let response = url.serve(preflight).await;
    assert_eq!(response.headers()["access-control-allow-methods"], "GET");
    assert!(url.rig.runner.script.lock().calls.is_empty());
    let get = Request::get("/").header("host", &url.host).header("origin", "https://a.test");
    let response = url.serve(get.body(empty()).expect("valid")).await;
    assert_eq!(response.headers()["access-control-allow-origin"], "https://a.test");
}

fn signed(url: &Url, key: &str, secret: &str, now: Timestamp) -> Request<Body> {
    let (mut parts, ()) = Request::get("/").header("host", &url.host).body(()).expect("valid").into_parts();
    let keys = sigv4::Credentials { access_key: key, secret_key: secret, session_token: None };
    let signing = sigv4::Signing { region: "us-east-1", service: "lambda" };
    sigv4::sign(&mut parts, sigv4::Payload::Hash(&sigv4::hash(b"")), &keys, &signing, now);
    Request::from_parts(parts, empty())
}

#[tokio::test]
async fn signed_requests() {
    let url = Url::new("AWS_IAM", Value::Null).await;
    let now = super::rig::START;
    assert_eq!(url.send(url.get("/")).await, (403, r#"{"Message":"Forbidden"}"#.into()));
    assert_eq!(url.send(signed(&url, "test", "wrong", now)).await.0, 403);
    assert_eq!(url.send(signed(&url, "nobody", "test", now)).await.0, 403);
    assert_eq!(url.send(signed(&url, "guest", "test", now)).await.0, 403, "known, but not allowed");
    assert_eq!(url.send(signed(&url, "test", "test", Timestamp(now.millis() - 3_600_000))).await.0, 403, "too old");
    assert!(url.rig.runner.script.lock().calls.is_empty());
    assert_eq!(url.send(signed(&url, "test", "test", now)).await.0, 200);
    let (call, _) = url.rig.runner.last_call();
    let event: Value = serde_json::from_slice(&call.payload).expect("JSON");
    let iam = &event["requestContext"]["authorizer"]["iam"];
    assert_eq!((&iam["accessKey"], &iam["userArn"]), (&json!("test"), &json!("arn:aws:iam::000000000000:root")));
    assert_eq!(event["requestContext"]["accountId"], "000000000000");
}

#[tokio::test]
async fn configurations() {
    let url = Url::new("AWS_IAM", Value::Null).await;
    let again = json!({"FunctionName": "f", "AuthType": "NONE"});
    url.rig.refused("CreateFunctionUrlConfig", again, "ResourceConflictException", "FunctionUrlConfig exists").await;
    let stream = json!({"FunctionName": "f", "InvokeMode": "RESPONSE_STREAM"});
    assert_eq!(url.rig.ok("UpdateFunctionUrlConfig", stream).await["InvokeMode"], "RESPONSE_STREAM");
    assert_eq!(url.rig.ok("GetFunctionUrlConfig", json!({"FunctionName": "f"})).await["InvokeMode"], "RESPONSE_STREAM");
    let buffered = json!({"FunctionName": "f", "InvokeMode": "BUFFERED"});
    assert_eq!(url.rig.ok("UpdateFunctionUrlConfig", buffered).await["InvokeMode"], "BUFFERED");
    let updated = url.rig.ok("UpdateFunctionUrlConfig", json!({"FunctionName": "f", "AuthType": "NONE"})).await;
    assert_eq!((&updated["AuthType"], &updated["InvokeMode"]), (&json!("NONE"), &json!("BUFFERED")));
    let listed = url.rig.ok("ListFunctionUrlConfigs", json!({"FunctionName": "f"})).await;
    assert_eq!(listed["FunctionUrlConfigs"], json!([updated]));
    url.rig.ok("DeleteFunctionUrlConfig", json!({"FunctionName": "f"})).await;
    assert_eq!(url.send(url.get("/")).await.0, 404);
}

#[tokio::test]
async fn which_requests_are_for_this_door() {
    let url = Url::new("NONE", Value::Null).await;
    let opens = |host: &str, path: &str| {
        let (parts, ()) = Request::get(path).body(()).expect("valid").into_parts();
        url.door.opens(Head { parts: &parts, host, signed_for: None })
    };
    assert!(opens(&url.host, "/") && url.door.claims(&url.host));
    assert!(opens("localhost:4566", "/_wadi/code/x"));
    for host in ["localhost:4566", "bucket.s3.localhost", "short.lambda-url.us-east-1.localhost", ""] {
        assert!(!opens(host, "/"), "{host}");
    }
}

#[tokio::test]
async fn code_can_be_downloaded_for_ten_minutes() {
    let url = Url::new("NONE", Value::Null).await;
    let got = url.rig.ok("GetFunction", json!({"FunctionName": "f"})).await;
    let location = got["Code"]["Location"].as_str().expect("a link");
    let path = location.strip_prefix("http://127.0.0.1:4566").expect("our own host").to_owned();
    let get = |path: &str| Request::get(path).header("host", "127.0.0.1:4566").body(empty()).expect("valid");
    let response = url.serve(get(&path)).await;
    assert_eq!(response.headers()["content-type"], "application/zip");
    assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), Bytes::from(zip("1")));
    let mut forged = path.clone();
    forged.replace_range(path.len() - 1.., if path.ends_with('0') { "1" } else { "0" });
    assert_eq!(url.send(get(&forged)).await.0, 403);
    assert_eq!(url.send(get("/_wadi/code/x")).await.0, 403);
    url.rig.clock.advance(std::time::Duration::from_secs(601));
    assert_eq!(url.send(get(&path)).await.0, 403);
}
