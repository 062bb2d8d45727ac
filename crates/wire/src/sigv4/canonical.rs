//! The canonical form of a request, which both sides hash.

use http::HeaderMap;
use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use std::borrow::Cow;
use std::fmt::Write;

/// What RFC 3986 calls reserved, and `%`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// How a service wants its path: S3 takes it as it is sent, all others normalise and encode it once more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PathStyle {
    AsSent,
    Encoded,
}

impl PathStyle {
    pub fn of(service: &str) -> Self {
        if service == "s3" { Self::AsSent } else { Self::Encoded }
    }
}

/// The canonical request. `signed` is sorted and in lower case; `payload` is the hash in hexadecimal or a word for it.
pub fn request(parts: &Parts, style: PathStyle, query: &str, signed: &[&str], payload: &str) -> String {
    let mut out = String::with_capacity(512);
    let _ = write!(out, "{}\n{}\n{query}\n", parts.method, path(parts.uri.path(), style));
    for name in signed {
        header(&mut out, &parts.headers, name);
    }
    let _ = write!(out, "\n{}\n{payload}", signed.join(";"));
    out
}

fn path(raw: &str, style: PathStyle) -> Cow<'_, str> {
    match style {
        PathStyle::AsSent if raw.is_empty() => "/".into(),
        PathStyle::AsSent => raw.into(),
        PathStyle::Encoded => percent_encode(normal(raw).as_bytes(), RESERVED_IN_PATH).to_string().into(),
    }
}

/// Without empty, `.` and `..` segments; a slash at the end stays.
fn normal(raw: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let end = if raw.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

/// The query's parameters, encoded strictly and sorted, but for those `leave_out` names.
pub fn query(raw: &str, leave_out: &str) -> String {
    let encode = |text: &str| {
        let bytes: Cow<'_, [u8]> = percent_decode_str(text).into();
        percent_encode(&bytes, RESERVED).to_string()
    };
    let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut pairs: Vec<(String, String)> =
        pairs.filter(|(name, _)| *name != leave_out).map(|(name, value)| (encode(name), encode(value))).collect();
    pairs.sort_unstable();
    let mut out = String::with_capacity(raw.len());
    for (i, (name, value)) in pairs.iter().enumerate() {
        let _ = write!(out, "{}{name}={value}", if i > 0 { "&" } else { "" });
    }
    out
}

/// `name:value` of all headers of that name, each trimmed and with inner runs of spaces made one, joined by commas.
fn header(out: &mut String, headers: &HeaderMap, name: &str) {
    out.push_str(name);
    out.push(':');
    for (i, value) in headers.get_all(name).iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        let text = String::from_utf8_lossy(value.as_bytes());
        for (j, word) in text.split_ascii_whitespace().enumerate() {
            if j > 0 {
                out.push(' ');
            }
            out.push_str(word);
        }
    }
    out.push('\n');
}

/// A value for a query, strictly encoded.
pub fn encoded(text: &str) -> String {
    percent_encode(text.as_bytes(), RESERVED).to_string()
}
