//! The keys and records this room owns.

use crate::model::{DAY_MS, HOUR_MS, Totals};
use ::store::record::Record;
use ::store::{Key, KeyReader};
use base::{Scope, UsageRecord};
use serde::{Deserialize, Serialize};

/// Everything under `usage/`.
pub enum Space<'a> {
    /// `usage/run/<account>/<region>/<commit ms>/<id>` → [`Runs`]: invocations in the order in which they ended.
    Runs(&'a Scope, u64, &'a str),
    /// `usage/hour/<account>/<region>/<hour ms>/<function>/<version>/<memory MB>` → [`Totals`], and `usage/day/…`
    /// alike.
    Sum(Unit, &'a Scope, u64, &'a str, &'a str, u32),
}

/// Over what sums are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Hour,
    Day,
}

impl Unit {
    pub const ALL: [Self; 2] = [Self::Hour, Self::Day];

    pub fn millis(self) -> u64 {
        match self {
            Unit::Hour => HOUR_MS,
            Unit::Day => DAY_MS,
        }
    }
}

impl Space<'_> {
    pub fn key(&self) -> Key {
        match *self {
            Space::Runs(scope, at, id) => runs(scope).number(at).text(id),
            Space::Sum(unit, scope, start, function, version, memory_mb) => {
                sums(unit, scope).number(start).text(function).text(version).number(memory_mb.into())
            }
        }
    }
}

/// The start of all runs of a scope.
pub fn runs(scope: &Scope) -> Key {
    all_runs().text(scope.account.as_str()).text(scope.region.as_str())
}

pub fn all_runs() -> Key {
    Key::of("usage/run")
}

/// The start of all sums of a scope.
pub fn sums(unit: Unit, scope: &Scope) -> Key {
    let space = match unit {
        Unit::Hour => "usage/hour",
        Unit::Day => "usage/day",
    };
    Key::of(space).text(scope.account.as_str()).text(scope.region.as_str())
}

/// Invocations that were committed together, in the order in which they ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Runs(pub Vec<UsageRecord>);

impl Record for Runs {
    const VERSION: u8 = 1;
}

impl Record for Totals {
    const VERSION: u8 = 1;
}

/// The start of the scope's runs, the commit time and the id in the key of runs.
pub fn parse_runs(key: &[u8]) -> Option<(Key, u64, String)> {
    let mut r = KeyReader::new(key);
    r.text()?;
    let scope = all_runs().text(&r.text()?).text(&r.text()?);
    Some((scope, r.number()?, r.text()?))
}

/// The function in the key of a sum.
pub fn parse_sum(key: &[u8]) -> Option<String> {
    let mut r = KeyReader::new(key);
    for _ in ["space", "account", "region"] {
        r.text()?;
    }
    r.number()?;
    r.text()
}
