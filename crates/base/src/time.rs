//! Points in time, as every record keeps them. Reading the clock is [`crate::port::Clock`]'s business.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Seconds since the epoch with millisecond fractions, as the AWS JSON protocols write times.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// `(year, month 1–12, day 1–31, hour, minute, second, millisecond)` in UTC, proleptic Gregorian.
    pub fn civil(self) -> (i64, u32, u32, u32, u32, u32, u32) {
        let (days, ms) = (self.0 / 86_400_000, self.0 % 86_400_000);
        // Days to civil date, after Howard Hinnant's public-domain "chrono-compatible low-level date algorithms".
        let z = days as i64 + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        let day = doy - (153 * mp + 2) / 5 + 1;
        let s = (ms / 1000) as u32;
        (year, month as u32, day as u32, s / 3600, s / 60 % 60, s % 60, (ms % 1000) as u32)
    }

    /// `2026-11-23T15:51:04.123Z`, the form S3 events and Lambda's logs use.
    pub fn iso8601(self) -> String {
        let (y, mo, d, h, mi, s, ms) = self.civil();
        format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}.{ms:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_dates() {
        assert_eq!(Timestamp(0).iso8601(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(951_782_400_000).iso8601(), "2000-02-29T00:00:00.000Z");
        assert_eq!(Timestamp(1_795_449_064_123).iso8601(), "2026-11-23T15:51:04.123Z");
    }
}
