//! Adding up a range of time: whole days and hours from their sums, the edges from the records of single invocations.

use crate::Usage;
use crate::model::{HOUR_MS, Totals, whole};
use crate::store::{self, Runs, Space, Unit};
use ::store::Result;
use ::store::record::decode;
use base::Scope;
use std::collections::BTreeMap;
use std::ops::Range;

/// Sums read at a time.
const SUMS_AT_ONCE: usize = 1_000;
/// Records of runs read at a time.
const RUNS_AT_ONCE: usize = 100;
/// Records of runs read for one edge; an edge with more is rounded outwards to its whole hour.
const EDGE_RUNS_MAX: usize = 2_000;
/// A run is written when it has ended, so up to its longest duration after it began.
const RUN_MS_MAX: u64 = 20 * 60_000;

/// What functions used in a range, which may have been rounded outwards to whole hours.
#[derive(Debug, PartialEq, Eq)]
pub struct Sums {
    pub range: Range<u64>,
    pub functions: BTreeMap<String, Totals>,
}

impl Usage {
    /// What the functions of a scope used between two times (milliseconds, the end exclusive).
    pub(crate) async fn sums(&self, scope: &Scope, range: Range<u64>) -> Result<Sums> {
        let mut sums = Sums { range: range.clone(), functions: BTreeMap::new() };
        let (before, days, after) = whole(&range, Unit::Day.millis());
        self.add_units(&mut sums, scope, Unit::Day, days).await?;
        for part in [before, after] {
            let (before, hours, after) = whole(&part, HOUR_MS);
            self.add_units(&mut sums, scope, Unit::Hour, hours).await?;
            for edge in [before, after] {
                self.add_edge(&mut sums, scope, edge).await?;
            }
        }
        Ok(sums)
    }

    async fn add_units(&self, sums: &mut Sums, scope: &Scope, unit: Unit, range: Range<u64>) -> Result<()> {
        let key = |at: u64| store::sums(unit, scope).number(at).into_bytes();
        let (mut from, to) = (key(range.start), key(range.end));
        while !range.is_empty() {
            let items = self.store.scan(&from, &to, SUMS_AT_ONCE).await?;
            for item in &items {
                if let Some(function) = store::parse_sum(&item.key) {
                    sums.functions.entry(function).or_default().add(&decode::<Totals>(&item.value)?);
                }
            }
            let Some(last) = items.last().filter(|_| items.len() == SUMS_AT_ONCE) else { break };
            from = last.key.to_vec();
            from.push(0);
        }
        Ok(())
    }

    /// Part of an hour (or of two, where the range spans less): run by run if they are still there and not too many.
    async fn add_edge(&self, sums: &mut Sums, scope: &Scope, edge: Range<u64>) -> Result<()> {
        if edge.is_empty() {
            return Ok(());
        }
        let kept_from = self.clock.now().millis().saturating_sub(self.config.record_retention.as_millis() as u64);
        let kept = edge.start >= kept_from;
        if let Some(runs) = if kept { self.runs(scope, &edge).await? } else { None } {
            for (function, totals) in runs {
                sums.functions.entry(function).or_default().add(&totals);
            }
            return Ok(());
        }
        let hours = edge.start / HOUR_MS * HOUR_MS..edge.end.div_ceil(HOUR_MS) * HOUR_MS;
        sums.range = sums.range.start.min(hours.start)..sums.range.end.max(hours.end);
        self.add_units(sums, scope, Unit::Hour, hours).await
    }

    /// The runs that began in a range, by function; `None` if there is too much to read.
    async fn runs(&self, scope: &Scope, range: &Range<u64>) -> Result<Option<Vec<(String, Totals)>>> {
        let mut found = Vec::new();
        let mut from = Space::Runs(scope, range.start, "").key().into_bytes();
        let to = Space::Runs(scope, range.end.saturating_add(RUN_MS_MAX), "").key();
        for _ in 0..EDGE_RUNS_MAX / RUNS_AT_ONCE {
            let items = self.store.scan(&from, to.as_bytes(), RUNS_AT_ONCE).await?;
            for item in &items {
                let Runs(runs) = decode(&item.value)?;
                let inside = runs.into_iter().filter(|r| range.contains(&r.at.millis()));
                found.extend(inside.map(|r| (Totals::of(&r), r.function.name)).map(|(totals, name)| (name, totals)));
            }
            let Some(last) = items.last().filter(|_| items.len() == RUNS_AT_ONCE) else { return Ok(Some(found)) };
            from = last.key.to_vec();
            from.push(0);
        }
        Ok(None)
    }
}
