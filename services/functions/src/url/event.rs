//! The event that a function behind a URL receives: payload format 2.0.

use base::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE};
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// One request to a function URL.
pub struct Request<'a> {
    pub parts: &'a Parts,
    pub body: &'a Bytes,
    /// Lower case, port included.
    pub host: &'a str,
    pub url_id: &'a str,
    pub request_id: &'a str,
    pub source_ip: IpAddr,
    pub now: Timestamp,
    /// Who signed it, where the URL asks for that.
    pub signer: Option<&'a Signer>,
}

pub struct Signer {
    pub access_key: String,
    pub account: String,
    pub principal: String,
}

/// The event, member by member as AWS documents it ("Invoking Lambda function URLs", request payload format).
pub fn payload(request: &Request<'_>) -> Value {
    let Request { parts, body, .. } = request;
    let query = parts.uri.query().unwrap_or("");
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": parts.uri.path(),
        "rawQueryString": query,
        "headers": headers(request),
        "requestContext": context(request),
        "isBase64Encoded": false,
    });
    let cookies = cookies(parts);
    if !cookies.is_empty() {
        event["cookies"] = cookies.into();
    }
    let parameters = query_parameters(query);
    if !parameters.is_empty() {
        event["queryStringParameters"] = json!(parameters);
    }
    if !body.is_empty() {
        match std::str::from_utf8(body) {
            Ok(text) if is_text(parts) => event["body"] = text.into(),
            _ => {
                event["body"] = STANDARD.encode(body).into();
                event["isBase64Encoded"] = true.into();
            }
        }
    }
    event
}

/// Headers of one connection between two neighbours, which mean nothing to the function.
const HOP_BY_HOP: [&str; 6] = ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

/// Lower-case names, values of the same name joined by commas; cookies have a member of their own.
fn headers(request: &Request<'_>) -> Map<String, Value> {
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    let passed_on = |name: &http::HeaderName| *name != COOKIE && !HOP_BY_HOP.contains(&name.as_str());
    for (name, value) in request.parts.headers.iter().filter(|(name, _)| passed_on(name)) {
        let value = String::from_utf8_lossy(value.as_bytes());
        joined
            .entry(name.as_str().to_owned())
            .and_modify(|v| {
                v.push(',');
                v.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    let port = request.host.rsplit_once(':').map_or("80", |(_, port)| port);
    joined.insert("host".into(), request.host.to_owned());
    joined.insert("x-forwarded-for".into(), request.source_ip.to_string());
    joined.insert("x-forwarded-port".into(), port.to_owned());
    joined.insert("x-forwarded-proto".into(), "http".into());
    joined.into_iter().map(|(name, value)| (name, value.into())).collect()
}

fn cookies(parts: &Parts) -> Vec<String> {
    let lines = parts.headers.get_all(COOKIE).iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|line| line.split(';')).map(|c| c.trim().to_owned()).filter(|c| !c.is_empty()).collect()
}

/// Decoded; values of the same name joined by commas.
fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value);
        out.entry(decode(name))
            .and_modify(|v| {
                v.push(',');
                v.push_str(&value);
            })
            .or_insert(value);
    }
    out
}

fn context(request: &Request<'_>) -> Value {
    let domain = request.host.rsplit_once(':').map_or(request.host, |(name, _)| name);
    let agent = request.parts.headers.get("user-agent").and_then(|v| v.to_str().ok()).unwrap_or("");
    let mut context = json!({
        "accountId": request.signer.map_or("anonymous", |s| s.account.as_str()),
        "apiId": request.url_id,
        "domainName": domain,
        "domainPrefix": request.url_id,
        "http": {
            "method": request.parts.method.as_str(),
            "path": request.parts.uri.path(),
            "protocol": format!("{:?}", request.parts.version),
            "sourceIp": request.source_ip.to_string(),
            "userAgent": agent,
        },
        "requestId": request.request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": clf(request.now),
        "timeEpoch": request.now.millis(),
    });
    if let Some(signer) = request.signer {
        let id = signer.principal.rsplit_once(['/', ':']).map_or(signer.principal.as_str(), |(_, last)| last);
        context["authorizer"] = json!({ "iam": {
            "accessKey": signer.access_key,
            "accountId": signer.account,
            "callerId": id,
            "cognitoIdentity": null,
            "principalOrgId": null,
            "userArn": signer.principal,
            "userId": id,
        }});
    }
    context
}

