//! What an engine is: three calls. One contract suite runs on all of them.

use crate::Result;
use async_trait::async_trait;
use bytes::Bytes;

/// When a record was last written: the number of the commit that did. 0 means "not there".
pub type Version = u64;

/// A key, its value, and the commit that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub key: Bytes,
    pub value: Bytes,
    pub version: Version,
}

/// A half-open range `[from, to)`, at most `limit` items, from the low end or (`reverse`) the high end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub from: Bytes,
    pub to: Bytes,
    pub limit: usize,
    pub reverse: bool,
}

/// What a transaction read and must still be so when it commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    Key {
        key: Bytes,
        version: Version,
    },
    /// The scan returned exactly these keys and versions.
    Range {
        range: Range,
        seen: Vec<(Bytes, Version)>,
    },
}

/// One write: `None` deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// A transaction ready to commit.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub checks: Vec<Check>,
    pub writes: Vec<Write>,
}

/// Whether a batch was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    Yes,
    /// A check failed; nothing of the batch was written.
    Conflict,
}

#[async_trait]
pub trait Engine: Send + Sync {
    async fn read(&self, key: &[u8]) -> Result<Option<Item>>;
    async fn scan(&self, range: &Range) -> Result<Vec<Item>>;
    /// Applies the batch whole or not at all, durably before it returns. Callers that come together share a commit.
    async fn commit(&self, batch: Batch) -> Result<Committed>;
}
