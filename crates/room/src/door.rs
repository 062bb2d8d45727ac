//! Doors: services that speak HTTP themselves (S3, function URLs, the node's own pages).

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use std::net::IpAddr;

/// Why a body broke off: the client went away, was too slow, or sent too much.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A streaming body, in either direction.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// What the gate knows of a request before anyone has read its body.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub parts: &'a http::request::Parts,
    /// The `Host` header (or `:authority`), port included.
    pub host: &'a str,
    /// The service in the credential scope of the signature, header or presigned, if there is one. Not yet verified.
    pub signed_for: Option<&'a str>,
}

/// A service that takes whole HTTP requests and verifies and authorises them itself.
#[async_trait]
pub trait Door: Send + Sync {
    /// Is the request meant for this door? Doors are asked in order; the first that says yes serves.
    fn opens(&self, head: Head<'_>) -> bool;
    /// Does the host alone (lower case, without port) say that the request is for this door, whatever it is signed for?
    /// Asked before any room: function URLs and virtual-host buckets say yes to theirs.
    fn claims(&self, _host: &str) -> bool {
        false
    }
    /// The service that requests to this door are signed for, if it is one with a signature: `s3`.
    fn service(&self) -> Option<&'static str> {
        None
    }
    async fn serve(&self, request: http::Request<Body>, request_id: &str, source_ip: IpAddr) -> http::Response<Body>;
}
