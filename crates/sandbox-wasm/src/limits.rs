//! What one instance may take: linear memories and tables, together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmtime::{Error, ResourceLimiter, Result};

/// What an element of a table takes.
const ELEMENT_BYTES: usize = size_of::<usize>();

pub struct Limits {
    bytes_max: usize,
    bytes: usize,
    peak: Arc<AtomicUsize>,
    /// What was granted last, to be taken back if it fails after all.
    granted: usize,
    /// It wanted more than it may have.
    pub refused: bool,
}

impl Limits {
    pub fn new(bytes_max: usize, peak: Arc<AtomicUsize>) -> Self {
        Self { bytes_max, bytes: 0, peak, granted: 0, refused: false }
    }

    fn grow(&mut self, by: usize) -> bool {
        let after = self.bytes.saturating_add(by);
        if after > self.bytes_max {
            self.refused = true;
            return false;
        }
        self.granted = by;
        self.bytes = after;
        self.peak.fetch_max(after, Ordering::Relaxed);
        true
    }

    fn take_back(&mut self) {
        self.bytes = self.bytes.saturating_sub(std::mem::take(&mut self.granted));
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn memory_grow_failed(&mut self, _error: Error) -> Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(ELEMENT_BYTES)))
    }

    fn table_grow_failed(&mut self, _error: Error) -> Result<()> {
        self.take_back();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_count_together() {
        let mut limits = Limits::new(1000, Arc::default());
        assert!(limits.memory_growing(0, 600, None).expect("answers"));
        assert!(limits.table_growing(0, 25, None).expect("answers"));
        assert!(!limits.memory_growing(600, 801, None).expect("answers"));
        assert!(limits.refused);
        assert!(limits.memory_growing(600, 800, None).expect("answers"));
        limits.memory_grow_failed(Error::msg("no")).expect("takes it");
        assert!(limits.memory_growing(600, 700, None).expect("answers"));
        assert_eq!((limits.bytes, limits.peak.load(Ordering::Relaxed)), (900, 1000));
    }
}
