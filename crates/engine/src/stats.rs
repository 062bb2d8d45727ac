//! What functions did in the last minute: calls, cold starts, failures, latencies. For `wadi top`.
//!
//! A function that is called has a ring of slots of five seconds, each with a few counters and a histogram on a
//! logarithmic scale, four buckets an octave: a percentile is within an eighth of the truth. A slot takes 440 bytes and
//! is made when it is first used, so a function has 6 KB at most; one that was not called for a minute has nothing. A
//! call holds the map's lock for reading and its own function's for the time of a few additions.

use crate::pool::Pooled;
use base::port::Clock;
use base::{Arn, FunctionActivity, InvokeError, Outcome, Percentiles, Scope, Start};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SLOT_S: u64 = 5;
/// A minute of whole slots, and the one that is being filled.
const SLOTS: usize = 13;
/// Whole slots from which the rate of calls is taken, beside the one that is being filled.
const RATE_SLOTS: u64 = 1;
/// Functions counted at once; what is called beyond is not shown.
const FUNCTIONS_MAX: usize = 10_000;

/// Latencies from 16 µs to 18 minutes.
const OCTAVE_FIRST: u32 = 4;
const BUCKETS_LOG2: u32 = 2;
const BUCKETS: usize = 26 << BUCKETS_LOG2;

pub(crate) struct Stats {
    clock: Arc<dyn Clock>,
    functions: RwLock<HashMap<Scope, HashMap<String, Mutex<Ring>>>>,
    /// The slot in which silent functions were last forgotten.
    forgot: AtomicU64,
}

#[derive(Default)]
struct Ring([Option<Box<Slot>>; SLOTS]);

struct Slot {
    /// Which five seconds these are, since the clock's start.
    number: u64,
    sums: Sums,
    latencies: [u32; BUCKETS],
}

#[derive(Clone, Copy, Default)]
struct Sums {
    calls: u32,
    cold_starts: u32,
    errors: u32,
    throttles: u32,
}

impl Stats {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, functions: RwLock::default(), forgot: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        self.clock.elapsed().as_secs() / SLOT_S
    }

    /// Counts a call that began at a time of the clock. One of a function that is not there counts nowhere.
    pub(crate) fn saw(&self, scope: &Scope, name: &str, began: Duration, outcome: &Result<Outcome, InvokeError>) {
        if matches!(outcome, Err(InvokeError::NotFound(_))) {
            return;
        }
        let (now, took) = (self.now(), self.clock.elapsed().saturating_sub(began));
        if let Some(ring) = self.functions.read().get(scope).and_then(|functions| functions.get(name)) {
            return ring.lock().count(now, took, outcome);
        }
        let mut scopes = self.functions.write();
        if self.forgot.swap(now, Ordering::Relaxed) != now {
            forget(&mut scopes, now);
        }
        if scopes.values().map(HashMap::len).sum::<usize>() < FUNCTIONS_MAX {
            let ring = scopes.entry(scope.clone()).or_default().entry(name.to_owned()).or_default();
            ring.lock().count(now, took, outcome);
        }
    }

    /// The functions of a scope that do something, or did within the minute, by name.
    pub(crate) fn activity(&self, scope: &Scope, pools: Vec<Pooled>) -> Vec<FunctionActivity> {
        let mut all = BTreeMap::<String, FunctionActivity>::new();
        let now = self.now();
        let into_slot = (self.clock.elapsed().as_secs_f64() - (now * SLOT_S) as f64).max(0.0);
        let over_s = (RATE_SLOTS * SLOT_S) as f64 + into_slot;
        forget(&mut self.functions.write(), now);
        for (name, ring) in self.functions.read().get(scope).into_iter().flatten() {
            all.insert(name.clone(), ring.lock().activity(now, over_s));
        }
        for pool in pools {
            let Some(name) = name_in(&pool.arn, scope) else { continue };
            let function = all.entry(name).or_default();
            let more = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            function.idle += more(pool.idle);
            function.busy += more(pool.busy);
            function.starting += more(pool.making);
            function.parked = Some(function.parked.unwrap_or(0) + more(pool.parked));
            function.waiting += more(pool.waiting);
        }
        all.into_iter().map(|(name, activity)| FunctionActivity { name, ..activity }).collect()
    }
}

