//! Events on their way: takes what waits in the outbox, gives it to its target, and settles what the target said.
//!
//! Every event in the outbox is delivered at least once or lies in the dead letters with its reason. What is under way
//! is kept in memory alone: after a restart it is tried again. Each target has a lane of its own, in the store and
//! here, so that a slow one holds up nobody else.

mod attempt;
mod dispatch;
mod lanes;

use base::port::{Clock, Targets};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use store::{Store, outbox};

/// `status` counts waiting and dead events up to this.
pub const COUNTED_MAX: usize = 10_000;

/// What delivery works with.
pub struct Parts {
    pub store: Store,
    pub targets: Arc<dyn Targets>,
    pub clock: Arc<dyn Clock>,
    pub config: Config,
}

/// Bounds and pace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Attempts under way at a time; each holds its event (at most 1 MB) in memory.
    pub in_flight_max: usize,
    /// The same for one target. A target gets less when many are busy.
    pub per_target_in_flight_max: usize,
    /// An event that would have to be tried again later than this after its creation goes to the dead letters.
    pub event_age_max: Duration,
    /// What every delay a target asks for is multiplied by. 1 outside tests.
    pub time_scale: f64,
    /// How long stopping waits for what is under way.
    pub drain_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            in_flight_max: 1024,
            per_target_in_flight_max: 100,
            event_age_max: Duration::from_secs(6 * 3600),
            time_scale: 1.0,
            drain_max: Duration::from_secs(10),
        }
    }
}

/// How delivery stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Events in the outbox, those in flight and those put off included; counted up to [`COUNTED_MAX`].
    pub waiting: usize,
    pub in_flight: usize,
    /// Dead letters, counted up to [`COUNTED_MAX`].
    pub dead: usize,
}

/// Delivery of one store's events. Make one, and run it once.
pub struct Delivery {
    store: Store,
    targets: Arc<dyn Targets>,
    clock: Arc<dyn Clock>,
    config: Config,
    in_flight: AtomicUsize,
}

impl Delivery {
    pub fn new(parts: Parts) -> Self {
        let Parts { store, targets, clock, config } = parts;
        Self { store, targets, clock, config, in_flight: AtomicUsize::new(0) }
    }

    /// Counts for `wadi doctor`.
    pub async fn status(&self) -> store::Result<Status> {
        let counts = outbox::counts(&self.store, COUNTED_MAX).await?;
        Ok(Status { waiting: counts.waiting, in_flight: self.in_flight.load(Ordering::Relaxed), dead: counts.dead })
    }
}
