//! The schedules room: Amazon EventBridge Scheduler.
//!
//! A schedule's next time is an alarm in the store; when it rings, one transaction emits the event for the target and
//! sets the next (`work.rs`), so that a schedule is neither skipped by a restart nor fired twice. When schedules are due
//! is `rules::schedule`'s knowledge; `model.rs` holds Scheduler's rules, `store.rs` the keys, `events.rs` what is
//! emitted, `api/` the operations. What it has and lacks: docs/services/schedules.md.

mod api;
mod error;
mod events;
mod model;
mod store;
mod work;

pub use error::Error;

use ::store::alarm::Alarms;
use base::port::{Clock, Entropy};
use std::sync::Arc;

/// What the room is made of.
pub struct Parts {
    pub store: ::store::Store,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// The room. [`Schedules::work`] is to be run beside it.
pub struct Schedules {
    store: ::store::Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    alarms: Alarms,
}

impl Schedules {
    pub fn open(parts: Parts) -> Arc<Self> {
        let Parts { store, clock, entropy } = parts;
        let alarms = Alarms::new(store.clone(), clock.clone(), store::ALARMS);
        Arc::new(Self { store, clock, entropy, alarms })
    }
}

/// The room with its operations, for the gate.
pub fn room(schedules: Arc<Schedules>) -> room::TableRoom<Schedules> {
    api::table().room(schedules)
}

#[cfg(test)]
mod tests;
