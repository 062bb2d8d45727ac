//! Events on their way: takes what waits in the outbox, gives it to its target, and settles what the target said.
//!
//! Every event in the outbox is delivered at least once or lies in the dead letters with its reason: those here, or the
//! queue or topic that its sender named (`dead.rs`). What became of it stays in the trail for a while. What is under way
//! is kept in memory alone: after a restart it is tried again. Each target has a lane of its own, in the store and
//! here, so that a slow one holds up nobody else.

mod attempt;
mod dead;
mod dispatch;
mod lanes;
mod receipt;

use base::Timestamp;
use base::port::{Clock, Entropy, Targets};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use store::{Store, outbox, trail};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

const TRAIL_SWEEP_EVERY: Duration = Duration::from_secs(60);

/// `status` counts waiting and dead events up to this.
pub const COUNTED_MAX: usize = 10_000;

/// What delivery works with.
pub struct Parts {
    pub store: Store,
    pub targets: Arc<dyn Targets>,
    pub clock: Arc<dyn Clock>,
    /// Spreads retries.
    pub entropy: Arc<dyn Entropy>,
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
    /// How many events that are over the trail keeps; 0 is none. Between two sweeps it may be more.
    pub trail_max: usize,
    /// How long it keeps them.
    pub trail_age_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            in_flight_max: 1024,
            per_target_in_flight_max: 100,
            event_age_max: Duration::from_secs(24 * 3600),
            time_scale: 1.0,
            drain_max: Duration::from_secs(10),
            trail_max: 100_000,
            trail_age_max: Duration::from_secs(24 * 3600),
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
    entropy: Arc<dyn Entropy>,
    config: Config,
    in_flight: AtomicUsize,
    /// Rows in the trail, once they have been counted.
    trail: AtomicUsize,
}

impl Delivery {
    pub fn new(parts: Parts) -> Self {
        let Parts { store, targets, clock, entropy, config } = parts;
        Self { store, targets, clock, entropy, config, in_flight: AtomicUsize::new(0), trail: AtomicUsize::new(0) }
    }

    /// Keeps the trail within its bounds until `stop`. Run it beside [`Delivery::run`].
    pub async fn sweep(self: Arc<Self>, stop: CancellationToken) {
        let counted = OnceCell::new();
        let round = async || {
            counted.get_or_try_init(|| self.count_trail()).await?;
            let since = Timestamp(self.clock.now().0.saturating_sub(self.config.trail_age_max.as_millis() as u64));
            let count = self.trail.load(Ordering::Relaxed);
            let left = trail::sweep(&self.store, since, self.config.trail_max, count).await?;
            self.trail.fetch_sub(count - left, Ordering::Relaxed);
            Ok::<_, store::Error>(())
        };
        store::sweep::every(&*self.clock, TRAIL_SWEEP_EVERY, &stop, "trail", round).await;
    }

    /// Rows of earlier lives of this node.
    async fn count_trail(&self) -> store::Result<()> {
        self.trail.store(trail::count(&self.store).await?, Ordering::Relaxed);
        Ok(())
    }

    /// Counts for `wadi doctor`.
    pub async fn status(&self) -> store::Result<Status> {
        let counts = outbox::counts(&self.store, COUNTED_MAX).await?;
        Ok(Status { waiting: counts.waiting, in_flight: self.in_flight.load(Ordering::Relaxed), dead: counts.dead })
    }
}
