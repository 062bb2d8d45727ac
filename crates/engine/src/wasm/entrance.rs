//! The way of an HTTP request through a component: request and response pass as they come, nothing is made of them.

use crate::Routed;
use crate::admit::Ticket;
use crate::failure::Failure;
use crate::heart::Engine;
use crate::runner::{Entrance, Served};
use crate::wasm::Wasm;
use crate::wasm::exchange::{Exchange, Step};
use crate::wasm::loaded::Loaded;
use crate::wasm::running::Running;
use async_trait::async_trait;
use base::{FunctionRef, Invocation, InvokeError, Mode};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::response::Parts;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, StreamBody};
use sandbox::HttpBody;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// Pieces of a response on their way to a client at once.
const PIECES_MAX: usize = 4;
/// The largest response, as AWS has it for streamed ones.
const RESPONSE_BYTES_MAX: u64 = 200 << 20;

/// A component that answers HTTP requests, found for one request.
pub(crate) struct Http {
    pub engine: Arc<Engine>,
    pub wasm: Arc<Wasm>,
    pub routed: Routed,
    pub function: FunctionRef,
    pub loaded: Arc<Loaded>,
}

#[async_trait]
impl Entrance for Http {
    async fn serve(self: Box<Self>, request: Request<HttpBody>, request_id: &str) -> Result<Served, InvokeError> {
        let ticket = self.engine.admit(&self.routed)?;
        let place = self.wasm.place().await?;
        let running = Running::begin(self.loaded.clone(), request_id).await;
        let call = Invocation {
            function: self.function.clone(),
            request_id: request_id.to_owned(),
            payload: Bytes::new(),
            mode: Mode::Wait,
            client_context: None,
            trace_id: None,
        };
        let (answer, answered) = oneshot::channel();
        let engine = self.engine.clone();
        let run = carry(engine.clone(), running, request, call, answer, (ticket, place)).boxed();
        answer_of(run, answered, engine.runs()).await
    }
}

type Answer = Result<Served, InvokeError>;

/// Lets a run go on in the task that waits for its answer: most are over by then, which saves them a task of their own.
/// What is left when the answer is there, or nobody waits any more, goes on in one.
async fn answer_of(
    run: BoxFuture<'static, ()>,
    mut answered: oneshot::Receiver<Answer>,
    tasks: &TaskTracker,
) -> Answer {
    let mut rest = Rest { run: Some(run), tasks };
    let cut_off = || Err(InvokeError::Unavailable("the run was cut off".into()));
    poll_fn(|cx| {
        if let Some(run) = &mut rest.run
            && run.as_mut().poll(cx).is_ready()
        {
            rest.run = None;
        }
        Pin::new(&mut answered).poll(cx).map(|answer| answer.unwrap_or_else(|_| cut_off()))
    })
    .await
}

struct Rest<'a> {
    run: Option<BoxFuture<'static, ()>>,
    tasks: &'a TaskTracker,
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        if let (Some(run), Ok(runtime)) = (self.run.take(), tokio::runtime::Handle::try_current()) {
            self.tasks.spawn_on(run, &runtime);
        }
    }
}

/// One run from the request to its record.
async fn carry(
    engine: Arc<Engine>,
    running: Running,
    request: Request<HttpBody>,
    call: Invocation,
    answer: oneshot::Sender<Answer>,
    held: (Ticket, OwnedSemaphorePermit),
) {
    let received = Arc::<AtomicU64>::default();
    let request = request.map(|body| Counted { body, received: received.clone() }.boxed_unsync());
    let (head, answered) = oneshot::channel();
    let guest = running.loaded.component.serve(running.component_run(), request, head);
    let clock = running.loaded.forge.clock.clone();
    let mut exchange = Exchange::new(guest, answered, clock, running.limit());

    let mut response = Outgoing::Expected(answer);
    let mut sent = 0;
    let (failure, ended) = loop {
        match exchange.next().await {
            Step::Head(parts) if exchange.guest_is_done() => response.hold(parts),
            Step::Head(parts) => response.begin(parts),
            Step::Frame(frame) => {
                sent += frame.data_ref().map_or(0, Bytes::len) as u64;
                if sent > RESPONSE_BYTES_MAX {
                    break (Some(Failure::TooLarge), engine.clock().elapsed());
                }
                response.send(frame, &mut exchange).await;
            }
            Step::Over(end) => {
                let at = end.at;
                break (end.failure(response.has_head(), running.timed_out()), at);
            }
        }
    };
    drop((exchange, held));
    let error = failure.as_ref().map(|failure| failure.error(&call.request_id));
    let outcome = failure.map_or(Ok(Bytes::new()), Err);
    let run = running.finish(&call, outcome, ended).carried(received.load(Ordering::Relaxed), sent);
    engine.meter().record(run.usage()).await;
    match error {
        None => response.complete().await,
        Some(error) => response.fail(error).await,
    }
}

