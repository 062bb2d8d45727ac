//! A response that comes in pieces: how it begins ([`Head`]), its bytes, and what came of the run that made them.

use crate::{InvokeError, Outcome};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};

/// How a response begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// Bytes whose meaning is between the function and its caller. The `Content-Type` is what a streaming runtime gave;
    /// `None` for an answer that came whole, which is JSON.
    Payload { content_type: Option<String> },
    /// An HTTP response, by a function that speaks HTTP itself. Names are in lower case.
    Http { status: u16, headers: Vec<(String, Bytes)> },
}

/// The response ended before it was whole; the outcome says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the function failed in the middle of its response")]
pub struct Broken;

/// A run whose response has begun, or that ended without one. Nothing of it is held whole: who reads slowly makes the
/// function wait. The run goes on, and is metered, if this is dropped; what it still writes is discarded then.
pub struct Streamed {
    /// As in [`Outcome`].
    pub executed_version: String,
    /// `None` where the run ended before its response began: there are no chunks, and the outcome says why.
    pub head: Option<Head>,
    /// Ends when the response is whole, or with [`Broken`].
    pub chunks: BoxStream<'static, Result<Bytes, Broken>>,
    /// Await it after the last chunk: a function may go on when its response is whole. A result that is `Ok` is empty: its
    /// bytes were the chunks. A function's error may come after some of them.
    pub outcome: BoxFuture<'static, Result<Outcome, InvokeError>>,
}

impl Streamed {
    /// A run that has ended already: its answer is one chunk.
    pub fn whole(mut outcome: Outcome) -> Self {
        let body = outcome.result.as_mut().ok().map(std::mem::take);
        let head = body.is_some().then_some(Head::Payload { content_type: None });
        Self {
            executed_version: outcome.executed_version.clone(),
            head,
            chunks: stream::iter(body.filter(|bytes| !bytes.is_empty()).map(Ok)).boxed(),
            outcome: Box::pin(std::future::ready(Ok(outcome))),
        }
    }
}
