//! The bus room: Amazon EventBridge.
//!
//! PutEvents matches an event with the rules of its bus and commits one event a target, in one transaction; delivery
//! does the rest. Other rooms send a whole event to the bus's ARN (`events.rs`), and the bus passes it on when it
//! arrives. `rules.rs` keeps the compiled rules of each bus, `work.rs` fires those with schedules,
//! `archive.rs` replays; `model.rs` holds EventBridge's rules for names, targets and
//! events, `store.rs` the keys, `api/` the operations. What it has and lacks: docs/services/bus.md.

mod api;
mod archive;
mod error;
mod events;
mod model;
mod rules;
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

/// The room. [`Bus::work`] is to be run beside it.
pub struct Bus {
    store: ::store::Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    compiled: rules::Cache,
    alarms: Alarms,
}

impl Bus {
    pub fn open(parts: Parts) -> Arc<Self> {
        let Parts { store, clock, entropy } = parts;
        let alarms = Alarms::new(store.clone(), clock.clone(), store::ALARMS);
        Arc::new(Self { store, clock, entropy, compiled: rules::Cache::default(), alarms })
    }
}

/// The room with its operations, for the gate.
pub fn room(bus: Arc<Bus>) -> room::TableRoom<Bus> {
    api::table().room(bus)
}

#[cfg(test)]
mod tests;
