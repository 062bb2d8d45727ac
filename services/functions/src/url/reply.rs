//! What a function behind a URL returned, as an HTTP response.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use room::{Body, full};
use serde_json::{Map, Value};

/// Headers that are the connection's business, not the function's.
const OURS: [&str; 5] = ["connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"];

/// Reads payload format 2.0. JSON without a `statusCode` is the body of a 200; `None` where the reply makes no sense,
/// which the client sees as a 502.
pub fn interpret(payload: &Bytes) -> Option<Response<Body>> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    match &value {
        Value::Object(reply) if reply.contains_key("statusCode") => structured(reply),
        _ => {
            let mut response = Response::new(full(payload.clone()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Some(response)
        }
    }
}

fn structured(reply: &Map<String, Value>) -> Option<Response<Body>> {
    let encoded = matches!(reply.get("isBase64Encoded"), Some(Value::Bool(true)));
    let body = match reply.get("body") {
        None | Some(Value::Null) => Bytes::new(),
        Some(Value::String(text)) if encoded => STANDARD.decode(text).ok()?.into(),
        Some(Value::String(text)) => Bytes::from(text.clone()),
        Some(_) => return None,
    };
    let mut response = head(reply, full(body))?;
    response.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    Some(response)
}

/// A response with this body and the `statusCode`, `headers` and `cookies` that the function gave; 200 without a code.
pub fn head(reply: &Map<String, Value>, body: Body) -> Option<Response<Body>> {
    let code = match reply.get("statusCode") {
        None => 200,
        Some(Value::Number(n)) => u16::try_from(n.as_u64()?).ok()?,
        Some(Value::String(text)) => text.parse().ok()?,
        Some(_) => return None,
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).ok().filter(|s| (200..600).contains(&s.as_u16()))?;
    let headers = response.headers_mut();
    match reply.get("headers") {
        None | Some(Value::Null) => {}
        Some(Value::Object(given)) => {
            for (name, value) in given {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                if !is_ours(&name) {
                    headers.append(name, HeaderValue::from_str(&text_of(value)?).ok()?);
                }
            }
        }
        Some(_) => return None,
    }
    match reply.get("cookies") {
        None | Some(Value::Null) => {}
        Some(Value::Array(cookies)) => {
            for cookie in cookies {
                headers.append(SET_COOKIE, HeaderValue::from_str(cookie.as_str()?).ok()?);
            }
        }
        Some(_) => return None,
    }
    Some(response)
}

/// Whether a header is the connection's business and not the function's.
pub fn is_ours(name: &HeaderName) -> bool {
    OURS.contains(&name.as_str())
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use serde_json::json;

    async fn read(payload: Value) -> Option<(u16, Vec<(String, String)>, Bytes)> {
        let response = interpret(&Bytes::from(payload.to_string()))?;
        let status = response.status().as_u16();
        let text = |v: &HeaderValue| v.to_str().expect("text").to_owned();
        let headers = response.headers().iter().map(|(k, v)| (k.to_string(), text(v))).collect();
        Some((status, headers, response.into_body().collect().await.expect("whole").to_bytes()))
    }

    #[tokio::test]
    async fn structured_replies() {
        let reply = json!({
            "statusCode": 201, "headers": {"Content-Type": "text/plain", "X-N": 1, "Content-Length": "9"},
            "cookies": ["a=1", "b=2; Secure"], "body": "aGk=", "isBase64Encoded": true,
        });
        let (status, mut headers, body) = read(reply).await.expect("valid");
        headers.sort();
        let expect =
            [("content-type", "text/plain"), ("set-cookie", "a=1"), ("set-cookie", "b=2; Secure"), ("x-n", "1")];
        assert_eq!((status, &body[..]), (201, &b"hi"[..]));
        assert_eq!(headers, expect.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[tokio::test]
    async fn anything_else_is_a_json_body() {
        for value in [json!("Hello"), json!({"message": "x"}), json!([1]), json!(null)] {
            let (status, headers, body) = read(value.clone()).await.expect("valid");
            assert_eq!((status, body), (200, Bytes::from(value.to_string())));
            assert_eq!(headers, [("content-type".to_owned(), "application/json".to_owned())]);
        }
    }

    #[tokio::test]
    async fn nonsense_is_a_bad_gateway() {
        for value in [
            json!({"statusCode": 42}),
            json!({"statusCode": "x"}),
            json!({"statusCode": 200, "body": {"a": 1}}),
            json!({"statusCode": 200, "body": "%%%", "isBase64Encoded": true}),
            json!({"statusCode": 200, "headers": {"bad name": "x"}}),
            json!({"statusCode": 200, "headers": {"x": "a\nb"}}),
            json!({"statusCode": 200, "cookies": "a=1"}),
        ] {
            assert!(interpret(&Bytes::from(value.to_string())).is_none(), "{value}");
        }
        assert!(interpret(&Bytes::from_static(b"{")).is_none());
    }

    proptest::proptest! {
        /// Whatever a function returns, the client gets an answer.
        #[test]
        fn any_reply_is_a_response_or_refused(
            code in ".{0,6}", name in ".{0,20}", value in ".{0,20}", raw in ".{0,60}",
        ) {
            let reply = json!({
                "statusCode": code.parse::<i64>().map_or(json!(code), |n| json!(n)),
                "headers": {name: value}, "cookies": [value], "body": raw, "isBase64Encoded": raw.len() % 2 == 0,
            });
            interpret(&Bytes::from(reply.to_string()));
            interpret(&Bytes::from(raw));
        }
    }
}
