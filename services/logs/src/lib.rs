//! The logs room: CloudWatch Logs, and where the output of functions goes.
//!
//! Events lie in chunks, in order of time within their group (`chunk.rs`); one writer commits them, many streams at a
//! time (`writer.rs`); pages are read in order across streams (`read.rs`); what is past its retention, or was deleted,
//! is swept in steps (`work.rs`). `model.rs` and `pattern.rs` hold CloudWatch's rules, `store.rs` the keys, `api/` the
//! operations. `events.rs` says which events it accepts; it emits none. What it has and lacks: docs/services/logs.md.

mod api;
mod chunk;
mod error;
mod events;
mod model;
mod pattern;
mod read;
mod store;
mod work;
mod writer;

pub use error::Error;

use ::store::behind::Behind;
use async_trait::async_trait;
use base::log::LogBatch;
use base::port::{Clock, Entropy, LogSink};
use std::sync::Arc;
use std::time::Duration;
use writer::{Item, Writer};

/// What the room is made of.
pub struct Parts {
    pub store: ::store::Store,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub config: Config,
}

#[derive(Clone, Debug)]
pub struct Config {
    /// Message bytes of functions that may wait to be committed; then their writers wait.
    pub queue_bytes_max: usize,
    /// How long lines gather before they are committed together.
    pub commit_interval: Duration,
    /// From one sweep to the next.
    pub sweep_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queue_bytes_max: 16 << 20,
            commit_interval: Duration::from_millis(20),
            sweep_interval: Duration::from_secs(60),
        }
    }
}

/// The room.
pub struct Logs {
    store: ::store::Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    config: Config,
    queue: Behind<Item>,
}

impl Logs {
    /// Opens the room and starts its writer. Call [`Logs::flush`] before the last handle is dropped: lines that are
    /// still queued then are lost. [`Logs::work`] is to be run beside it.
    pub fn open(parts: Parts) -> Arc<Self> {
        let Parts { store, clock, entropy, config } = parts;
        let bounds = writer::bounds(config.queue_bytes_max, config.commit_interval);
        let writer = Writer { store: store.clone(), clock: clock.clone(), entropy: entropy.clone() };
        let queue = Behind::start(writer, bounds, clock.clone());
        Arc::new(Self { store, clock, entropy, config, queue })
    }

    /// Waits until every line appended before is durable. Waits as long as storage fails: bound it where that matters.
    pub async fn flush(&self) {
        self.queue.flush().await;
    }
}

#[async_trait]
impl LogSink for Logs {
    async fn append(&self, batch: LogBatch) {
        writer::append(&self.queue, batch).await;
    }
}

/// The room with its operations, for the gate.
pub fn room(logs: Arc<Logs>) -> room::TableRoom<Logs> {
    api::table().room(logs)
}

#[cfg(test)]
mod tests;