/// Drops the functions that were not called within the minute.
fn forget(scopes: &mut HashMap<Scope, HashMap<String, Mutex<Ring>>>, now: u64) {
    for functions in scopes.values_mut() {
        functions.retain(|_, ring| ring.get_mut().recent(now).next().is_some());
    }
    scopes.retain(|_, functions| !functions.is_empty());
}

/// The function's name, if the ARN is one of the scope's.
fn name_in(arn: &str, scope: &Scope) -> Option<String> {
    let arn: Arn = arn.parse().ok()?;
    let ours = arn.account == scope.account.as_str() && arn.region == scope.region.as_str();
    arn.resource.strip_prefix("function:").filter(|_| ours).map(str::to_owned)
}

impl Ring {
    fn count(&mut self, now: u64, took: Duration, outcome: &Result<Outcome, InvokeError>) {
        let slot = self.0[(now % SLOTS as u64) as usize].get_or_insert_with(|| Box::new(Slot::of(now)));
        if slot.number != now {
            **slot = Slot::of(now);
        }
        let sums = &mut slot.sums;
        match outcome {
            Err(InvokeError::Throttled { .. }) => {
                sums.throttles += 1;
                return;
            }
            Err(_) => sums.errors += 1,
            Ok(outcome) => {
                sums.errors += u32::from(outcome.result.is_err());
                sums.cold_starts += u32::from(outcome.start == Start::Cold);
            }
        }
        sums.calls += 1;
        slot.latencies[bucket(took)] += 1;
    }

    fn recent(&self, now: u64) -> impl Iterator<Item = &Slot> {
        self.0.iter().flatten().map(Box::as_ref).filter(move |slot| slot.number + SLOTS as u64 > now)
    }

    fn activity(&self, now: u64, over_s: f64) -> FunctionActivity {
        let (mut sums, mut latencies, mut lately) = (Sums::default(), [0; BUCKETS], 0);
        for slot in self.recent(now) {
            sums.calls += slot.sums.calls;
            sums.cold_starts += slot.sums.cold_starts;
            sums.errors += slot.sums.errors;
            sums.throttles += slot.sums.throttles;
            latencies.iter_mut().zip(slot.latencies).for_each(|(sum, count)| *sum += count);
            if slot.number + RATE_SLOTS >= now {
                lately += slot.sums.calls;
            }
        }
        FunctionActivity {
            calls_per_second: f64::from(lately) / over_s,
            calls: sums.calls.into(),
            cold_starts: sums.cold_starts.into(),
            errors: sums.errors.into(),
            throttles: sums.throttles.into(),
            latency: percentiles(&latencies),
            ..FunctionActivity::default()
        }
    }
}

impl Slot {
    fn of(number: u64) -> Self {
        Self { number, sums: Sums::default(), latencies: [0; BUCKETS] }
    }
}

/// The highest bits of a latency: its octave, and which quarter of it.
fn bucket(took: Duration) -> usize {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1 << OCTAVE_FIRST);
    let octave = us.ilog2();
    let quarter = (us >> (octave - BUCKETS_LOG2)) & ((1 << BUCKETS_LOG2) - 1);
    ((((octave - OCTAVE_FIRST) << BUCKETS_LOG2) as usize) + quarter as usize).min(BUCKETS - 1)
}

/// The middle of a bucket, in milliseconds.
fn middle_ms(bucket: usize) -> f64 {
    let (octave, quarter) = (bucket >> BUCKETS_LOG2, bucket % (1 << BUCKETS_LOG2));
    let whole = f64::from(1 << BUCKETS_LOG2);
    (1u64 << (octave as u32 + OCTAVE_FIRST)) as f64 * (1.0 + (quarter as f64 + 0.5) / whole) / 1000.0
}

