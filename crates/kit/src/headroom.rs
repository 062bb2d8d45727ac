//! Memory that a test gives and takes.

use base::port::Headroom;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is free until a test says otherwise: no bound at first.
pub struct Free(AtomicU64);

impl Free {
    pub fn unbounded() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(u64::MAX)))
    }

    pub fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::SeqCst);
    }
}

impl Headroom for Free {
    fn bytes(&self) -> Option<u64> {
        Some(self.0.load(Ordering::SeqCst)).filter(|bytes| *bytes < u64::MAX)
    }
}
