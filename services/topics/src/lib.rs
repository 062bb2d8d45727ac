//! The topics room: Amazon SNS, standard and FIFO topics.
//!
//! A publish matches the topic's subscriptions and commits one event for each that wants the message, in one transaction
//! (`publish.rs`); delivery does the rest. Queues and functions are targets of their own; events for HTTP endpoints come
//! back here (`post.rs`), as do those that other rooms send to a topic (`events.rs`). `notice.rs` gives a message the form
//! that a subscriber wants, `signer.rs` its signature, `feedback.rs` tells what became of it. `subscribers.rs` keeps the
//! subscriptions of topics ready to match,
//! `work.rs` sweeps. `model/` holds SNS's rules, `store.rs` the keys, `api/` the operations, `door.rs` what is asked for
//! without a signature: confirmations, unsubscriptions and the certificate. Why it is so: docs/decisions/0018-topics.md.
//! What it has and lacks: docs/services/topics.md.

mod api;
mod door;
mod error;
mod events;
mod feedback;
mod model;
mod notice;
mod post;
mod publish;
mod signer;
mod store;
mod subscribers;
mod work;

pub use door::TopicDoor;
pub use error::Error;
pub use model::{filter, message};

use ::store::Seal;
use ::store::alarm::Alarms;
use base::port::{Clock, Courier, Entropy};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// What the room is made of.
pub struct Parts {
    pub store: ::store::Store,
    /// Seals the key that messages are signed with.
    pub seal: Arc<Seal>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Brings messages to HTTP endpoints.
    pub courier: Arc<dyn Courier>,
}

/// The room. [`Topics::work`] is to be run beside it.
pub struct Topics {
    store: ::store::Store,
    seal: Arc<Seal>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    courier: Arc<dyn Courier>,
    compiled: subscribers::Cache,
    signer: OnceCell<Arc<signer::Signer>>,
    /// FIFO topics are published to one after the other.
    turns: publish::Turns,
    pace: post::Pace,
    alarms: Alarms,
}

impl Topics {
    pub fn open(parts: Parts) -> Arc<Self> {
        let Parts { store, seal, clock, entropy, courier } = parts;
        let alarms = Alarms::new(store.clone(), clock.clone(), store::ALARMS);
        let (compiled, signer, turns, pace) = Default::default();
        Arc::new(Self { store, seal, clock, entropy, courier, compiled, signer, turns, pace, alarms })
    }
}

/// The room with its operations, for the gate.
pub fn room(topics: Arc<Topics>) -> room::TableRoom<Topics> {
    api::table().room(topics)
}

#[cfg(test)]
mod tests;
