//! The exchange with a guest that answers a request: it runs, its response comes out, its deadline holds.

use crate::failure::{Failure, document};
use crate::wasm::running;
use base::port::Clock;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Response;
use http::response::Parts;
use http_body::{Body, Frame};
use sandbox::{Ended, Fault, HttpBody};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

pub(crate) struct Exchange {
    guest: Option<BoxFuture<'static, Ended>>,
    deadline: BoxFuture<'static, ()>,
    head: Option<oneshot::Receiver<Response<HttpBody>>>,
    body: Option<HttpBody>,
    /// The guest gave its response up in the middle.
    truncated: bool,
    clock: Arc<dyn Clock>,
    end: Option<(Option<Ended>, Duration)>,
}

/// How the guest ended, and when.
pub(crate) struct End {
    /// `None`: it ran into its deadline.
    pub ended: Option<Ended>,
    pub truncated: bool,
    pub at: Duration,
}

/// What comes of it, in this order: at most one head, its frames, the end.
pub(crate) enum Step {
    Head(Parts),
    Frame(Frame<Bytes>),
    Over(End),
}

impl End {
    /// What went wrong, if anything did. `answered`: there has been a head.
    pub(crate) fn failure(self, answered: bool, timed_out: Failure) -> Option<Failure> {
        match self.ended {
            None => Some(timed_out),
            Some(Err(fault)) => Some(running::failure(fault)),
            Some(Ok(())) if !answered => Some(running::failure(Fault::Exit(0))),
            Some(Ok(())) if self.truncated => {
                let error_type = "Runtime.TruncatedResponse".to_owned();
                let body = document("The component gave its response up before its end", &error_type);
                Some(Failure::Reported { error_type, body })
            }
            Some(Ok(())) => None,
        }
    }
}

impl Exchange {
    pub(crate) fn new(
        guest: BoxFuture<'static, Ended>,
        head: oneshot::Receiver<Response<HttpBody>>,
        clock: Arc<dyn Clock>,
        limit: Duration,
    ) -> Self {
        let waiting = clock.clone();
        let deadline = async move { waiting.sleep(limit).await }.boxed();
        Self { guest: Some(guest), deadline, head: Some(head), body: None, truncated: false, clock, end: None }
    }

    /// Whether the guest is done; what is left of its response is then there to be taken without waiting.
    pub(crate) fn guest_is_done(&self) -> bool {
        self.guest.is_none()
    }

    pub(crate) async fn next(&mut self) -> Step {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Waits for something else meanwhile. `None` if the guest runs into its deadline before.
    pub(crate) async fn meanwhile<T>(&mut self, other: impl Future<Output = T>) -> Option<T> {
        let mut other = pin!(other);
        poll_fn(|cx| {
            if let Poll::Ready(value) = other.as_mut().poll(cx) {
                return Poll::Ready(Some(value));
            }
            self.drive(cx);
            if self.is_timed_out() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }

    fn is_timed_out(&self) -> bool {
        matches!(self.end, Some((None, _)))
    }

    /// Lets the guest run, until its deadline.
    fn drive(&mut self, cx: &mut Context<'_>) {
        let Some(guest) = &mut self.guest else { return };
        let ended = match guest.as_mut().poll(cx) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending if self.deadline.as_mut().poll(cx).is_ready() => {
                self.body = None;
                self.head = None;
                None
            }
            Poll::Pending => return,
        };
        self.guest = None;
        self.end = Some((ended, self.clock.elapsed()));
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        self.drive(cx);
        if let Some(head) = &mut self.head {
            match Pin::new(head).poll(cx) {
                Poll::Ready(Ok(response)) => {
                    let (parts, body) = response.into_parts();
                    (self.head, self.body) = (None, Some(body));
                    return Poll::Ready(Step::Head(parts));
                }
                Poll::Ready(Err(_)) => self.head = None,
                Poll::Pending => {}
            }
        }
        if let Some(body) = &mut self.body {
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Step::Frame(frame)),
                Poll::Ready(None) => self.body = None,
                Poll::Ready(Some(Err(_))) => (self.body, self.truncated) = (None, true),
                Poll::Pending => {}
            }
        }
        match &self.end {
            Some((ended, at)) if self.body.is_none() && self.head.is_none() => {
                Poll::Ready(Step::Over(End { ended: ended.clone(), truncated: self.truncated, at: *at }))
            }
            _ => Poll::Pending,
        }
    }
}
