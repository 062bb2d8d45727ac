//! The bus room: Amazon EventBridge.
//!
//! PutEvents matches an event with the rules of its bus and commits one event a target, in one transaction; delivery
//! does the rest. Other rooms send a whole event to the bus's ARN (`events.rs`), and the bus passes it on when it
//! arrives; CloudEvents come in by `door.rs`. `rules.rs` keeps the compiled rules of each bus, `work.rs` fires those with
//! schedules, `archive.rs` replays, `destination.rs` sends to API destinations what `request.rs` makes of an event, with
//! what `connection.rs` keeps secret and at the pace of `pace.rs`, and as `cloudevents.rs` says where that is asked for;
//! `model.rs` holds EventBridge's rules for names, targets and events, `store.rs` the keys, `api/` the operations. What it
//! has and lacks: docs/services/bus.md.

mod api;
mod archive;
mod cloudevents;
mod connection;
mod destination;
mod door;
mod error;
mod events;
mod model;
mod pace;
mod request;
mod rules;
mod store;
mod work;

pub use door::CloudEventsDoor;
pub use error::Error;

use ::store::alarm::Alarms;
use base::port::{Clock, Courier, Entropy};
use std::sync::Arc;

/// What the room is made of.
pub struct Parts {
    pub store: ::store::Store,
    /// For what connections keep to themselves.
    pub seal: Arc<::store::Seal>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub courier: Arc<dyn Courier>,
}

/// The room. [`Bus::work`] is to be run beside it.
pub struct Bus {
    store: ::store::Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    seal: Arc<::store::Seal>,
    courier: Arc<dyn Courier>,
    tokens: connection::Tokens,
    pace: pace::Pace,
    compiled: rules::Cache,
    alarms: Alarms,
}

impl Bus {
    pub fn open(parts: Parts) -> Arc<Self> {
        let Parts { store, seal, clock, entropy, courier } = parts;
        let alarms = Alarms::new(store.clone(), clock.clone(), store::ALARMS);
        let (tokens, pace, compiled) = Default::default();
        Arc::new(Self { store, clock, entropy, seal, courier, tokens, pace, compiled, alarms })
    }
}

/// The room with its operations, for the gate.
pub fn room(bus: Arc<Bus>) -> room::TableRoom<Bus> {
    api::table().room(bus)
}

#[cfg(test)]
mod tests;
