//! Which room or door a request is for.

use crate::Gate;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use room::{Door, Head, Room};
use std::borrow::Cow;
use wire::Protocol;

/// Where a request goes.
pub enum Destination<'a> {
    Door(&'a dyn Door),
    Room(&'a dyn Room),
    /// Signed for a service that Wadi does not have.
    UnknownService(String),
    /// Unsigned, and nobody takes it.
    Nowhere,
}

impl Gate {
    /// First the doors that know their hosts, then the room the request is signed for, then the room that its target
    /// header or path means, then the doors in their order: the last of them takes what nobody else knows.
    pub(crate) fn destination(&self, head: Head<'_>) -> Destination<'_> {
        let host = without_port(head.host);
        if let Some(door) = self.doors.iter().find(|d| d.claims(host)) {
            return Destination::Door(door.as_ref());
        }
        let room = match head.signed_for {
            Some(service) => self.rooms.iter().find(|r| r.service().name == service).map(|r| &**r),
            None => self.meant(head.parts),
        };
        if let Some(room) = room {
            return Destination::Room(room);
        }
        match (self.doors.iter().find(|d| d.opens(head)), head.signed_for) {
            (Some(door), _) => Destination::Door(door.as_ref()),
            (None, Some(service)) => Destination::UnknownService(service.to_owned()),
            (None, None) => Destination::Nowhere,
        }
    }

    /// The room that a request means by its target header or its path, whatever it is signed for.
    pub(crate) fn meant(&self, parts: &Parts) -> Option<&dyn Room> {
        self.rooms.iter().find(|r| means(r.as_ref(), parts)).map(|r| &**r)
    }
}

/// Does a request mean this room, by its target header or its path?
fn means(room: &dyn Room, parts: &Parts) -> bool {
    let service = room.service();
    match (service.protocol, target(parts)) {
        (Protocol::RestJson, None) => {
            service.route(parts.method.as_str(), parts.uri.path(), parts.uri.query(), None).is_ok()
        }
        (Protocol::RestJson, Some(_)) | (_, None) => false,
        (_, Some(target)) => target.split_once('.').is_some_and(|(prefix, _)| service.target_prefix == Some(prefix)),
    }
}

/// The `X-Amz-Target` header: `Logs_20140328.CreateLogGroup`.
pub fn target(parts: &Parts) -> Option<&str> {
    parts.headers.get("x-amz-target")?.to_str().ok()
}

/// The service in the credential scope, `<key>/<date>/<region>/<service>/aws4_request`, of the `Authorization` header
/// or of a presigned query. Only read here, verified later.
pub fn signed_for(parts: &Parts) -> Option<Cow<'_, str>> {
    if let Some(authorization) = parts.headers.get(http::header::AUTHORIZATION) {
        let text = authorization.to_str().ok()?;
        let scope = text.strip_prefix("AWS4-")?.split_once("Credential=")?.1;
        let scope = scope.split([',', ' ']).next()?;
        return scope.rsplit('/').nth(1).map(Cow::Borrowed);
    }
    let query = parts.uri.query()?;
    let scope = query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Credential="))?;
    let scope = percent_decode_str(scope).decode_utf8().ok()?;
    scope.rsplit('/').nth(1).map(|service| Cow::Owned(service.to_owned()))
}

/// `Example.COM.:4566` → `example.com:4566`.
pub fn normal_host(host: &str) -> String {
    let (name, port) = split_port(host);
    let name = name.strip_suffix('.').unwrap_or(name);
    format!("{}{port}", name.to_ascii_lowercase())
}

fn without_port(host: &str) -> &str {
    split_port(host).0
}

/// Name, and port with its colon. An IPv6 address keeps its brackets.
fn split_port(host: &str) -> (&str, &str) {
    match host.rfind(':') {
        Some(at) if host[at + 1..].bytes().all(|b| b.is_ascii_digit()) && !host[..at].ends_with(':') => {
            host.split_at(at)
        }
        _ => (host, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let check = |host: &str, normal: &str, bare: &str| {
            assert_eq!(normal_host(host), normal);
            assert_eq!(without_port(&normal_host(host)), bare);
        };
        check("Photos.S3.LocalHost.:9000", "photos.s3.localhost:9000", "photos.s3.localhost");
        check("localhost", "localhost", "localhost");
        check("localhost.", "localhost", "localhost");
        check("127.0.0.1:4566", "127.0.0.1:4566", "127.0.0.1");
        check("[::1]:4566", "[::1]:4566", "[::1]");
        check("[::1]", "[::1]", "[::1]");
    }

    fn check_signed_for(uri: &str, authorization: Option<&str>, expect: Option<&str>) {
        let mut request = http::Request::get(uri);
        if let Some(text) = authorization {
            request = request.header("authorization", text);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        assert_eq!(signed_for(&parts).as_deref(), expect, "{uri} {authorization:?}");
    }

    #[test]
    fn services_signed_for() {
        let header = "AWS4-HMAC-SHA256 Credential=test/20261123/us-east-1/lambda/aws4_request, SignedHeaders=host";
        check_signed_for("/", Some(header), Some("lambda"));
        check_signed_for("/", Some("Bearer Credential=a/b/c/d/e"), None);
        check_signed_for("/", Some("AWS4-HMAC-SHA256 Credential=junk"), None);
        check_signed_for("/?a=b&X-Amz-Credential=k%2F20261123%2Fr%2Fs3%2Faws4_request", None, Some("s3"));
        check_signed_for("/?X-Amz-Credential=%FF", None, None);
        check_signed_for("/", None, None);
    }
}
