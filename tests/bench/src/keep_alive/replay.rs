//! One function under one policy: every call finds something warm or waits for a start, and what lies idle meanwhile is
//! counted.
//!
//! The policy's own code makes the plan, and the rules by which it is followed are those of the engine's pools: last in,
//! first out; a spare after what has run; a template let go of only when nothing of it is left. The machine is taken to
//! be large enough, so that functions do not meet.

use super::Starts;
use super::load::Function;
use engine::keep::{Costs, History, KeepAlive, Plan, TemplateCosts, Window};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// What came of it.
#[derive(Default)]
pub struct Tally {
    pub idle_gb_s: f64,
    /// Of that, templates and spares.
    pub template_gb_s: f64,
    pub spare_gb_s: f64,
    /// Starts that found nothing, and those from a template.
    pub cold: u64,
    pub forked: u64,
    pub parked: u64,
    pub calls: u64,
    /// Starts made ahead of a call that were let go of unused.
    pub vain: u64,
    /// Added latency in microseconds → calls.
    pub waits: std::collections::BTreeMap<u64, u64>,
}

impl Tally {
    /// The latency below which this share of calls stays, in milliseconds.
    pub fn ms(&self, share: f64) -> f64 {
        let rank = (share * self.calls as f64) as u64;
        let mut below = 0;
        for (us, n) in &self.waits {
            below += n;
            if below > rank {
                return *us as f64 / 1e3;
            }
        }
        0.0
    }
}

struct Running<'a> {
    policy: &'a dyn KeepAlive,
    starts: &'a Starts,
    tally: &'a mut Tally,
    costs: Costs,
    init_s: f64,
    history: History,
    plan: Plan,
    planned_at: u64,
    /// When each idle instance was last used; the last one is the one used last.
    idle: Vec<f64>,
    /// Ends of runs.
    busy: BinaryHeap<Reverse<u64>>,
    /// When the function was last left without a call, and when it last had one again, in seconds.
    rested: f64,
    roused: f64,
    /// When the spare that was taken last has been replaced.
    refilled: f64,
}

/// Replays a function's calls.
pub fn replay(
    function: &Function,
    calls: &[(f64, f64)],
    policy: &dyn KeepAlive,
    starts: &Starts,
    tally: &mut Tally,
    end: f64,
) {
    let bytes = |mb: f64| (mb * 1e6) as u64;
    let template = starts.templates.then(|| TemplateCosts {
        bytes: bytes(starts.template_mb(function.process_mb)),
        start: Duration::from_secs_f64(starts.fork_ms / 1e3),
    });
    let costs = Costs {
        instance_bytes: bytes(if starts.templates { starts.instance_mb } else { function.process_mb }),
        spare_bytes: bytes(if starts.templates { starts.spare_mb } else { function.process_mb }),
        start: Duration::from_secs_f64(function.init_s * if starts.templates { starts.init_share } else { 1.0 }),
        template,
    };
    let history = History::default();
    let plan = policy.plan(&history, &costs);
    let init_s = costs.start.as_secs_f64();
    let (idle, busy) = (Vec::new(), BinaryHeap::new());
    let mut running = Running {
        policy,
        starts,
        tally,
        costs,
        init_s,
        history,
        plan,
        planned_at: 0,
        idle,
        busy,
        rested: f64::NEG_INFINITY,
        roused: 0.0,
        refilled: 0.0,
    };
    for &(at, run) in calls.iter().filter(|(at, _)| *at < end) {
        running.end_runs_until(at);
        running.call(at, run);
    }
    running.end_runs_until(f64::INFINITY);
    running.expire(end.max(running.rested));
    running.rest_until(end.max(running.rested));
    let left = std::mem::take(&mut running.idle);
    left.iter().for_each(|since| running.hold(end.max(*since) - since, running.costs.instance_bytes, |_| None));
}

