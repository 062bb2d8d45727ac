//! The storage interface: ordered byte keys, optimistic transactions with an outbox, and blobs; engines behind it.
//!
//! A room sees [`Store`], [`Tx`], [`Key`] and [`Blobs`], never an engine or an engine's error. What `transact` returned
//! `Ok` for survives `kill -9` and power loss; concurrent callers share one engine commit and one fsync.

pub mod alarm;
pub mod behind;
pub mod blobs;
#[cfg(test)]
mod contract;
pub mod engine;
mod error;
pub mod flaky;
mod key;
pub mod memory;
pub mod outbox;
pub mod record;
pub mod seal;
pub mod sqlite;
pub mod sweep;
pub mod trail;
mod tx;

pub use blobs::{BlobId, BlobInfo, BlobStream, BlobWriter, Blobs};
pub use error::Error;
pub use key::{Key, KeyReader};
pub use seal::{Seal, Sealed};
pub use tx::{Store, Tx, Watch};

pub type Result<T> = std::result::Result<T, Error>;

/// The largest value, 4 MiB; larger bytes belong in [`Blobs`].
pub const VALUE_BYTES_MAX: usize = 4 << 20;
/// The longest key.
pub const KEY_BYTES_MAX: usize = 4 << 10;