fn percentiles(latencies: &[u32; BUCKETS]) -> Option<Percentiles> {
    let all: u64 = latencies.iter().map(|count| u64::from(*count)).sum();
    if all == 0 {
        return None;
    }
    let at = |quantile: f64| {
        let rank = ((all as f64 * quantile).ceil() as u64).max(1);
        let mut below = 0;
        let found = latencies.iter().position(|count| {
            below += u64::from(*count);
            below >= rank
        });
        middle_ms(found.unwrap_or(BUCKETS - 1))
    };
    Some(Percentiles { p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{FunctionError, Timestamp};
    use bytes::Bytes;
    use kit::{ManualClock, scope};

    fn outcome(start: Start, fails: bool) -> Result<Outcome, InvokeError> {
        let error = FunctionError { kind: "Unhandled", error_type: "E".into(), body: Bytes::new() };
        Ok(Outcome {
            request_id: "r".into(),
            executed_version: "1".into(),
            instance: "i".into(),
            result: if fails { Err(error) } else { Ok(Bytes::new()) },
            log_tail: Bytes::new(),
            start,
            started: Timestamp(0),
            duration_us: 1,
            billed_ms: 1,
        })
    }

    #[test]
    fn buckets_are_within_an_eighth() {
        for us in (16..2_000).chain((1..900).map(|n| n * 1_000_003)) {
            let middle = middle_ms(bucket(Duration::from_micros(us)));
            let error = (middle * 1000.0 / us as f64 - 1.0).abs();
            assert!(error <= 0.125, "{us} µs is told as {middle} ms");
        }
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_minute_is_remembered_and_no_more() {
        let clock = ManualClock::at(Timestamp(0));
        let stats = Stats::new(clock.clone());
        let saw = |name: &str, ms: u64, outcome| {
            let began = clock.elapsed();
            clock.advance(Duration::from_millis(ms));
            stats.saw(&scope(), name, began, &outcome);
        };
        for n in 0..100 {
            saw("f", if n < 95 { 1 } else { 40 }, outcome(if n == 0 { Start::Cold } else { Start::Warm }, n < 3));
        }
        saw("f", 0, Err(InvokeError::Throttled { reason: "x" }));
        saw("no-such", 0, Err(InvokeError::NotFound("arn".into())));
        let seen = stats.activity(&scope(), Vec::new());
        assert_eq!(seen.len(), 1);
        let f = &seen[0];
        assert_eq!((f.calls, f.cold_starts, f.errors, f.throttles), (100, 1, 3, 1));
        let latency = f.latency.expect("calls were answered");
        assert!((0.9..1.15).contains(&latency.p50_ms) && (0.9..1.15).contains(&latency.p90_ms), "{latency:?}");
        assert!((36.0..45.0).contains(&latency.p99_ms), "{latency:?}");
        assert!((15.0..20.1).contains(&f.calls_per_second), "{}", f.calls_per_second);

        clock.advance(Duration::from_secs(30));
        let f = &stats.activity(&scope(), Vec::new())[0];
        assert_eq!((f.calls, f.calls_per_second), (100, 0.0));
        clock.advance(Duration::from_secs(40));
        assert_eq!(stats.activity(&scope(), Vec::new()), Vec::new());
        assert!(stats.functions.read().is_empty(), "nothing is kept of a silent function");
    }

    #[test]
    fn pools_are_added_up_by_function() {
        let stats = Stats::new(ManualClock::at(Timestamp(0)));
        let pool = |region: &str, idle, busy| Pooled {
            arn: format!("arn:aws:lambda:{region}:000000000000:function:f"),
            idle,
            busy,
            parked: 0,
            making: 1,
            waiting: 2,
        };
        let pools = vec![pool("us-east-1", 1, 2), pool("us-east-1", 3, 4), pool("eu-west-1", 50, 60)];
        let seen = stats.activity(&scope(), pools);
        assert_eq!(seen.len(), 1);
        let f = &seen[0];
        assert_eq!((f.name.as_str(), f.idle, f.busy, f.starting, f.waiting), ("f", 4, 6, 2, 4));
        assert_eq!(f.latency, None);
    }
}
