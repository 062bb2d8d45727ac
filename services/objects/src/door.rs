//! The door: what the gate hands S3's requests to. It checks what `s3s` does not, lets `s3s` do the rest, and gives
//! errors the form S3's clients know.

use crate::framing::Reframed;
use crate::visit::{Facts, Visit};
use crate::{Objects, hosts, signature};
use async_trait::async_trait;
use base::Region;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use percent_encoding::percent_decode_str;
use room::{Body, BodyError, Door, Head};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::S3ServiceBuilder;
use s3s::{S3Error, S3ErrorCode};
use std::borrow::Cow;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

/// The largest XML body: a thousand keys of 1,024 bytes, escaped, fit.
const XML_BYTES_MAX: usize = 8 << 20;
/// The largest error body that is rewritten.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// S3's door. It opens for what is signed for `s3`, and for everything that is not signed at all: the gate asks it last.
pub fn door(objects: Arc<Objects>) -> impl Door {
    let mut limits = S3Config::default();
    limits.xml_max_body_size = XML_BYTES_MAX;
    S3Door { objects, limits: Arc::new(StaticConfigProvider::new(Arc::new(limits))) }
}

struct S3Door {
    objects: Arc<Objects>,
    limits: Arc<StaticConfigProvider>,
}

/// How much of a request's body has been taken. `s3s` calls it an internal error, without a message, when an XML body is
/// too long, ends early or is not what its hash says; this tells which.
struct Taken {
    bytes: Arc<AtomicU64>,
    announced: Option<u64>,
}

impl Taken {
    fn watch(request: Request<Body>) -> (Request<Body>, Self) {
        let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse().ok());
        let bytes = Arc::new(AtomicU64::new(0));
        let count = bytes.clone();
        let watched = request.map(|inner| Counted { inner, count }.boxed_unsync());
        (watched, Self { bytes, announced })
    }

    fn fault(&self) -> Option<&'static str> {
        match self.bytes.load(Ordering::Relaxed) {
            0 => None,
            bytes if bytes > XML_BYTES_MAX as u64 => Some("MaxMessageLengthExceeded"),
            bytes if self.announced.is_some_and(|a| a != bytes) => Some("IncompleteBody"),
            _ => Some("XAmzContentSHA256Mismatch"),
        }
    }
}

