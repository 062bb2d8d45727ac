//! The request that an API destination gets. No IO.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Headers that are the connection's own: whoever sets them is not heard, as on AWS.
const OWN: [HeaderName; 10] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    header::RANGE,
    header::USER_AGENT,
];

/// What a connection adds to every request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    pub headers: Vec<Parameter>,
    pub query: Vec<Parameter>,
    pub body: Vec<Parameter>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    pub key: String,
    pub value: String,
    /// Never shown again.
    pub secret: bool,
}

/// What a rule's target adds to it: texts, or paths into the event (`$.detail.id`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetHttp {
    pub path: Vec<String>,
    pub headers: BTreeMap<String, String>,
    pub query: BTreeMap<String, String>,
}

impl TargetHttp {
    /// With what `read` makes of each value.
    pub fn filled(&self, read: impl Fn(&str) -> String) -> Self {
        let map = |from: &BTreeMap<String, String>| from.iter().map(|(k, v)| (k.clone(), read(v))).collect();
        Self { path: self.path.iter().map(|v| read(v)).collect(), headers: map(&self.headers), query: map(&self.query) }
    }
}

/// The endpoint, its wildcards filled in their order.
///
/// # Errors
/// There are more wildcards than values.
pub fn filled(endpoint: &str, values: &[String]) -> Result<String, String> {
    let wildcards = endpoint.matches('*').count();
    if wildcards > values.len() {
        return Err(format!("the endpoint has {wildcards} wildcards and the target {} values", values.len()));
    }
    let mut parts = endpoint.split('*');
    let mut url = parts.next().unwrap_or_default().to_owned();
    for (part, value) in parts.zip(values) {
        url.extend(utf8_percent_encode(value, RESERVED));
        url.push_str(part);
    }
    Ok(url)
}

/// The URL with more in its query.
pub fn with_query<'a>(url: &str, more: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let added = form(more);
    match (added.is_empty(), url.contains('?')) {
        (true, _) => url.to_owned(),
        (_, true) => format!("{url}&{added}"),
        (_, false) => format!("{url}?{added}"),
    }
}

/// `key=value&…`, percent-encoded.
pub fn form<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let encoded = |text| utf8_percent_encode(text, RESERVED).to_string();
    let fields = fields.into_iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value)));
    fields.collect::<Vec<_>>().join("&")
}

/// Sets headers, but those that are not for people to set or cannot be ones.
pub fn put_headers<'a>(headers: &mut HeaderMap, more: impl Iterator<Item = (&'a String, &'a String)>) {
    for (name, value) in more {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value.trim()))
            && !OWN.contains(&name)
        {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_filled_in_order_and_cannot_break_out() {
        let values = |given: &[&str]| given.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        let url = filled("https://a.test/x/*/y/*?z=1", &values(&["p q", "../../b?c=1#d"]));
        assert_eq!(url.as_deref(), Ok("https://a.test/x/p%20q/y/..%2F..%2Fb%3Fc%3D1%23d?z=1"));
        assert_eq!(filled("https://a.test/", &values(&["unused"])).as_deref(), Ok("https://a.test/"));
        assert!(filled("https://a.test/*", &[]).is_err());
    }

    #[test]
    fn queries_are_added_and_encoded() {
        assert_eq!(with_query("http://a/", []), "http://a/");
        assert_eq!(with_query("http://a/", [("k&", "v=é")]), "http://a/?k%26=v%3D%C3%A9");
        assert_eq!(with_query("http://a/?x=1", [("y", "2"), ("z", "")]), "http://a/?x=1&y=2&z=");
    }

    #[test]
    fn nobody_sets_the_connections_own_headers() {
        let mut headers = HeaderMap::new();
        let given = [("Host", "evil"), ("content-length", "0"), ("X-A", "1"), ("bad name", "x"), ("x-b", "a\r\nb")];
        let given = given.map(|(k, v)| (k.to_owned(), v.to_owned()));
        put_headers(&mut headers, given.iter().map(|(k, v)| (k, v)));
        assert_eq!((headers.len(), &headers["x-a"]), (1, &HeaderValue::from_static("1")));
    }
}
