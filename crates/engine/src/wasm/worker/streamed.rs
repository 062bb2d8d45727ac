//! A response that goes out as the component makes it: Lambda's streamed response, with its head in front where the event was
//! a request, and an error that comes later in the trailers.

use super::{Call, Worker};
use crate::failure::Failure;
use crate::runtime_api::streaming::{DEFAULT_TYPE, ERROR_BODY};
use crate::runtime_api::{ERROR_TYPE, RESPONSE_MODE};
use crate::wasm::event::{self, Shape};
use crate::wasm::exchange::{Exchange, Step};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, TRAILER};
use http::response::Parts;
use http::{HeaderMap, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use std::convert::Infallible;
use std::io;
use tokio::sync::mpsc;

/// Pieces on their way at once.
const PIECES_MAX: usize = 4;

type Pieces = mpsc::Sender<Result<Frame<Bytes>, Infallible>>;

pub(super) async fn answer(worker: &mut Worker, call: Call) -> io::Result<()> {
    let (mut exchange, shape) = worker.guest.ask(worker.run.clone(), &call.payload, call.context);
    let parts = match exchange.next().await {
        Step::Head(parts) if shape == Shape::Gateway || parts.status.is_success() => parts,
        Step::Head(parts) => {
            // An error is told whole.
            let (answer, _) = worker.guest.whole(exchange, shape, Some(parts)).await;
            return worker.post(&call.request_id, answer).await;
        }
        Step::Frame(_) => return Err(io::Error::other("a body came before its head")),
        Step::Over(end) => {
            let failed = end.failure(false, worker.guest.timed_out.clone());
            return worker.post(&call.request_id, failed.map_or(Ok(Bytes::new()), Err)).await;
        }
    };
    let (content_type, prelude) = match shape {
        Shape::Gateway => (HeaderValue::from_static(event::INTEGRATION_TYPE), Some(event::prelude(&parts))),
        Shape::Plain => (own_type(&parts), None),
    };
    let (pieces, mut taken) = mpsc::channel(PIECES_MAX);
    let body = StreamBody::new(futures::stream::poll_fn(move |cx| taken.poll_recv(cx)));
    let body = body.map_err(|never| match never {}).boxed_unsync();
    let responded = worker.api.respond_with(&call.request_id, headers(content_type), body);
    let carried = carry(exchange, pieces, prelude, (&call.request_id, worker.guest.timed_out.clone()));
    let (failure, responded) = tokio::join!(carried, responded);
    if let Some(line) = failure.and_then(|failure| failure.log_line(&call.request_id, worker.guest.clock.now())) {
        worker.said.end_line();
        sandbox::Output::write(worker.said.as_ref(), line.as_bytes());
    }
    responded
}

fn own_type(parts: &Parts) -> HeaderValue {
    parts.headers.get(CONTENT_TYPE).cloned().unwrap_or(HeaderValue::from_static(DEFAULT_TYPE))
}

fn headers(content_type: HeaderValue) -> HeaderMap {
    let trailers = format!("{ERROR_TYPE}, {ERROR_BODY}");
    let trailers = HeaderValue::from_str(&trailers).expect("names of headers");
    [
        (CONTENT_TYPE, content_type),
        (TRAILER, trailers),
        (header::TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
        (HeaderName::from_static(RESPONSE_MODE), HeaderValue::from_static("streaming")),
    ]
    .into_iter()
    .collect()
}

/// Hands on what the component writes, until its end or until nobody takes any more.
async fn carry(
    mut exchange: Exchange,
    pieces: Pieces,
    prelude: Option<Bytes>,
    (request_id, timed_out): (&str, Failure),
) -> Option<Failure> {
    let mut next = prelude.map(Frame::data);
    loop {
        if let Some(frame) = next.take()
            && !matches!(exchange.meanwhile(pieces.send(Ok(frame))).await, Some(Ok(())))
        {
            return None;
        }
        match exchange.next().await {
            // Trailers of the component's own have no place in Lambda's.
            Step::Frame(frame) if frame.is_data() => next = Some(frame),
            Step::Frame(_) | Step::Head(_) => {}
            Step::Over(end) => {
                let failure = end.failure(true, timed_out)?;
                let _ = pieces.send(Ok(Frame::trailers(trailers(&failure, request_id)))).await;
                return Some(failure);
            }
        }
    }
}

fn trailers(failure: &Failure, request_id: &str) -> HeaderMap {
    let error = failure.error(request_id);
    let pairs = [(ERROR_TYPE, error.error_type), (ERROR_BODY, STANDARD.encode(&error.body))];
    let value = |text: String| HeaderValue::from_str(&text).ok();
    pairs.into_iter().filter_map(|(name, text)| Some((HeaderName::from_static(name), value(text)?))).collect()
}
