//! Randomness that a run can be repeated with.

use base::port::Entropy;
use std::sync::atomic::{AtomicU64, Ordering};

/// SplitMix64: the same numbers for the same seed, none of them twice for a very long time.
pub struct Seeded(AtomicU64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number less than `bound`.
    pub fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }
}

impl Entropy for Seeded {
    fn fill(&self, into: &mut [u8]) {
        for chunk in into.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats() {
        let [a, b, c] = [1, 1, 2].map(Seeded::new);
        let (first, second) = (a.uuid(), a.uuid());
        assert_eq!((&first, &second), (&b.uuid(), &b.uuid()));
        assert!(first != second && first != c.uuid());
    }
}