/// `12/Mar/2020:19:03:58 +0000`
fn clf(at: Timestamp) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day, hour, minute, second, _) = at.civil();
    format!("{day:02}/{}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000", MONTHS[month as usize - 1])
}

/// Bodies of these types travel as they are, all others in base64.
fn is_text(parts: &Parts) -> bool {
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    kind.starts_with("text/")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || matches!(kind.as_str(), "application/json" | "application/xml" | "application/javascript")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a valid request").into_parts().0
    }

    const ID: &str = "abcdefghijklmnopqrstuvwxyz234567";

    fn event(parts: &Parts, body: &'static [u8]) -> Value {
        payload(&Request {
            parts,
            body: &Bytes::from_static(body),
            host: "abcdefghijklmnopqrstuvwxyz234567.lambda-url.us-east-1.localhost:4566",
            url_id: ID,
            request_id: "6ffd6ab7-0001-4000-8000-000000000000",
            source_ip: "192.0.2.7".parse().expect("an address"),
            now: Timestamp(1_583_348_638_390),
            signer: None,
        })
    }

    #[test]
    fn golden() {
        let parts = parts(
            "POST",
            "/my/path%20x?parameter1=value1&parameter1=value2&parameter2=a+b%26",
            &[
                ("Host", "ignored"),
                ("Header1", "value1"),
                ("Header1", "value2"),
                ("Cookie", "cookie1=a; cookie2=b"),
                ("Content-Type", "application/json; charset=utf-8"),
                ("User-Agent", "agent"),
                ("Connection", "close"),
            ],
        );
        let domain = format!("{ID}.lambda-url.us-east-1.localhost");
        let expect = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/my/path%20x",
            "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=a+b%26",
            "cookies": ["cookie1=a", "cookie2=b"],
            "headers": {
                "content-type": "application/json; charset=utf-8",
                "header1": "value1,value2",
                "host": format!("{domain}:4566"),
                "user-agent": "agent",
                "x-forwarded-for": "192.0.2.7",
                "x-forwarded-port": "4566",
                "x-forwarded-proto": "http",
            },
            "queryStringParameters": {"parameter1": "value1,value2", "parameter2": "a b&"},
            "requestContext": {
                "accountId": "anonymous",
                "apiId": ID,
                "domainName": domain,
                "domainPrefix": ID,
                "http": {
                    "method": "POST",
                    "path": "/my/path%20x",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "192.0.2.7",
                    "userAgent": "agent",
                },
                "requestId": "6ffd6ab7-0001-4000-8000-000000000000",
                "routeKey": "$default",
                "stage": "$default",
                "time": "04/Mar/2020:19:03:58 +0000",
                "timeEpoch": 1_583_348_638_390_u64,
            },
            "body": "{\"a\":1}",
            "isBase64Encoded": false,
        });
        assert_eq!(event(&parts, b"{\"a\":1}"), expect);
    }

    #[test]
    fn other_bodies_are_base64() {
        let form = parts("POST", "/", &[("content-type", "application/x-www-form-urlencoded")]);
        let sent = event(&form, b"a=1");
        assert_eq!((&sent["body"], &sent["isBase64Encoded"]), (&json!("YT0x"), &json!(true)));
        let broken = event(&parts("POST", "/", &[("content-type", "text/plain")]), b"\xff");
        assert_eq!(broken["isBase64Encoded"], json!(true));
        let none = event(&parts("GET", "/", &[]), b"");
        assert!(none.get("body").is_none() && none.get("cookies").is_none());
        assert!(none.get("queryStringParameters").is_none());
    }
}