impl Running<'_> {
    fn call(&mut self, at: f64, run: f64) {
        let (unused, calm) = (self.rested == f64::NEG_INFINITY, self.busy.is_empty());
        let idle = Duration::from_secs_f64(if unused { 0.0 } else { (at - self.rested).max(0.0) });
        if calm {
            self.roused = at;
            if !unused {
                self.rest_until(at);
            }
        }
        self.expire(at);
        // Under way it has what it has from the end of a call on.
        let here =
            |window: Window| if calm { !unused && window.contains(idle) } else { window.contains(Duration::ZERO) };
        let spare = here(self.plan.spares) && (self.starts.templates || self.plan.spares.is_late());
        let wait_us = if let Some(since) = self.idle.pop() {
            self.hold(at - since, self.costs.instance_bytes, |_| None);
            0.0
        } else if spare && at >= self.refilled {
            self.refilled = at + self.starts.fork_ms / 1e3;
            self.tally.parked += 1;
            self.starts.parked_ms * 1e3
        } else if self.costs.template.is_some() && (here(self.plan.template) || !calm) {
            self.tally.forked += 1;
            self.starts.fork_ms * 1e3
        } else {
            self.tally.cold += 1;
            self.init_s * 1e6
        };
        self.tally.calls += 1;
        *self.tally.waits.entry(wait_us as u64).or_default() += 1;
        self.history.called(Duration::from_secs_f64(at));
        self.busy.push(Reverse(((at + wait_us / 1e6 + run) * 1e6) as u64));
    }

    /// Ends the runs that are over by now. While any ran, the template and a spare lay there too.
    fn end_runs_until(&mut self, at: f64) {
        while let Some(&Reverse(ended)) = self.busy.peek() {
            let ended = ended as f64 / 1e6;
            if ended > at {
                return;
            }
            self.busy.pop();
            self.history.ended(Duration::from_secs_f64(ended));
            self.expire(ended);
            self.idle.push(ended);
            self.rested = ended;
            if self.busy.is_empty() {
                let spare_s = if self.starts.templates { ended - self.roused } else { 0.0 };
                self.hold_ready(spare_s, ended - self.roused);
            }
            if self.busy.is_empty()
                && (self.history.count() > self.planned_at + self.planned_at / 16 || self.planned_at == 0)
            {
                self.plan = self.policy.plan(&self.history, &self.costs);
                self.planned_at = self.history.count();
            }
        }
    }

    /// Ends the instances that have been idle for too long.
    fn expire(&mut self, at: f64) {
        let keep = self.plan.instances.as_secs_f64() + self.starts.sweep_s;
        let over = self.idle.iter().take_while(|since| at - **since > keep).count();
        for _ in self.idle.drain(..over) {
            self.tally.idle_gb_s += keep * self.costs.instance_bytes as f64 / 1e9;
        }
    }

    /// Counts what is held from the end of the last call until now.
    fn rest_until(&mut self, at: f64) {
        let idle = at - self.rested;
        let Plan { spares, template, .. } = self.plan;
        let within = |window: Window| {
            let (from, until) = (window.from.as_secs_f64(), window.until.as_secs_f64());
            let sweep = if until > from { self.starts.sweep_s } else { 0.0 };
            (idle.min(until + sweep) - from.min(idle)).max(0.0)
        };
        let vain = spares.is_late() && idle >= spares.until.as_secs_f64();
        let (spared, kept) = (within(spares), within(template));
        self.tally.vain += u64::from(vain);
        self.hold_ready(spared, kept);
    }

    /// A spare, and the template, for so many seconds each.
    fn hold_ready(&mut self, spare_s: f64, template_s: f64) {
        if self.starts.templates && self.plan.spares.until > Duration::ZERO || self.plan.spares.is_late() {
            self.hold(spare_s, self.costs.spare_bytes, |tally| Some(&mut tally.spare_gb_s));
        }
        if let Some(costs) = self.costs.template {
            self.hold(template_s, costs.bytes, |tally| Some(&mut tally.template_gb_s));
        }
    }

    fn hold(&mut self, seconds: f64, bytes: u64, of: impl Fn(&mut Tally) -> Option<&mut f64>) {
        let gb_s = seconds * bytes as f64 / 1e9;
        self.tally.idle_gb_s += gb_s;
        if let Some(part) = of(self.tally) {
            *part += gb_s;
        }
    }
}
