//! The functions room: the Lambda API, function URLs, and asynchronous invocations, event source mappings.
//!
//! It keeps what functions are (code, settings, versions, aliases, policies) and hands the running of them to
//! [`engine::Runner`]. [`Catalog`] is how the engine finds a version again; it is made first, from the store alone, so
//! that nothing here goes in a circle. A change is acknowledged when its record has committed; making the new version
//! ready happens behind it (see [`Functions::work`]) and shows in `State` and `LastUpdateStatus`, as on AWS.

pub mod api;
mod capacity;
mod catalog;
mod change;
mod code;
mod destination;
mod error;
mod events;
mod kept;
mod lineage;
mod mapping;
pub mod model;
mod prelude;
mod preparing;
mod provision;
mod records;
pub mod sealing;
mod store;
mod url;
mod work;

#[cfg(test)]
mod tests;

pub use api::room;
pub use catalog::Catalog;
pub use error::Error;
pub use url::UrlDoor;

use ::store::{Blobs, Seal, Store};
use base::port::{Clock, Entropy, Identity, ObjectReader, QueueReader};
use engine::Runner;
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// Limits that a node may set; the defaults are AWS's.
#[derive(Clone, Debug)]
pub struct Config {
    /// Zipped bytes of all versions and layers of an account in a region.
    pub code_bytes_total_max: u64,
    /// Concurrent executions of an account in a region.
    pub concurrency_max: u32,
    /// The machine's architecture in AWS's words: what functions are made for, and the only one taken.
    pub architecture: &'static str,
}

impl Default for Config {
    fn default() -> Self {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        Self { code_bytes_total_max: 75 << 30, concurrency_max: 1000, architecture }
    }
}

/// What the room is made of.
pub struct Parts {
    pub store: Store,
    pub seal: Arc<Seal>,
    pub blobs: Blobs,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub runner: Arc<dyn Runner>,
    pub objects: Arc<dyn ObjectReader>,
    pub queues: Arc<dyn QueueReader>,
    pub identity: Arc<dyn Identity>,
    pub config: Config,
}

/// The room. Its operations are in [`api`], its background work in [`Functions::work`].
pub struct Functions {
    store: Store,
    seal: Arc<Seal>,
    blobs: Blobs,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    runner: Arc<dyn Runner>,
    objects: Arc<dyn ObjectReader>,
    queues: Arc<dyn QueueReader>,
    identity: Arc<dyn Identity>,
    config: Config,
    mappings: mapping::Mappings,
    /// Wakes the work that makes versions ready.
    pending: Notify,
    /// Held while the engine is told what it is to keep ready, so that it hears things in the order in which they became so.
    telling: tokio::sync::Mutex<()>,
    link_key: OnceLock<String>,
}

impl Functions {
    pub fn open(parts: Parts) -> Arc<Self> {
        let Parts { store, seal, blobs, clock, entropy, runner, objects, queues, identity, config } = parts;
        Arc::new(Self {
            store,
            seal,
            blobs,
            clock,
            entropy,
            runner,
            objects,
            queues,
            identity,
            config,
            mappings: mapping::Mappings::default(),
            pending: Notify::new(),
            telling: tokio::sync::Mutex::default(),
            link_key: OnceLock::new(),
        })
    }

    fn runtimes(&self) -> Vec<String> {
        self.runner.runtimes().into_iter().map(|r| r.name).collect()
    }
}
