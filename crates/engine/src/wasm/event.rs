//! Events as HTTP requests, and responses as results.
//!
//! An event of API Gateway's HTTP APIs or of a function URL (payload format 2.0) is the request it tells of, and the
//! response is told in the same format. Any other event is the body of a `POST /`, and the body of a 2xx response is the
//! result; another status is the function's error.

use crate::failure::{Failure, document};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use sandbox::HttpBody;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Where a component believes it is asked, for an event that does not say.
const HOST_OF_EVENTS: &str = "lambda";
/// The content type of a streamed response that begins with a [`prelude`].
pub(crate) const INTEGRATION_TYPE: &str = "application/vnd.awslambda.http-integration-response";
/// What of a response's body is told in an error.
const TOLD_CHARS_MAX: usize = 1_000;

/// How the result is to be told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    /// In payload format 2.0.
    Gateway,
    /// As it is.
    Plain,
}

/// What is read of an event in payload format 2.0.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    raw_path: String,
    #[serde(default)]
    raw_query_string: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    cookies: Vec<String>,
    request_context: Context,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    http: About,
    domain_name: Option<String>,
}

#[derive(Deserialize)]
struct About {
    method: String,
}

/// The request that an event tells of, or is the body of.
pub(crate) fn request(payload: &Bytes) -> (Request<HttpBody>, Shape) {
    let gateway = serde_json::from_slice::<Event>(payload).ok().and_then(told);
    gateway.map_or_else(|| (posted(payload.clone()), Shape::Plain), |request| (request, Shape::Gateway))
}

fn posted(payload: Bytes) -> Request<HttpBody> {
    let mut request = Request::new(whole(payload));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = "/".parse().expect("a path");
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static(HOST_OF_EVENTS));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request
}

/// `None` where the parts do not make a request: then it is an event like any other.
fn told(event: Event) -> Option<Request<HttpBody>> {
    let body = match event.body {
        None => Bytes::new(),
        Some(text) if event.is_base64_encoded => STANDARD.decode(text).ok()?.into(),
        Some(text) => text.into(),
    };
    let query = if event.raw_query_string.is_empty() { "" } else { "?" };
    let uri = format!("{}{query}{}", event.raw_path, event.raw_query_string);
    let mut headers = HeaderMap::new();
    for (name, value) in &event.headers {
        headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    if !event.cookies.is_empty() {
        headers.insert(COOKIE, HeaderValue::from_str(&event.cookies.join("; ")).ok()?);
    }
    if !headers.contains_key(HOST) {
        let host = event.request_context.domain_name.as_deref().unwrap_or(HOST_OF_EVENTS);
        headers.insert(HOST, HeaderValue::from_str(host).ok()?);
    }
    headers.remove(CONTENT_LENGTH);
    let mut request = Request::new(whole(body));
    *request.method_mut() = event.request_context.http.method.parse().ok()?;
    *request.uri_mut() = uri.parse().ok().filter(|uri: &http::Uri| uri.path().starts_with('/'))?;
    *request.headers_mut() = headers;
    Some(request)
}

fn whole(bytes: Bytes) -> HttpBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// The result that a response is.
pub(crate) fn result(shape: Shape, parts: &Parts, body: Bytes) -> Result<Bytes, Failure> {
    match shape {
        Shape::Gateway => Ok(gateway(parts, &body).to_string().into()),
        Shape::Plain if parts.status.is_success() => Ok(body),
        Shape::Plain => Err(error(parts, &body)),
    }
}

fn gateway(parts: &Parts, body: &Bytes) -> Value {
    let text = std::str::from_utf8(body).ok().filter(|_| is_text(&parts.headers));
    let mut reply = head(parts);
    reply["body"] = text.map_or_else(|| STANDARD.encode(body), str::to_owned).into();
    reply["isBase64Encoded"] = text.is_none().into();
    reply
}

/// What a streamed response in payload format 2.0 begins with: its head as JSON, and eight zero bytes.
pub(crate) fn prelude(parts: &Parts) -> Bytes {
    let mut bytes = head(parts).to_string().into_bytes();
    bytes.extend([0; 8]);
    bytes.into()
}

fn head(parts: &Parts) -> Value {
    let mut headers = Map::new();
    let mut cookies = Vec::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        if *name == SET_COOKIE {
            cookies.push(Value::from(value));
            continue;
        }
        match headers.get_mut(name.as_str()) {
            Some(Value::String(joined)) => *joined = format!("{joined},{value}"),
            _ => drop(headers.insert(name.as_str().to_owned(), value.into())),
        }
    }
    let mut reply = json!({"statusCode": parts.status.as_u16(), "headers": headers});
    if !cookies.is_empty() {
        reply["cookies"] = cookies.into();
    }
    reply
}

/// A body that says nothing of its type is text if it looks like text.
fn is_text(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return true };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.starts_with("text/")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || matches!(kind.as_str(), "application/json" | "application/xml" | "application/javascript")
}