/// The response on its way out.
enum Outgoing {
    Expected(oneshot::Sender<Answer>),
    /// The guest was done when it came: it goes out whole, at the end.
    Held {
        answer: oneshot::Sender<Answer>,
        parts: Box<Parts>,
        data: Vec<Bytes>,
        trailers: Option<Frame<Bytes>>,
    },
    Streamed(mpsc::Sender<Result<Frame<Bytes>, Broken>>),
    /// The client has gone; the run goes on all the same.
    Unwanted,
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

impl Outgoing {
    fn has_head(&self) -> bool {
        !matches!(self, Self::Expected(_))
    }

    fn hold(&mut self, parts: Parts) {
        if let Self::Expected(answer) = std::mem::replace(self, Self::Unwanted) {
            *self = Self::Held { answer, parts: Box::new(parts), data: Vec::new(), trailers: None };
        }
    }

    fn begin(&mut self, parts: Parts) {
        if let Self::Expected(answer) = std::mem::replace(self, Self::Unwanted) {
            let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
            let body = StreamBody::new(futures::stream::poll_fn(move |cx| pieces.poll_recv(cx)));
            let response = Response::from_parts(parts, body.boxed_unsync());
            if answer.send(Ok(Ok(response))).is_ok() {
                *self = Self::Streamed(sender);
            }
        }
    }

    async fn send(&mut self, frame: Frame<Bytes>, exchange: &mut Exchange) {
        match self {
            Self::Held { data, trailers, .. } => match frame.into_data() {
                Ok(bytes) => data.push(bytes),
                Err(frame) => *trailers = Some(frame),
            },
            Self::Streamed(sender) => {
                let sent = exchange.meanwhile(sender.send(Ok(frame))).await;
                // Without an answer it is out of time, as the exchange says next.
                if matches!(sent, Some(Err(_))) {
                    *self = Self::Unwanted;
                }
            }
            Self::Expected(_) | Self::Unwanted => {}
        }
    }

    async fn complete(self) {
        if let Self::Held { answer, parts, data, trailers } = self {
            let body = match (&data[..], trailers) {
                (_, Some(trailers)) => {
                    let frames = data.into_iter().map(Frame::data).chain([trailers]).map(Ok);
                    StreamBody::new(futures::stream::iter(frames)).boxed_unsync()
                }
                ([one], None) => whole(one.clone()),
                (several, None) => {
                    let mut all = BytesMut::with_capacity(several.iter().map(Bytes::len).sum());
                    several.iter().for_each(|bytes| all.extend_from_slice(bytes));
                    whole(all.freeze())
                }
            };
            let _ = answer.send(Ok(Ok(Response::from_parts(*parts, body))));
        }
    }

    /// Before the head the client is told; after it the connection breaks, so that nobody takes a part for the whole.
    async fn fail(self, error: base::FunctionError) {
        match self {
            Self::Expected(answer) | Self::Held { answer, .. } => drop(answer.send(Ok(Err(error)))),
            Self::Streamed(sender) => {
                let why = std::io::Error::other(error.error_type);
                let _ = sender.send(Err(why.into())).await;
            }
            Self::Unwanted => {}
        }
    }
}

fn whole(bytes: Bytes) -> HttpBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A body that counts what passes.
struct Counted {
    body: HttpBody,
    received: Arc<AtomicU64>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = <HttpBody as Body>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.received.fetch_add(frame.data_ref().map_or(0, Bytes::len) as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
