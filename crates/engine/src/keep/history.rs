//! A function's history: how long it lay idle between calls, as a histogram with bins that grow with time.

use std::time::Duration;

/// Edges of the bins, twelve to the doubling, from a quarter of a second to about 36 hours; the first bin begins at zero.
pub const EDGES: usize = 12 * 19 + 1;
const PER_DOUBLING: f64 = 12.0;
const FIRST_S: f64 = 0.25;
/// Entries kept: when there are so many, all bins are halved, so that what a function did long ago fades.
const ENTRIES_MAX: u32 = 1024;

#[derive(Clone, Debug, Default)]
pub struct History {
    /// Entry `i` counts idle times below edge `i` and not below the one before; the last one counts the longer ones.
    /// Empty until there is one, so that a function called once costs little.
    bins: Vec<u16>,
    total: u32,
    count: u64,
    busy: u32,
    /// When the last call ended.
    rested: Option<Duration>,
}

impl History {
    /// A call begins.
    pub fn called(&mut self, now: Duration) {
        if self.busy == 0
            && let Some(rested) = self.rested
        {
            self.note(now.saturating_sub(rested));
        }
        self.busy += 1;
    }

    /// A call ends.
    pub fn ended(&mut self, now: Duration) {
        self.busy = self.busy.saturating_sub(1);
        self.rested = Some(now);
    }

    /// How long the function has had no call; zero while it has one.
    pub fn idle(&self, now: Duration) -> Duration {
        match (self.busy, self.rested) {
            (0, Some(rested)) => now.saturating_sub(rested),
            _ => Duration::ZERO,
        }
    }

    /// Idle times seen so far; never goes down.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn note(&mut self, idle: Duration) {
        if self.bins.is_empty() {
            self.bins = vec![0; EDGES + 1];
        }
        let at = bin(idle);
        self.bins[at] = self.bins[at].saturating_add(1);
        self.total += 1;
        self.count += 1;
        if self.total >= ENTRIES_MAX {
            self.bins.iter_mut().for_each(|n| *n /= 2);
            self.total = self.bins.iter().map(|n| u32::from(*n)).sum();
        }
    }

    /// Idle times remembered.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// How many fell below each edge and not below the one before; last, those longer than all.
    pub fn bins(&self) -> impl Iterator<Item = u32> + '_ {
        (0..=EDGES).map(|at| self.bins.get(at).copied().map_or(0, u32::from))
    }

    /// The edge of the bin in which the percentile lies: its lower one, or its upper one. `None` if there is no such edge
    /// or nothing is known.
    pub fn percentile(&self, share: f64, upper: bool) -> Option<Duration> {
        let rank = (share * f64::from(self.total)).max(1.0);
        let mut below = 0;
        for (at, n) in self.bins().enumerate() {
            below += n;
            if n > 0 && f64::from(below) >= rank {
                return match (upper, at) {
                    (false, 0) => Some(Duration::ZERO),
                    (false, at) => Some(edge(at - 1)),
                    (true, at) => (at < EDGES).then(|| edge(at)),
                };
            }
        }
        None
    }
}

fn bin(idle: Duration) -> usize {
    let octaves = (idle.as_secs_f64() / FIRST_S).log2();
    if octaves < 0.0 { 0 } else { ((octaves * PER_DOUBLING) as usize + 1).min(EDGES) }
}

/// The upper edge of bin `at`.
pub(super) fn edge(at: usize) -> Duration {
    Duration::from_secs_f64(FIRST_S * (at as f64 / PER_DOUBLING).exp2())
}
