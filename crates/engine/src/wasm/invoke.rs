//! The way of an event through a component: to a request and back, or through standard input and output.

use crate::failure::{Failure, RESPONSE_BYTES_MAX};
use crate::run::Run;
use crate::session::Answer;
use crate::wasm::Wasm;
use crate::wasm::event::{self, Shape};
use crate::wasm::exchange::{Exchange, Step};
use crate::wasm::loaded::Loaded;
use crate::wasm::running::{Running, failure};
use base::{Invocation, InvokeError};
use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use sandbox::World;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

impl Wasm {
    /// Runs one call, whatever comes of it.
    pub(crate) async fn invoke(&self, loaded: &Arc<Loaded>, call: &Invocation, arn: &str) -> Result<Run, InvokeError> {
        let _place = self.place().await?;
        let running = Running::begin(loaded.clone(), &call.request_id).await;
        let context = context(&running, call, arn);
        let (answer, ended) = match loaded.component.world() {
            World::Http => request(&running, call, context).await,
            World::Command => command(&running, call, context).await,
        };
        Ok(running.finish(call, answer, ended))
    }
}

/// What the Runtime API would tell with the call, under its names.
fn context(running: &Running, call: &Invocation, arn: &str) -> Vec<(&'static str, String)> {
    let deadline = running.loaded.forge.clock.now().plus(running.limit()).millis();
    let mut context = vec![
        ("lambda-runtime-aws-request-id", call.request_id.clone()),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", arn.to_owned()),
    ];
    context.extend(call.trace_id.clone().map(|id| ("lambda-runtime-trace-id", id)));
    context.extend(call.client_context.clone().map(|text| ("lambda-runtime-client-context", text)));
    context
}

/// The payload on standard input; what it writes to standard output is the response.
async fn command(running: &Running, call: &Invocation, context: Vec<(&str, String)>) -> (Answer, Duration) {
    let env = context.into_iter().map(|(name, value)| (name.to_ascii_uppercase().replace('-', "_"), value));
    let run = running.component_run(env.collect());
    let clock = running.loaded.forge.clock.clone();
    let guest = running.loaded.component.command(run, call.payload.clone(), RESPONSE_BYTES_MAX);
    let answer = tokio::select! {
        biased;
        (ended, output) = guest => ended.map(|()| output).map_err(failure),
        () = clock.sleep(running.limit()) => Err(running.timed_out()),
    };
    (answer, clock.elapsed())
}

/// The payload as a request; the response as the result.
async fn request(running: &Running, call: &Invocation, context: Vec<(&str, String)>) -> (Answer, Duration) {
    let (mut request, shape) = event::request(&call.payload);
    for (name, value) in context {
        // Ids and ARNs are visible ASCII; a client context that is not stays out.
        if let Ok(value) = HeaderValue::from_str(&value)
            && let Ok(name) = http::HeaderName::from_bytes(name.as_bytes())
        {
            request.headers_mut().insert(name, value);
        }
    }
    let (head, answered) = oneshot::channel();
    let guest = running.loaded.component.serve(running.component_run(Vec::new()), request, head);
    let clock = running.loaded.forge.clock.clone();
    let mut exchange = Exchange::new(guest, answered, clock.clone(), running.limit());
    let (mut parts, mut body) = (None, BytesMut::new());
    loop {
        match exchange.next().await {
            Step::Head(head) => parts = Some(head),
            Step::Frame(frame) => {
                let Ok(data) = frame.into_data() else { continue };
                if body.len() + data.len() > RESPONSE_BYTES_MAX {
                    return (Err(Failure::TooLarge), clock.elapsed());
                }
                body.extend_from_slice(&data);
            }
            Step::Over(end) => {
                let at = end.at;
                let failed = end.failure(parts.is_some(), running.timed_out());
                return (failed.map_or_else(|| result(shape, parts, body.freeze()), Err), at);
            }
        }
    }
}

fn result(shape: Shape, parts: Option<http::response::Parts>, body: Bytes) -> Answer {
    let Some(parts) = parts else { return Err(Failure::TooLarge) };
    let answer = event::result(shape, &parts, body)?;
    if answer.len() > RESPONSE_BYTES_MAX { Err(Failure::TooLarge) } else { Ok(answer) }
}
