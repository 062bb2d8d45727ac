//! Objects: S3's API, through the crate `s3s`.
//!
//! A bucket is a record; an object is a record with its bytes beside it: small ones as a value in the store, so that
//! concurrent puts share one commit, larger ones as a blob, several for an upload in parts. A put, its bytes and the
//! events it causes commit together; bytes that lost their record are deleted after the commit or, if that is lost,
//! swept. [`door`] is what the gate serves; [`Reader`] reads objects for other rooms, [`Inbox`] takes what they send.
//! [`access`] lists the operations and the IAM action of each; docs/services/objects.md says operation by operation what
//! is there.

pub mod access;
mod api;
mod change;
mod digest;
mod door;
mod error;
mod events;
mod framing;
mod hashing;
mod hosts;
mod inbox;
mod lease;
mod list;
mod model;
mod reader;
mod signature;
mod store;
mod vault;
mod visit;
mod work;

pub use door::door;
pub use error::Error;
pub use inbox::Inbox;
pub use reader::Reader;

use ::store::{Blobs, Store};
use base::port::{Clock, Entropy, Identity, Targets};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the room needs from the rest of Wadi.
pub struct Parts {
    pub store: Store,
    pub blobs: Blobs,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub identity: Arc<dyn Identity>,
    /// Where notifications can go: asked when a bucket's notifications are configured.
    pub targets: Arc<dyn Targets>,
    pub config: Config,
}

/// Settings of the room.
#[derive(Clone, Debug)]
pub struct Config {
    /// Domains under which `s3.<domain>` and `<bucket>.s3.<domain>` mean S3.
    pub domains: Vec<String>,
    /// How often orphaned blobs are looked for.
    pub sweep_every: Duration,
    /// How old an orphaned blob must be. Longer than anybody takes between finishing a blob and committing its record.
    pub orphan_age_min: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            domains: vec!["localhost".into()],
            sweep_every: Duration::from_secs(3600),
            orphan_age_min: Duration::from_secs(6 * 3600),
        }
    }
}

/// The room.
pub struct Objects {
    vault: vault::Vault,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    identity: Arc<dyn Identity>,
    targets: Arc<dyn Targets>,
    config: Config,
    /// The last sequencer given out.
    sequencer: AtomicU64,
}

impl Objects {
    pub fn open(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            vault: vault::Vault::new(parts.store, parts.blobs),
            clock: parts.clock,
            entropy: parts.entropy,
            identity: parts.identity,
            targets: parts.targets,
            config: parts.config,
            sequencer: AtomicU64::new(0),
        })
    }

    fn store(&self) -> &Store {
        &self.vault.store
    }

    /// A number greater than every one before, and than `last`, the key's own: milliseconds and a counter, so that it
    /// goes on growing after a restart.
    fn sequence(&self, last: u64) -> u64 {
        let now = self.clock.now().millis() << 20;
        let next = |before: u64| now.max(before + 1).max(last + 1);
        let before = self.sequencer.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |b| Some(next(b)));
        next(before.unwrap_or_else(|b| b))
    }
}
