//! A mapping at work: it gathers batches from its queue and hands each to a slot.

use super::event::{batches, record};
use super::filter::Filters;
use super::scale::Scale;
use crate::Functions;
use crate::records::Mapping;
use base::{QueueError, QueuedMessage};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Messages of one receive.
const RECEIVE_MAX: usize = 10;
/// Pauses after a queue that could not be read: doubled up to the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Bytes of bodies after which a batch is gathered, whatever its window.
const BODY_BYTES_MAX: usize = 5 << 20;

impl Functions {
    /// Runs a mapping until `stop`.
    pub(super) async fn run_mapping(self: Arc<Self>, mapping: Mapping, stop: CancellationToken) {
        let most = mapping.concurrency_max.unwrap_or(self.config.concurrency_max);
        let scale = Scale::new(most);
        let mapping = Arc::new(mapping);
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.feed(&mapping, &scale) => {}
        }
    }

    async fn feed(self: &Arc<Self>, mapping: &Arc<Mapping>, scale: &Arc<Scale>) {
        let filters = Filters::parse(&mapping.filters).unwrap_or_default();
        let mut pause = PAUSE_MIN;
        loop {
            // First the slot: a message that is received must not wait for one while its time runs.
            let slot = scale.slot(|| self.clock.elapsed()).await;
            match self.gather(mapping, scale).await {
                Ok(messages) => {
                    pause = PAUSE_MIN;
                    let messages = self.filter(mapping, &filters, messages).await;
                    if messages.is_empty() {
                        continue;
                    }
                    let (this, mapping, scale) = (self.clone(), mapping.clone(), scale.clone());
                    self.mappings.processing.spawn(async move {
                        for batch in batches(messages, &mapping.source) {
                            this.process(&mapping, &scale, batch).await;
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    drop(slot);
                    self.mappings.note(&mapping.uuid, format!("PROBLEM: {error}"));
                    self.clock.sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Waits for a first message, and for more as long as the window is open.
    async fn gather(&self, mapping: &Mapping, scale: &Scale) -> Result<Vec<QueuedMessage>, QueueError> {
        let size = mapping.batch_size as usize;
        let some = |wanted: usize| wanted.min(RECEIVE_MAX);
        let now = Some(Duration::ZERO);
        let mut messages = self.queues.receive(&mapping.source, some(size), now).await?;
        if messages.is_empty() {
            scale.idle();
            messages = self.queues.receive(&mapping.source, some(size), None).await?;
        }
        let window = Duration::from_secs(mapping.window_s.into());
        let ends = self.clock.elapsed() + window;
        let bytes = |messages: &[QueuedMessage]| messages.iter().map(|m| m.body.len()).sum::<usize>();
        while !window.is_zero() && messages.len() < size && bytes(&messages) < BODY_BYTES_MAX {
            let left = ends.saturating_sub(self.clock.elapsed());
            let more = self.queues.receive(&mapping.source, some(size - messages.len()), Some(left)).await;
            match more {
                Ok(more) if more.is_empty() && left.is_zero() => break,
                Ok(more) => messages.extend(more),
                // What is there is handled first.
                Err(_) => break,
            }
        }
        Ok(messages)
    }

    /// Deletes what the mapping does not want.
    async fn filter(&self, mapping: &Mapping, filters: &Filters, messages: Vec<QueuedMessage>) -> Vec<QueuedMessage> {
        let wants = |message: &QueuedMessage| {
            let mut record = record(message, &mapping.source);
            if let Ok(body) = serde_json::from_str(&message.body) {
                record["body"] = body;
            }
            filters.wants(&record)
        };
        if mapping.filters.is_empty() {
            return messages;
        }
        let (wanted, rest): (Vec<_>, Vec<_>) = messages.into_iter().partition(wants);
        if !rest.is_empty() {
            let handles = rest.into_iter().map(|m| m.handle).collect();
            if let Err(error) = self.queues.delete(&mapping.source, handles).await {
                tracing::warn!(%error, mapping = %mapping.uuid, "unwanted messages could not be deleted: they come back");
            }
        }
        wanted
    }
}
