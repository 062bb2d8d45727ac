//! What a function behind a URL streams, as an HTTP response: the client gets each piece when it is made.

use super::reply::{head, is_ours};
use crate::prelude::{self, INTEGRATION_TYPE};
use base::{Broken, Head, Streamed};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use room::{Body, BodyError};

/// The response once it has begun. `None` where it makes no sense or does not begin, which the client sees as a 502. Where
/// it breaks off later, its status is out: so is the connection broken off, and the client knows that it has not all.
pub async fn interpret(streamed: Streamed) -> Option<Response<Body>> {
    let Streamed { head: begun, mut chunks, .. } = streamed;
    let (mut response, default_type) = match begun? {
        Head::Http { status, headers } => (http(status, headers, body(Bytes::new(), chunks))?, None),
        Head::Payload { content_type: Some(given) } if is_integration(&given) => {
            let (prelude, first) = prelude::read(&mut chunks).await?;
            (head(&prelude, body(first, chunks))?, Some(HeaderValue::from_static("application/octet-stream")))
        }
        Head::Payload { content_type } => {
            let given = content_type.unwrap_or_else(|| "application/json".into());
            (Response::new(body(Bytes::new(), chunks)), Some(HeaderValue::try_from(given).ok()?))
        }
    };
    if let Some(default_type) = default_type {
        response.headers_mut().entry(CONTENT_TYPE).or_insert(default_type);
    }
    Some(response)
}

fn is_integration(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|t| t.trim().eq_ignore_ascii_case(INTEGRATION_TYPE))
}

fn http(status: u16, headers: Vec<(String, Bytes)>, body: Body) -> Option<Response<Body>> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name).ok()?;
        if !is_ours(&name) {
            response.headers_mut().append(name, HeaderValue::from_maybe_shared(value).ok()?);
        }
    }
    Some(response)
}

fn body(first: Bytes, chunks: BoxStream<'static, Result<Bytes, Broken>>) -> Body {
    let first = stream::iter((!first.is_empty()).then_some(Ok(first)));
    let frames =
        first.chain(chunks).map(|piece| piece.map(Frame::data).map_err(|broken| Box::new(broken) as BodyError));
    StreamBody::new(frames).boxed_unsync()
}
