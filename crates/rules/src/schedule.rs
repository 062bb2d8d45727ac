//! When schedules are due: `at(2026-11-27T12:00:00)`, `rate(5 minutes)`, `cron(0 10 ? * MON-FRI *)`.
//!
//! `at` and `cron` are told in local time. As EventBridge Scheduler documents it, a local time that the clocks skip in
//! spring is skipped, and one that comes twice in autumn counts once, the first time; a rate is time that passes,
//! whatever the clocks say. EventBridge's rules know UTC only, and no `at`.
//!
//! Zones are those of IANA's database as of the build: no machine's files are read.
//! Source: <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>.

mod cron;
#[cfg(test)]
mod tests;

use base::Timestamp;
use cron::Cron;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use std::time::Duration;

/// The longest expression, in characters.
const CHARS_MAX: usize = 256;

/// A schedule's expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    At(DateTime),
    Rate(Duration),
    Cron(Box<Cron>),
}

/// The text is not a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid Schedule Expression {0}.")]
pub struct NotASchedule(pub String);

/// A time zone.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

impl Zone {
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// By its name in IANA's database: `Europe/Berlin`. Upper and lower case count as the same.
    pub fn named(name: &str) -> Option<Self> {
        TimeZoneDatabase::bundled().get(name).ok().map(Self)
    }

    /// The instant of a local time; the first of two; `None` if the clocks skip it.
    fn instant(&self, local: DateTime) -> Option<Timestamp> {
        let ambiguous = self.0.to_ambiguous_timestamp(local);
        let instant = match ambiguous.offset() {
            AmbiguousOffset::Gap { .. } => return None,
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok()?,
        };
        u64::try_from(instant.as_millisecond()).ok().map(Timestamp)
    }

    fn local(&self, at: Timestamp) -> Option<DateTime> {
        let instant = jiff::Timestamp::from_millisecond(i64::try_from(at.millis()).ok()?).ok()?;
        Some(self.0.to_datetime(instant))
    }
}

impl Schedule {
    /// Reads an expression.
    ///
    /// # Errors
    /// It is none of the three kinds, or a field is out of its range.
    pub fn parse(text: &str) -> Result<Self, NotASchedule> {
        let wrong = || NotASchedule(text.chars().take(CHARS_MAX).collect());
        let (kind, rest) = text.trim().split_once('(').filter(|_| text.len() <= CHARS_MAX).ok_or_else(wrong)?;
        let inner = rest.strip_suffix(')').ok_or_else(wrong)?;
        match kind {
            "at" => at(inner).map(Self::At),
            "rate" => rate(inner).map(Self::Rate),
            "cron" => Cron::parse(inner).map(|cron| Self::Cron(Box::new(cron))),
            _ => None,
        }
        .ok_or_else(wrong)
    }

    /// The first time after `after` that it is due; `None` if it never is again. `since` is when a rate begins: it is
    /// due then, and each time the rate has passed.
    pub fn next(&self, zone: &Zone, since: Timestamp, after: Timestamp) -> Option<Timestamp> {
        match self {
            Schedule::At(local) => zone.instant(*local).filter(|at| *at > after),
            Schedule::Rate(every) => {
                let every = u64::try_from(every.as_millis()).ok().filter(|ms| *ms > 0)?;
                if after < since {
                    return Some(since);
                }
                let passed = (after.millis() - since.millis()) / every + 1;
                since.millis().checked_add(passed.checked_mul(every)?).map(Timestamp)
            }
            Schedule::Cron(cron) => {
                // Local times that are skipped, or have been already, are passed over: an hour's minutes at most.
                let mut local = zone.local(after)?;
                loop {
                    local = cron.after(local)?;
                    if let Some(at) = zone.instant(local).filter(|at| *at > after) {
                        return Some(at);
                    }
                }
            }
        }
    }

    /// Is it due once at most?
    pub fn once(&self) -> bool {
        matches!(self, Schedule::At(_))
    }
}

/// `2026-11-27T12:00:00`, without fractions or zone.
fn at(text: &str) -> Option<DateTime> {
    let shaped = text.len() == 19
        && text.bytes().enumerate().all(|(i, b)| match i {
            4 | 7 => b == b'-',
            10 => b == b'T',
            13 | 16 => b == b':',
            _ => b.is_ascii_digit(),
        });
    shaped.then(|| text.parse().ok())?
}

/// `5 minutes`; one of something may be told in either number.
fn rate(text: &str) -> Option<Duration> {
    let (value, unit) = text.trim().split_once(' ')?;
    let value: u32 = value.parse().ok().filter(|v| *v > 0)?;
    let seconds = match unit.trim() {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3600,
        "day" | "days" => 24 * 3600,
        _ => return None,
    };
    Some(Duration::from_secs(u64::from(value) * seconds))
}
