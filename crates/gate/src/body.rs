//! Request bodies: paced, so that a client cannot hold a request open by sending next to nothing, and bounded.

use base::port::Clock;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use room::BodyError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// Each so many bytes buy the client a fresh [`crate::Config::body_stall_timeout`] of waiting.
const BYTES_PER_ALLOWANCE: usize = 64 << 10;
/// How much of a body that nobody wants is still read and dropped, so that the client gets to see the refusal instead
/// of a reset connection: more than any operation's bound.
const DRAIN_BYTES_MAX: usize = 96 << 20;

/// Why a body did not come whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyFailure {
    /// Sent too slowly.
    #[error("Your socket connection to the server was not read from or written to within the timeout period.")]
    TooSlow,
    /// Larger than what the operation takes, in bytes.
    #[error("the request body is larger than {max} bytes")]
    TooLarge { max: usize },
    /// The connection broke off, or the body's framing is wrong.
    #[error("the request body ended before it was complete: {0}")]
    Broken(#[source] BodyError),
}

/// A body that fails with [`BodyFailure::TooSlow`] when the client keeps us waiting. Only time spent waiting for the
/// client counts, never the time in which nobody asked for more.
pub struct Paced<B> {
    inner: B,
    clock: Arc<dyn Clock>,
    stall: Duration,
    allowance: Duration,
    received: usize,
    timer: Option<Pin<Box<Sleep>>>,
    waiting_since: Option<Duration>,
}

impl<B> Paced<B> {
    pub fn new(inner: B, clock: Arc<dyn Clock>, stall: Duration) -> Self {
        Self { inner, clock, stall, allowance: stall, received: 0, timer: None, waiting_since: None }
    }

    fn arrived(&mut self, bytes: usize) {
        if let Some(since) = self.waiting_since.take() {
            self.allowance = self.allowance.saturating_sub(self.clock.elapsed().saturating_sub(since));
            self.timer = None;
        }
        self.received += bytes;
        if self.received >= BYTES_PER_ALLOWANCE {
            self.received %= BYTES_PER_ALLOWANCE;
            self.allowance = self.stall;
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting_since.is_none() {
            self.waiting_since = Some(self.clock.elapsed());
            self.timer = Some(Box::pin(sleep(self.allowance)));
        }
        self.timer.as_mut().map_or(Poll::Ready(()), |timer| timer.as_mut().poll(cx))
    }
}

impl<B> Body for Paced<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.arrived(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(broken))) => Poll::Ready(Some(Err(BodyFailure::Broken(broken.into()).into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                ready!(self.wait(cx));
                Poll::Ready(Some(Err(BodyFailure::TooSlow.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The whole body, at most `max` bytes. One that arrives in a single piece is not copied.
pub async fn read<B>(mut body: B, max: usize) -> Result<Bytes, BodyFailure>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    let expected = body.size_hint().lower();
    if expected > max as u64 {
        drain(body).await;
        return Err(BodyFailure::TooLarge { max });
    }
    let mut received = 0;
    let mut first = None;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(failure)?.into_data() else { continue };
        received += data.len();
        if received > max {
            drain(body).await;
            return Err(BodyFailure::TooLarge { max });
        }
        if received == data.len() {
            first = Some(data);
            continue;
        }
        if let Some(first) = first.take() {
            whole.reserve(received.max(expected as usize));
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&data);
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

/// Reads a body and drops it.
pub async fn drain<B: Body<Data = Bytes, Error = BodyError> + Unpin>(mut body: B) {
    let mut dropped = 0;
    while let Some(Ok(frame)) = body.frame().await {
        dropped += frame.data_ref().map_or(0, Bytes::len);
        if dropped > DRAIN_BYTES_MAX {
            return;
        }
    }
}

fn failure(error: BodyError) -> BodyFailure {
    match error.downcast::<BodyFailure>() {
        Ok(failure) => *failure,
        Err(other) => BodyFailure::Broken(other),
    }
}
