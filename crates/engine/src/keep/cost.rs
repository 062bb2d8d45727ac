//! The cost policy: what is kept is what costs less to hold than to miss.
//!
//! Holding costs memory times time; missing costs a call the wait for a start; [`Cost::ms_per_gb_s`] is the rate between
//! the two. Over the function's idle times each of the three things kept has a window in which holding it costs least in
//! all: none, from the end of the last call on, or from shortly before the next one is due. So what starts in
//! milliseconds is let go of within seconds, what starts slowly is kept longer, and what is called by the clock is made
//! again in time. Of a function that is not known yet the prior is assumed: idle times of every order of magnitude, which
//! is how public traces look over all functions.

use super::history::{EDGES, edge};
use super::{Costs, History, KeepAlive, Plan, Window};
use std::time::Duration;

/// The prior counts like so many idle times seen.
const PRIOR: f64 = 2.0;
/// A late window needs so many idle times, and has to cost this share of an early one's: what looks regular by chance is
/// not built on.
const LATE_ENTRIES_MIN: u32 = 6;
const LATE_SHARE_MAX: f64 = 0.8;
/// What is made in vain costs this share of its start's time: it keeps a core busy, though nobody waits for it.
const IN_VAIN: f64 = 0.2;
/// Upkeep looks every second or so: what is to be ready is made so much earlier, its start apart.
const LEAD: Duration = Duration::from_secs(2);
/// Handing over a spare.
const SPARE_START: Duration = Duration::from_micros(600);

#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Milliseconds that a call may wait for every gigabyte-second that is not held.
    pub ms_per_gb_s: f64,
    /// The shortest and the longest that a used instance is kept: what one call has left there the next one of the same
    /// breath finds.
    pub least: Duration,
    pub most: Duration,
}

impl Default for Cost {
    fn default() -> Self {
        Self { ms_per_gb_s: 80.0, least: Duration::from_secs(2), most: Duration::from_secs(600) }
    }
}

impl KeepAlive for Cost {
    fn plan(&self, history: &History, costs: &Costs) -> Plan {
        let odds = Odds::of(history);
        let Some(template) = costs.template else {
            // Without a template a spare costs what an instance does; it stands in where it is made late.
            let window = self.window(&odds, costs.instance_bytes, costs.start, costs.start);
            return match window.is_late() {
                true => Plan { instances: self.used(Duration::ZERO), spares: window, template: Window::NEVER },
                false => Plan { instances: self.used(window.until), ..Plan::default() },
            };
        };
        let early = Odds { late: false, ..odds.clone() };
        let saved = costs.start.saturating_sub(template.start);
        let kept = self.window(&odds, template.bytes, saved, costs.start);
        let (kept, spares) = match kept.is_late() {
            true => (kept, kept),
            false => {
                let saved = template.start.saturating_sub(SPARE_START);
                let spares = self.window(&early, costs.spare_bytes, saved, template.start);
                // A template that saves little by itself is still kept where it and a spare together pay.
                let (bytes, saved) = (template.bytes + costs.spare_bytes, costs.start.saturating_sub(SPARE_START));
                let both = self.window(&early, bytes, saved, costs.start);
                let until = kept.until.max(spares.until.min(both.until));
                (Window::first(until), Window::first(spares.until.min(until)))
            }
        };
        let saved = if spares.until > Duration::ZERO { SPARE_START } else { template.start };
        let used = self.window(&early, costs.instance_bytes, saved, template.start);
        Plan { instances: self.used(used.until), spares, template: kept }
    }
}

impl Cost {
    fn used(&self, best: Duration) -> Duration {
        best.max(self.least).min(self.most)
    }

    /// The window in which to hold so many bytes, where a miss makes a call wait for `saved` and making costs `work`.
    ///
    /// With H(t) the expected time for which the function is idle up to t, S(t) the share of idle times that are at least
    /// t, and r the price of holding, a window from a to b costs r(H(b) - H(a)) + miss(1 - S(a) + S(b)), and what is made
    /// in vain. That is a part that depends on b less a part that depends on a, so one pass finds the best pair.
    fn window(&self, odds: &Odds, bytes: u64, saved: Duration, work: Duration) -> Window {
        let rate = self.ms_per_gb_s * bytes as f64 / 1e9;
        let miss = saved.as_secs_f64() * 1e3;
        let vain = work.as_secs_f64() * 1e3 * IN_VAIN;
        let (mut early, mut late) = ((miss, Window::NEVER), (f64::INFINITY, Window::NEVER));
        let mut start: Option<(f64, Duration)> = None;
        for &Point { at, held_s, share } in &odds.points {
            let end = rate * held_s + miss * share;
            if end < early.0 {
                early = (end, Window::first(at));
            }
            if let Some((begun, from)) = start {
                let cost = miss + end + vain * share - begun;
                if cost < late.0 {
                    late = (cost, Window { from, until: at });
                }
            }
            let begins_by = LEAD + work;
            if at > begins_by * 4 && start.is_none_or(|(begun, _)| end > begun) {
                start = Some((end, at - begins_by));
            }
        }
        if odds.late && late.0 < early.0 * LATE_SHARE_MAX { late.1 } else { early.1 }
    }
}

/// How likely which idle times are.
#[derive(Clone)]
struct Odds {
    points: Vec<Point>,
    late: bool,
}

/// At an edge of the histogram: the expected idle time up to it, and the share of idle times that are at least as long.
#[derive(Clone, Copy)]
struct Point {
    at: Duration,
    held_s: f64,
    share: f64,
}

impl Odds {
    fn of(history: &History) -> Self {
        let all = f64::from(history.total()) + PRIOR;
        let prior = PRIOR / (EDGES + 1) as f64;
        let (mut before, mut share, mut held_s) = (0.0, 1.0, 0.0);
        let mut points = Vec::with_capacity(EDGES);
        for (at, n) in history.bins().enumerate().take(EDGES) {
            let until = edge(at);
            let left = share - (f64::from(n) + prior) / all;
            held_s += (until.as_secs_f64() - before) * (share + left) / 2.0;
            (before, share) = (until.as_secs_f64(), left);
            points.push(Point { at: until, held_s, share });
        }
        Self { points, late: history.total() >= LATE_ENTRIES_MIN }
    }
}
