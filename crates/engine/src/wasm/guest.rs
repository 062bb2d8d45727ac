//! One event through a component, in whatever process: to a request and back, or through standard input and output.

use crate::failure::{Failure, RESPONSE_BYTES_MAX};
use crate::session::Answer;
use crate::wasm::event::{self, Shape};
use crate::wasm::exchange::{Exchange, Step};
use crate::wasm::running::failure;
use base::port::Clock;
use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderName, HeaderValue};
use sandbox::{Component, ComponentRun, World};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// What the Runtime API tells with a call, under its names.
pub(crate) type Context = Vec<(HeaderName, String)>;

/// A component with what its runs are held to.
pub(crate) struct Guest {
    pub component: Arc<dyn Component>,
    pub clock: Arc<dyn Clock>,
    pub limit: Duration,
    /// What a run over the limit fails with.
    pub timed_out: Failure,
}

impl Guest {
    /// Runs it for one event; says when it was done.
    pub(crate) async fn answer(&self, run: ComponentRun, payload: &Bytes, context: Context) -> (Answer, Duration) {
        match self.component.world() {
            World::Http => {
                let (exchange, shape) = self.ask(run, payload, context);
                self.whole(exchange, shape, None).await
            }
            World::Command => self.command(run, payload, context).await,
        }
    }

    /// The payload on standard input; what it writes to standard output is the response.
    async fn command(&self, mut run: ComponentRun, payload: &Bytes, context: Context) -> (Answer, Duration) {
        let variable = |name: HeaderName| name.as_str().to_ascii_uppercase().replace('-', "_");
        run.env_more = context.into_iter().map(|(name, value)| (variable(name), value)).collect();
        let guest = self.component.command(run, payload.clone(), RESPONSE_BYTES_MAX);
        let answer = tokio::select! {
            biased;
            (ended, output) = guest => ended.map(|()| output).map_err(failure),
            () = self.clock.sleep(self.limit) => Err(self.timed_out.clone()),
        };
        (answer, self.clock.elapsed())
    }

    /// Begins to run it with the payload as a request.
    pub(crate) fn ask(&self, run: ComponentRun, payload: &Bytes, context: Context) -> (Exchange, Shape) {
        let (mut request, shape) = event::request(payload);
        for (name, value) in context {
            // Ids and ARNs are visible ASCII; a client context that is not stays out.
            if let Ok(value) = HeaderValue::from_str(&value) {
                request.headers_mut().insert(name, value);
            }
        }
        let (head, answered) = oneshot::channel();
        let guest = self.component.serve(run, request, head);
        (Exchange::new(guest, answered, self.clock.clone(), self.limit), shape)
    }

    /// The whole response as the result. `parts`: its head, if that has come already.
    pub(crate) async fn whole(
        &self,
        mut exchange: Exchange,
        shape: Shape,
        mut parts: Option<Parts>,
    ) -> (Answer, Duration) {
        let mut body = BytesMut::new();
        loop {
            match exchange.next().await {
                Step::Head(head) => parts = Some(head),
                Step::Frame(frame) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if body.len() + data.len() > RESPONSE_BYTES_MAX {
                        return (Err(Failure::TooLarge), self.clock.elapsed());
                    }
                    body.extend_from_slice(&data);
                }
                Step::Over(end) => {
                    let at = end.at;
                    let failed = end.failure(parts.is_some(), self.timed_out.clone());
                    return (failed.map_or_else(|| result(shape, parts, body.freeze()), Err), at);
                }
            }
        }
    }
}

fn result(shape: Shape, parts: Option<Parts>, body: Bytes) -> Answer {
    let Some(parts) = parts else { return Err(Failure::TooLarge) };
    let answer = event::result(shape, &parts, body)?;
    if answer.len() > RESPONSE_BYTES_MAX { Err(Failure::TooLarge) } else { Ok(answer) }
}
