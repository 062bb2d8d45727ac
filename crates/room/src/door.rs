//! Doors: services that speak HTTP themselves (S3, function URLs, the node's own pages).

use async_trait::async_trait;
use base::port::Identity;
use base::{Caller, Region, Scope};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

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

/// Why a body could not be had whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    #[error("The request body could not be read.")]
    Broken,
    #[error("The request is larger than {0} bytes.")]
    TooLarge(usize),
}

/// The whole body, if it has `max` bytes at most.
pub async fn gather(mut body: Body, max: usize) -> Result<Bytes, Unread> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if whole.len() + data.len() > max {
            return Err(Unread::TooLarge(max));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Who asks by HTTP's basic authentication, an access key for the user and its secret for the password; or by a bearer
/// token that is the same two in the same form, for clients that know nothing else.
pub async fn basic(identity: &dyn Identity, parts: &http::request::Parts, region: Region) -> Option<Caller> {
    let (scheme, pair) = parts.headers.get(http::header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !["basic", "bearer"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(pair.trim()).ok()?).ok()?;
    let (key, secret) = pair.split_once(':')?;
    let credential = identity.credential(key, None).await?;
    let fits = bool::from(credential.secret_key.as_bytes().ct_eq(secret.as_bytes()));
    let scope = Scope::new(credential.account, region);
    fits.then(|| Caller { scope, access_key: key.to_owned(), principal: credential.principal })
}

/// The answer to CloudEvents' abuse-protection handshake ("HTTP 1.1 Web Hooks for Event Delivery", 4), if the request is
/// one: whoever asks may send, as often as it likes, where it has the right to.
pub fn handshake(parts: &http::request::Parts) -> Option<http::Response<Body>> {
    let origin = parts.headers.get("webhook-request-origin").filter(|_| parts.method == http::Method::OPTIONS)?;
    let mut response = http::Response::new(empty());
    let headers = response.headers_mut();
    headers.insert(http::header::ALLOW, http::HeaderValue::from_static("POST, OPTIONS"));
    headers.insert("webhook-allowed-origin", origin.clone());
    headers.insert("webhook-allowed-rate", http::HeaderValue::from_static("*"));
    Some(response)
}
