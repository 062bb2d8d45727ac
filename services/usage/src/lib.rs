//! The usage room: what ran and what it cost, and how the node is; the API `wadi`, which the command line uses.
//!
//! Every invocation leaves a record, kept for a while, and counts towards sums by hour and by day, kept for good; both
//! are written in one transaction (`writer.rs`). `store.rs` holds the keys, `sums.rs` adds up a range of time,
//! `work.rs` forgets old records, `api/` holds the operations. Money is not known here: prices are the command line's
//! business. The room emits no events and accepts none. What it has: docs/services/usage.md.

mod api;
mod error;
mod model;
mod store;
mod sums;
mod work;
mod writer;

pub use error::Error;

use ::store::behind::Behind;
use async_trait::async_trait;
use base::port::{Activity, Clock, Entropy, Meter};
use base::{Timestamp, UsageRecord};
use std::sync::Arc;
use std::time::Duration;
use writer::Writer;

/// What the room is made of.
pub struct Parts {
    pub store: ::store::Store,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Answers `GetDoctor`.
    pub doctor: Arc<dyn Doctor>,
    /// Answers `GetActivity`.
    pub activity: Arc<dyn Activity>,
    pub config: Config,
}

#[derive(Clone, Debug)]
pub struct Config {
    /// Records that may wait to be committed; then who meters waits.
    pub queue_records_max: usize,
    /// How long records gather before they are committed together.
    pub commit_interval: Duration,
    /// How long the record of each invocation is kept.
    pub record_retention: Duration,
    /// From one sweep to the next.
    pub sweep_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queue_records_max: 10_000,
            commit_interval: Duration::from_millis(20),
            record_retention: Duration::from_secs(7 * 24 * 3600),
            sweep_interval: Duration::from_secs(300),
        }
    }
}

/// Who knows what the node and its machine can promise.
#[async_trait]
pub trait Doctor: Send + Sync {
    async fn examine(&self) -> Examination;
}

/// What `GetDoctor` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examination {
    pub checks: Vec<Check>,
    /// Of Wadi.
    pub version: String,
    /// The address the node listens on.
    pub listen: String,
    pub data_dir: String,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    /// `ok`, `weaker` or `missing`.
    pub status: String,
    pub detail: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// What is kept of an `errorType`.
const ERROR_BYTES_MAX: usize = 256;

/// The room.
pub struct Usage {
    store: ::store::Store,
    clock: Arc<dyn Clock>,
    doctor: Arc<dyn Doctor>,
    activity: Arc<dyn Activity>,
    config: Config,
    queue: Behind<UsageRecord>,
}

impl Usage {
    /// Opens the room and starts its writer. Call [`Usage::flush`] before the last handle is dropped: records that are
    /// still queued then are lost. [`Usage::work`] is to be run beside it.
    pub fn open(parts: Parts) -> Arc<Self> {
        let Parts { store, clock, entropy, doctor, activity, config } = parts;
        let bounds = writer::bounds(config.queue_records_max, config.commit_interval);
        let writer = Writer { store: store.clone(), clock: clock.clone(), entropy, last: Timestamp(0) };
        let queue = Behind::start(writer, bounds, clock.clone());
        Arc::new(Self { store, clock, doctor, activity, config, queue })
    }

    /// Waits until every record metered before is durable. Waits as long as storage fails: bound it where that matters.
    pub async fn flush(&self) {
        self.queue.flush().await;
    }
}

#[async_trait]
impl Meter for Usage {
    async fn record(&self, mut usage: UsageRecord) {
        // The function's own word, of any length.
        if let Some(error) = usage.error.as_mut() {
            error.truncate(error.floor_char_boundary(ERROR_BYTES_MAX));
        }
        self.queue.push(usage).await;
    }
}

/// The room with its operations, for the gate.
pub fn room(usage: Arc<Usage>) -> room::TableRoom<Usage> {
    api::table().room(usage)
}

#[cfg(test)]
mod tests;
