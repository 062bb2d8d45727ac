//! The way of an event through a component in this process.

use crate::run::Run;
use crate::wasm::Wasm;
use crate::wasm::guest::{Context, Guest};
use crate::wasm::loaded::Loaded;
use crate::wasm::running::Running;
use base::{Invocation, InvokeError};
use http::HeaderName;
use std::sync::Arc;

impl Wasm {
    /// Runs one call, whatever comes of it.
    pub(crate) async fn invoke(&self, loaded: &Arc<Loaded>, call: &Invocation, arn: &str) -> Result<Run, InvokeError> {
        let _place = self.place().await?;
        let running = Running::begin(loaded.clone(), &call.request_id).await;
        let guest = Guest {
            component: loaded.component.clone(),
            clock: loaded.forge.clock.clone(),
            limit: running.limit(),
            timed_out: running.timed_out(),
        };
        let context = context(&running, call, arn);
        let (answer, ended) = guest.answer(running.component_run(), &call.payload, context).await;
        Ok(running.finish(call, answer, ended))
    }
}

/// What the Runtime API would tell with the call.
fn context(running: &Running, call: &Invocation, arn: &str) -> Context {
    let deadline = running.loaded.forge.clock.now().plus(running.limit()).millis();
    let told = [
        ("lambda-runtime-aws-request-id", Some(call.request_id.clone())),
        ("lambda-runtime-deadline-ms", Some(deadline.to_string())),
        ("lambda-runtime-invoked-function-arn", Some(arn.to_owned())),
        ("lambda-runtime-trace-id", call.trace_id.clone()),
        ("lambda-runtime-client-context", call.client_context.clone()),
    ];
    told.into_iter().filter_map(|(name, value)| Some((HeaderName::from_static(name), value?))).collect()
}
