//! Sums of usage and the spans of time they are kept for. No IO.

use base::UsageRecord;
use serde::{Deserialize, Serialize};
use std::ops::Range;

pub const HOUR_MS: u64 = 3_600_000;
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// What some invocations of one function, version and memory size came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub invocations: u64,
    pub errors: u64,
    pub cold_starts: u64,
    pub duration_us: u64,
    pub init_us: u64,
    pub billed_ms: u64,
    /// Billed milliseconds times configured megabytes: exact, where gigabyte-seconds are not.
    pub billed_mb_ms: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    #[serde(default)]
    pub network_bytes: u64,
    pub max_memory_mb: u32,
}

impl Totals {
    pub fn of(record: &UsageRecord) -> Self {
        Self {
            invocations: 1,
            errors: record.error.is_some().into(),
            cold_starts: (record.start == base::Start::Cold).into(),
            duration_us: record.duration_us,
            init_us: record.init_us,
            billed_ms: record.billed_ms,
            billed_mb_ms: record.billed_ms * u64::from(record.memory_mb),
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            network_bytes: record.network_bytes,
            max_memory_mb: record.max_memory_mb,
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.invocations += other.invocations;
        self.errors += other.errors;
        self.cold_starts += other.cold_starts;
        self.duration_us += other.duration_us;
        self.init_us += other.init_us;
        self.billed_ms += other.billed_ms;
        self.billed_mb_ms += other.billed_mb_ms;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.network_bytes += other.network_bytes;
        self.max_memory_mb = self.max_memory_mb.max(other.max_memory_mb);
    }

    pub fn gb_seconds(&self) -> f64 {
        self.billed_mb_ms as f64 / 1024.0 / 1000.0
    }
}

/// A span of whole units inside a range, and what is left before and after it. Without a whole unit all is `before`.
pub fn whole(range: &Range<u64>, unit_ms: u64) -> (Range<u64>, Range<u64>, Range<u64>) {
    let first = range.start.div_ceil(unit_ms).saturating_mul(unit_ms);
    let last = range.end / unit_ms * unit_ms;
    match first <= last {
        true => (range.start..first, first..last, last..range.end),
        false => (range.clone(), range.end..range.end, range.end..range.end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_fall_into_whole_units_and_edges() {
        assert_eq!(whole(&(5..37), 10), (5..10, 10..30, 30..37));
        assert_eq!(whole(&(10..30), 10), (10..10, 10..30, 30..30));
        assert_eq!(whole(&(12..18), 10), (12..18, 18..18, 18..18));
        assert_eq!(whole(&(12..20), 10), (12..20, 20..20, 20..20));
    }
}
