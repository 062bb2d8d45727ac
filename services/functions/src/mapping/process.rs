//! One batch: the function is invoked with it, and what it handled is deleted.
//!
//! What it did not handle comes back when its visibility timeout is over. A throttled invocation is tried again with the
//! messages in hand, so that waiting does not use up their receives, for as long as they are invisible.

use super::event::{Batch, failures};
use super::scale::Scale;
use crate::Functions;
use crate::destination::End;
use crate::events::{self, LOOP};
use crate::lineage::LOOP_MAX;
use crate::records::Mapping;
use base::{Invocation, InvokeError, Mode, QueueError, QueuedMessage, Source};
use std::time::Duration;

/// Pauses between tries while the function is throttled.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(20);
/// How often a deletion that storage refused is tried again.
const DELETE_TRIES: u32 = 5;

impl Functions {
    pub(super) async fn process(&self, mapping: &Mapping, scale: &Scale, batch: Batch) {
        let entered = self.enter(&mapping.function, batch.trace());
        if self.loops(&mapping.function, entered.times).await.unwrap_or(false) {
            return self.stop_loop(mapping, batch).await;
        }
        let (result, handled) = match self.invoke_with(mapping, scale, (&batch, entered.trace)).await {
            Ok(Ok(answer)) => match mapping.partial.then(|| failures(&answer, &batch.messages)) {
                None => ("OK".to_owned(), batch.messages),
                Some(Some(failed)) => {
                    let handled: Vec<_> = batch.messages.into_iter().filter(|m| !failed.contains(&m.id)).collect();
                    (if failed.is_empty() { "OK" } else { "PROBLEM: Function call failed" }.to_owned(), handled)
                }
                Some(None) => ("PROBLEM: Function response is not valid".to_owned(), Vec::new()),
            },
            Ok(Err(())) => ("PROBLEM: Function call failed".to_owned(), Vec::new()),
            Err(error) => (format!("PROBLEM: {error}"), Vec::new()),
        };
        self.mappings.note(&mapping.uuid, result);
        self.done_with(mapping, handled).await;
    }

    /// Ends a recursive loop of which the batch would be the next turn. A queue that has a dead-letter queue gets its
    /// messages back at once, again and again, until its own redrive policy moves them there. Else the function's failure
    /// destination and dead-letter target are told, or the batch lies in the dead letters.
    async fn stop_loop(&self, mapping: &Mapping, batch: Batch) {
        self.mappings.note(&mapping.uuid, "PROBLEM: Recursive loop stopped".to_owned());
        tracing::info!(function = %mapping.function.name, mapping = %mapping.uuid, "a recursive loop was stopped");
        let Ok(facts) = self.queues.facts(&mapping.source).await else { return };
        if facts.redrives {
            let handles = batch.messages.into_iter().map(|m| m.handle).collect();
            if let Err(error) = self.queues.give_back(&mapping.source, handles, Duration::ZERO).await {
                tracing::warn!(%error, mapping = %mapping.uuid, "messages could not be given back: they come in their time");
            }
            return;
        }
        match self.tell_of_loop(mapping, &batch).await {
            Ok(()) => self.done_with(mapping, batch.messages).await,
            Err(cause) => tracing::warn!(%cause, mapping = %mapping.uuid, "a stopped loop could not be told of"),
        }
    }

    async fn tell_of_loop(&self, mapping: &Mapping, batch: &Batch) -> Result<(), ::store::Error> {
        let function = &mapping.function;
        let reason = format!("invoked more than {LOOP_MAX} times by what it has caused itself");
        let payload = serde_json::from_slice(&batch.event).map_err(|why| ::store::Error::Damaged(why.to_string()))?;
        let account = function.scope.account.as_str().to_owned();
        let source = Source { service: Some("sqs.amazonaws.com".into()), arn: Some(mapping.source.clone()), account };
        let mut event = events::event(self, function, source, payload);
        let places = self.destinations(function, &self.event_config(function).await, true).await;
        let end = End::Failure { condition: LOOP, reason: &reason, error: None };
        let mut told = self.follows(function, &event, 1, (&end, &places));
        if told.is_empty() {
            event.attributes.insert("undeliverable".into(), format!("{LOOP}: {reason}").into());
            told.push(event);
        }
        let told = &told;
        self.store.transact(|tx| async move { told.iter().try_for_each(|event| tx.emit(event)) }).await
    }

    /// Deletes messages.
    async fn done_with(&self, mapping: &Mapping, handled: Vec<QueuedMessage>) {
        let handles: Vec<String> = handled.into_iter().map(|m| m.handle).collect();
        if handles.is_empty() {
            return;
        }
        for attempt in 1..=DELETE_TRIES {
            match self.queues.delete(&mapping.source, handles.clone()).await {
                Ok(()) | Err(QueueError::NoSuchQueue) => return,
                Err(error) => {
                    tracing::warn!(%error, attempt, mapping = %mapping.uuid, "handled messages could not be deleted");
                    self.clock.sleep(PAUSE_MIN * attempt).await;
                }
            }
        }
    }

    /// Invokes the function; the inner error is its own. Gives up when the messages are about to become visible.
    async fn invoke_with(
        &self,
        mapping: &Mapping,
        scale: &Scale,
        (batch, trace): (&Batch, String),
    ) -> Result<Result<bytes::Bytes, ()>, InvokeError> {
        let visibility = self.queues.facts(&mapping.source).await.map_or(Duration::ZERO, |facts| facts.visibility);
        let ends = self.clock.elapsed() + visibility / 2;
        let mut pause = PAUSE_MIN;
        loop {
            let call = Invocation {
                function: mapping.function.clone(),
                request_id: self.entropy.uuid(),
                payload: batch.event.clone(),
                mode: Mode::Wait,
                client_context: None,
                trace_id: Some(trace.clone()),
            };
            let refused = match self.runner.invoke(call).await {
                Ok(outcome) => return Ok(outcome.result.map_err(|_| ())),
                Err(refused) => refused,
            };
            if matches!(refused, InvokeError::Throttled { .. }) {
                scale.throttled();
            }
            // Spread, so that those that were refused together do not come back together.
            let spread = pause / 2 + pause.mul_f64(self.entropy.u64() as f64 / u64::MAX as f64);
            if self.clock.elapsed() + spread > ends {
                return Err(refused);
            }
            self.clock.sleep(spread).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
