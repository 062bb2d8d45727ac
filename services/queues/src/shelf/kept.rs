//! Messages as memory has them: with their record, while there is room for it.

use super::Group;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A message that was never received.
#[derive(Clone, Debug, Default)]
pub struct Fresh {
    pub group: Option<Group>,
    /// The record, while there is room for it in memory.
    pub kept: Option<Kept>,
}

/// Bytes that count against a budget as long as they are kept.
#[derive(Clone, Debug)]
pub struct Kept(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    bytes: Bytes,
    budget: Budget,
}

/// What records may take in memory, over all queues.
#[derive(Clone, Debug)]
pub struct Budget(Arc<AtomicUsize>);

impl Budget {
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    pub fn keep(&self, bytes: Bytes) -> Option<Kept> {
        let take = |left: usize| left.checked_sub(bytes.len());
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Kept(Arc::new(Counted { bytes, budget: self.clone() })))
    }
}

impl Kept {
    pub fn bytes(&self) -> Bytes {
        self.0.bytes.clone()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.bytes.len(), Ordering::Relaxed);
    }
}