/// An error document of the component's own is passed on; of anything else one is made.
fn error(parts: &Parts, body: &Bytes) -> Failure {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Own {
        #[allow(dead_code, reason = "its presence makes the document one of an error")]
        error_message: String,
        error_type: Option<String>,
    }
    let status_type = format!("HttpStatus.{}", parts.status.as_u16());
    if let Ok(own) = serde_json::from_slice::<Own>(body) {
        return Failure::Reported { error_type: own.error_type.unwrap_or(status_type), body: body.clone() };
    }
    let told: String = String::from_utf8_lossy(body).chars().take(TOLD_CHARS_MAX).collect();
    let message = format!("The component answered with status {}: {told}", parts.status.as_u16());
    Failure::Reported { body: document(message.trim_end_matches([' ', ':']), &status_type), error_type: status_type }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(status: u16, headers: &[(&str, &str)]) -> Parts {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).expect("a response").into_parts().0
    }

    async fn read(payload: &Value) -> (Request<Bytes>, Shape) {
        let (request, shape) = request(&payload.to_string().into());
        let (parts, body) = request.into_parts();
        (Request::from_parts(parts, body.collect().await.expect("whole").to_bytes()), shape)
    }

    #[tokio::test]
    async fn a_gateways_event_is_the_request_it_tells_of() {
        let event = json!({
            "version": "2.0", "rawPath": "/a%20b", "rawQueryString": "x=1&x=2",
            "headers": {"content-type": "image/png", "x-n": "1,2", "content-length": "9"}, "cookies": ["a=1", "b=2"],
            "requestContext": {"http": {"method": "PUT", "path": "/a b"}, "domainName": "d.example"},
            "body": "AAEC", "isBase64Encoded": true,
        });
        let (request, shape) = read(&event).await;
        assert_eq!((request.method().as_str(), request.uri().to_string()), ("PUT", "/a%20b?x=1&x=2".to_owned()));
        let header = |name: &str| request.headers().get(name).map(|v| v.to_str().expect("text"));
        assert_eq!(header("host"), Some("d.example"));
        assert_eq!(header("cookie"), Some("a=1; b=2"));
        assert_eq!((header("x-n"), header("content-length")), (Some("1,2"), None));
        assert_eq!((&request.body()[..], shape), (&[0, 1, 2][..], Shape::Gateway));
    }

    #[tokio::test]
    async fn any_other_event_is_posted() {
        for event in [
            json!({"name": "Ada"}),
            json!("text"),
            json!({"rawPath": "/", "requestContext": {}}),
            json!({"rawPath": "no path", "requestContext": {"http": {"method": "GET"}}}),
            json!({"rawPath": "/", "requestContext": {"http": {"method": "G T"}}}),
        ] {
            let (request, shape) = read(&event).await;
            assert_eq!((request.method(), request.uri().path(), shape), (&Method::POST, "/", Shape::Plain), "{event}");
            assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
            assert_eq!(*request.body(), event.to_string());
        }
    }

    #[test]
    fn responses_are_told_in_the_events_format() {
        let parts = parts(201, &[("content-type", "text/plain"), ("x", "1"), ("x", "2"), ("set-cookie", "a=1")]);
        let told = result(Shape::Gateway, &parts, Bytes::from_static(b"hi")).expect("a result");
        let expect = json!({"statusCode": 201, "headers": {"content-type": "text/plain", "x": "1,2"},
            "cookies": ["a=1"], "body": "hi", "isBase64Encoded": false});
        assert_eq!(serde_json::from_slice::<Value>(&told).expect("JSON"), expect);
        let image = self::parts(500, &[("content-type", "image/png")]);
        let told = result(Shape::Gateway, &image, Bytes::from_static(b"\0\x01")).expect("a result");
        let told: Value = serde_json::from_slice(&told).expect("JSON");
        assert_eq!((&told["body"], &told["isBase64Encoded"]), (&json!("AAE="), &json!(true)));
    }

    #[test]
    fn a_status_that_is_no_success_is_an_error() {
        let fails = |status, body: &'static str| {
            let failure =
                result(Shape::Plain, &parts(status, &[]), Bytes::from_static(body.as_bytes())).expect_err("fails");
            let error = failure.error("r");
            (error.error_type, String::from_utf8(error.body.to_vec()).expect("text"))
        };
        assert_eq!(result(Shape::Plain, &parts(204, &[]), Bytes::new()), Ok(Bytes::new()));
        let made = r#"{"errorMessage":"The component answered with status 500: no","errorType":"HttpStatus.500"}"#;
        assert_eq!(fails(500, "no"), ("HttpStatus.500".to_owned(), made.to_owned()));
        let own = r#"{"errorType":"KeyError","errorMessage":"'a'"}"#;
        assert_eq!(fails(400, own), ("KeyError".to_owned(), own.to_owned()));
        assert_eq!(
            fails(404, "").1,
            r#"{"errorMessage":"The component answered with status 404","errorType":"HttpStatus.404"}"#
        );
    }
}
