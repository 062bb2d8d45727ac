//! Azure Event Grid: custom topics that take events over HTTP, and webhooks that get them.
//!
//! A topic is an endpoint and two keys (`publish.rs`). What it takes goes to the event bus of its name, if there is one,
//! and to each of its subscriptions that wants it, in one transaction. A subscription is a target like any other
//! (`deliver.rs`) with Event Grid's own pace of retrying. Topics and subscriptions are managed by the small part of Azure's
//! resource manager that is theirs (`manage.rs`, `subscribe.rs`). What it has and lacks: docs/services/eventgrid.md.

mod deliver;
mod door;
mod error;
mod filter;
mod manage;
mod model;
mod publish;
mod sas;
mod store;
mod subscribe;
mod validate;

pub use door::EventGridDoor;

use base::port::{Clock, Courier, Entropy, Identity, Targets};
use std::sync::Arc;

/// What the room is made of.
pub struct Parts {
    pub store: ::store::Store,
    /// For topics' keys.
    pub seal: Arc<::store::Seal>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub courier: Arc<dyn Courier>,
    pub identity: Arc<dyn Identity>,
    /// Where the buses are.
    pub targets: Arc<dyn Targets>,
}

/// The room.
pub struct EventGrid {
    store: ::store::Store,
    seal: Arc<::store::Seal>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    courier: Arc<dyn Courier>,
    identity: Arc<dyn Identity>,
    targets: Arc<dyn Targets>,
}

impl EventGrid {
    pub fn open(parts: Parts) -> Arc<Self> {
        let Parts { store, seal, clock, entropy, courier, identity, targets } = parts;
        Arc::new(Self { store, seal, clock, entropy, courier, identity, targets })
    }
}

impl EventGrid {
    /// Seals topics' keys again that were sealed with an older master key. To be done at start, before functions say that
    /// the older key is needed no more.
    pub async fn reseal(&self) -> ::store::Result<()> {
        let all = store::topics();
        for item in self.store.scan(all.as_bytes(), &all.end(), model::TOPICS_MAX).await? {
            let topic: store::Topic = ::store::record::decode(&item.value)?;
            match self.seal.renew(&topic.id, &topic.keys) {
                Ok(None) => {}
                Ok(Some(keys)) => {
                    let (key, renewed) =
                        (&store::Space::Topic(&topic.name).key(), &store::Topic { keys, ..topic.clone() });
                    self.store.transact(async |tx: ::store::Tx| tx.put(key, renewed)).await?;
                }
                Err(why) => tracing::error!(topic = topic.name, "a topic's keys cannot be read: {why}"),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