/// A body that counts what is taken of it. Its length stays known: `s3s` asks for it where no header says it.
struct Counted {
    inner: Body,
    count: Arc<AtomicU64>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|f| f.as_ref().ok()?.data_ref()) {
            self.count.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[async_trait]
impl Door for S3Door {
    fn opens(&self, head: Head<'_>) -> bool {
        // Headers of version 2 are nobody else's either, and are refused here in a way their clients understand.
        let other = |a: &HeaderValue| !a.as_bytes().starts_with(b"AWS ");
        match head.signed_for {
            Some(service) => service == "s3",
            None if hosts::is_s3(head.host, &self.objects.config.domains) => true,
            None => !head.parts.headers.get(header::AUTHORIZATION).is_some_and(other),
        }
    }

    async fn serve(&self, request: Request<Body>, request_id: &str, source_ip: IpAddr) -> Response<Body> {
        let (method, resource) = (request.method().clone(), request.uri().path().to_owned());
        let expects = request.version() == Version::HTTP_11 && request.headers().contains_key(header::EXPECT);
        let has_body = request.headers().get(header::CONTENT_LENGTH).is_none_or(|l| l != "0");
        let (mut request, taken) = Taken::watch(request);
        let reply = match self.facts(&mut request, request_id, source_ip) {
            Ok(facts) => self.pass_on(request, facts).await,
            Err(error) => written(error),
        };
        let mut reply = finish(reply, &method, &resource, request_id, &taken).await;
        // A final answer where the client expects `100 Continue` ends the connection, as on AWS. (botocore, answered so,
        // misreads the next answer on the same connection.)
        if expects && !(has_body && reply.status().is_success()) {
            reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }
}

impl S3Door {
    /// What `s3s` does not check, and what it is not told.
    fn facts(&self, request: &mut Request<Body>, request_id: &str, source_ip: IpAddr) -> Result<Facts, S3Error> {
        let claim = signature::read(request)?;
        let headers = request.headers();
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if *request.method() == Method::POST && content_type.starts_with("multipart/form-data") {
            return Err(refusal(
                "NotImplemented",
                "Wadi does not have the operation S3.PostObject (browser forms) yet.",
            ));
        }
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let region = claim.region.or_else(|| Region::parse("us-east-1"));
        Ok(Facts {
            request_id: request_id.to_owned(),
            source_ip,
            token: claim.token,
            region: region.ok_or_else(|| S3Error::new(S3ErrorCode::InternalError))?,
            expected_owner: text("x-amz-expected-bucket-owner"),
            trace: text("x-amzn-trace-id")
                .and_then(|text| Some(percent_decode_str(&text).decode_utf8().ok()?.into_owned()))
                .filter(|trace| trace.contains("Lineage=")),
        })
    }

    async fn pass_on(&self, request: Request<Body>, facts: Facts) -> Response<Body> {
        let visit = Visit::new(self.objects.clone(), facts);
        let mut builder = S3ServiceBuilder::new(visit.clone());
        builder.set_auth(visit.clone());
        builder.set_access(visit.clone());
        builder.set_host(visit);
        builder.set_config(self.limits.clone());
        match builder.build().call(reframed(request)).await {
            Ok(reply) => reply.map(BodyExt::boxed_unsync),
            Err(error) => {
                tracing::error!(?error, "a request could not be served");
                written(S3Error::new(S3ErrorCode::InternalError))
            }
        }
    }
}

/// Gives the request the body type of `s3s`, aws-chunked framing taken care of; see [`Reframed`].
fn reframed(request: Request<Body>) -> Request<s3s::Body> {
    let announced = request.headers().get("x-amz-content-sha256").map(|v| v.as_bytes().to_owned());
    request.map(|body| match announced.as_deref() {
        Some(b"STREAMING-UNSIGNED-PAYLOAD-TRAILER") => s3s::Body::http_body_unsync(Reframed::new(body, false)),
        Some(other) if other.starts_with(b"STREAMING-") => s3s::Body::http_body_unsync(Reframed::new(body, true)),
        _ => s3s::Body::http_body_unsync(body),
    })
}

fn refusal(code: &'static str, message: impl Into<Cow<'static, str>>) -> S3Error {
    crate::error::refused(code, message).into()
}

/// An error of the door's own as `s3s` writes it.
fn written(error: S3Error) -> Response<Body> {
    match error.to_http_response() {
        Ok(reply) => reply.map(BodyExt::boxed_unsync),
        Err(_) => {
            let mut reply = Response::new(room::empty());
            *reply.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            reply
        }
    }
}

/// Adds the headers every reply of S3 has, and rewrites errors: with a message always, the resource and the ids.
async fn finish(
    reply: Response<Body>,
    method: &Method,
    resource: &str,
    request_id: &str,
    taken: &Taken,
) -> Response<Body> {
    let failed = reply.status().is_client_error() || reply.status().is_server_error();
    let bodiless = *method == Method::HEAD || reply.status() == StatusCode::NOT_MODIFIED;
    let (mut parts, mut body) = reply.into_parts();
    if failed {
        let mut text = gathered(body).await;
        let silent = element(std::str::from_utf8(&text).unwrap_or_default(), "Message").is_none();
        if let (true, StatusCode::INTERNAL_SERVER_ERROR, Some(code)) = (silent, parts.status, taken.fault()) {
            parts.status = StatusCode::BAD_REQUEST;
            text = format!("<Code>{code}</Code>").into();
        }
        let xml = error_xml(&text, resource, request_id);
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        parts.headers.remove(header::CONTENT_LENGTH);
        body = room::full(xml);
    }
    if bodiless {
        if failed || parts.status == StatusCode::NOT_MODIFIED {
            parts.headers.remove(header::CONTENT_TYPE);
        }
        body = room::empty();
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        parts.headers.insert("x-amz-request-id", id.clone());
        parts.headers.insert("x-amz-id-2", id);
    }
    parts.headers.entry(header::SERVER).or_insert(HeaderValue::from_static("AmazonS3"));
    Response::from_parts(parts, body)
}

/// An error's body, which `s3s` has in memory already.
async fn gathered(mut body: Body) -> Bytes {
    let mut all = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        match frame.into_data() {
            Ok(data) if all.len() + data.len() <= ERROR_BYTES_MAX => all.extend_from_slice(&data),
            _ => break,
        }
    }
    all.freeze()
}

/// The text of an element of a small XML document, as it is written there (escaped).
fn element<'x>(xml: &'x str, name: &str) -> Option<&'x str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

fn error_xml(written: &Bytes, resource: &str, request_id: &str) -> String {
    let written = std::str::from_utf8(written).unwrap_or_default();
    let code = element(written, "Code").unwrap_or("InternalError");
    let message = element(written, "Message").unwrap_or_else(|| usual_message(code));
    let resource = resource.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
         <Resource>{resource}</Resource><RequestId>{request_id}</RequestId><HostId>{request_id}</HostId></Error>"
    )
}

/// S3's messages for the codes that `s3s` gives without one.
fn usual_message(code: &str) -> &'static str {
    match code {
        "AccessDenied" => "Access Denied",
        "IncompleteBody" => "You did not provide the number of bytes specified by the Content-Length HTTP header",
        "InvalidBucketName" => "The specified bucket is not valid.",
        "InvalidRange" => "The requested range is not satisfiable",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "KeyTooLongError" => "Your key is too long",
        "MalformedXML" => "The XML you provided was not well-formed or did not validate against our published schema",
        "MaxMessageLengthExceeded" => "Your request was too big.",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "MissingContentLength" => "You must provide the Content-Length HTTP header.",
        "MissingRequestBodyError" => "Request Body is empty",
        "NotImplemented" => "A header you provided implies functionality that is not implemented",
        "XAmzContentSHA256Mismatch" => "The provided 'x-amz-content-sha256' header does not match what was computed.",
        "RequestTimeTooSkewed" => "The difference between the request time and the current time is too large.",
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. Check your key and signing \
             method."
        }
        _ => "We encountered an internal error. Please try again.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_what_was_written() {
        let bytes = Bytes::from_static(b"<Error><Code>NoSuchKey</Code><Message>a &lt; b</Message></Error>");
        let xml = error_xml(&bytes, "/b/<k>", "id-1");
        assert!(
            xml.contains("<Message>a &lt; b</Message><Resource>/b/&lt;k&gt;</Resource><RequestId>id-1</RequestId>")
        );
        assert!(error_xml(&Bytes::new(), "/", "x").contains("<Code>InternalError</Code>"));
    }
}
