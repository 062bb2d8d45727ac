//! Signing requests of our own clients.

use super::canonical::{self, PathStyle, encoded};
use super::{ALGORITHM, BodyHash, Scope, UNSIGNED_PAYLOAD, signature};
use crate::times;
use base::Timestamp;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderValue, Uri};
use std::time::Duration;

/// Whose signature.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    pub access_key: &'a str,
    pub secret_key: &'a str,
    pub session_token: Option<&'a str>,
}

/// For where and what.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    pub region: &'a str,
    /// The name in the credential scope. `s3` has its path signed as it is sent.
    pub service: &'a str,
}

/// What the signature says of the body.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    Hash(&'a BodyHash),
    /// S3 alone takes this: the body may be a stream.
    Unsigned,
}

impl Payload<'_> {
    fn text(self) -> String {
        match self {
            Self::Hash(hash) => hex::encode(hash),
            Self::Unsigned => UNSIGNED_PAYLOAD.into(),
        }
    }
}

/// Signs a request in its headers: adds `host` if it is missing, `x-amz-date`, `x-amz-security-token` if there is one, for
/// S3 `x-amz-content-sha256`, and `authorization`. Covers `host`, `content-type` and every `x-amz-*` header.
///
/// # Panics
/// If a key or token cannot stand in a header (it has line breaks).
pub fn sign(parts: &mut Parts, payload: Payload<'_>, keys: &Credentials<'_>, signing: &Signing<'_>, now: Timestamp) {
    let time = times::print_basic(now);
    let payload = payload.text();
    ensure_host(parts);
    parts.headers.insert("x-amz-date", value(&time));
    if let Some(token) = keys.session_token {
        parts.headers.insert("x-amz-security-token", value(token));
    }
    if signing.service == "s3" {
        parts.headers.insert("x-amz-content-sha256", value(&payload));
    }
    let names = parts.headers.keys().map(|n| n.as_str());
    let mut signed: Vec<&str> = names.filter(|n| *n == HOST || *n == CONTENT_TYPE || n.starts_with("x-amz-")).collect();
    signed.sort_unstable();
    let query = canonical::query(parts.uri.query().unwrap_or(""), "");
    let canonical = canonical::request(parts, PathStyle::of(signing.service), &query, &signed, &payload);
    let scope = Scope { date: &time[..8], region: signing.region, service: signing.service };
    let (signature, _) = signature(keys.secret_key, &scope, &time, &canonical);
    let authorization = format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={}",
        keys.access_key,
        scope_text(&scope),
        signed.join(";"),
        hex::encode(signature)
    );
    parts.headers.insert(AUTHORIZATION, value(&authorization));
}

/// Puts a signature good for `expires` (at most a week) into the query: a URL that anyone may use. Covers `host` alone; the
/// body is unsigned for S3 and empty for others.
///
/// # Panics
/// If the URI has no path, or it would be too long.
pub fn presign(parts: &mut Parts, keys: &Credentials<'_>, signing: &Signing<'_>, now: Timestamp, expires: Duration) {
    let time = times::print_basic(now);
    ensure_host(parts);
    let scope = Scope { date: &time[..8], region: signing.region, service: signing.service };
    let credential = format!("{}/{}", keys.access_key, scope_text(&scope));
    let mut query = parts.uri.query().map_or(String::new(), |q| format!("{q}&"));
    query += &format!(
        "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}&X-Amz-Date={time}&X-Amz-Expires={}&X-Amz-SignedHeaders=host",
        encoded(&credential),
        expires.as_secs()
    );
    if let Some(token) = keys.session_token {
        query += &format!("&X-Amz-Security-Token={}", encoded(token));
    }
    let payload = if signing.service == "s3" { UNSIGNED_PAYLOAD.into() } else { hex::encode(super::hash(b"")) };
    let style = PathStyle::of(signing.service);
    let canonical = canonical::request(parts, style, &canonical::query(&query, ""), &["host"], &payload);
    let (signature, _) = signature(keys.secret_key, &scope, &time, &canonical);
    query += &format!("&X-Amz-Signature={}", hex::encode(signature));
    let mut uri = parts.uri.clone().into_parts();
    let path = format!("{}?{query}", parts.uri.path());
    uri.path_and_query = Some(path.parse().expect("a path and an encoded query"));
    parts.uri = Uri::from_parts(uri).expect("the URI was one before its query changed");
}

fn scope_text(scope: &Scope<'_>) -> String {
    format!("{}/{}/{}/aws4_request", scope.date, scope.region, scope.service)
}

fn ensure_host(parts: &mut Parts) {
    if let (false, Some(authority)) = (parts.headers.contains_key(HOST), parts.uri.authority()) {
        let host = value(authority.as_str());
        parts.headers.insert(HOST, host);
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("keys, tokens and hosts have no line breaks")
}
