//! What is remembered of a function's version: when it was called, what its starts took, what it holds; and the plan that
//! the keep-alive policy made of that.

use super::{INSTANCE_BYTES, Key, Upkeep};
use crate::Version;
use crate::keep::{Costs, History, KeepAlive, Plan, TemplateCosts};
use base::port::Clock;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// A start from nothing, and a copy of what is initialised, before they have been measured.
const START: Duration = Duration::from_millis(300);
const COPY_START: Duration = Duration::from_millis(4);

/// A version whatever its revision: what it was like before a deploy tells what it will be like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Function {
    pub arn: String,
    pub version: String,
}

impl Function {
    pub(super) fn of(key: &Key) -> Self {
        Self { arn: key.arn.clone(), version: key.version.clone() }
    }
}

pub(super) struct Track {
    pub key: Key,
    pub version: Arc<Version>,
    history: History,
    plan: Plan,
    /// The history had so many entries when the plan was made.
    planned_at: Option<u64>,
    start: Option<Duration>,
    template_start: Option<Duration>,
    bytes: Option<u64>,
    /// A template may be live.
    pub template: bool,
    /// Its revision was retired, and no call of another has come yet.
    pub retired: bool,
    pub last_used: Duration,
}

impl Track {
    pub(super) fn new(key: Key, version: Arc<Version>, now: Duration) -> Self {
        Self {
            key,
            version,
            history: History::default(),
            plan: Plan::default(),
            planned_at: None,
            start: None,
            template_start: None,
            bytes: None,
            template: false,
            retired: false,
            last_used: now,
        }
    }

    /// How long it has had no call; zero while it has one.
    pub(super) fn idle(&self, now: Duration) -> Duration {
        self.history.idle(now)
    }

    pub(super) fn named(&self) -> (Key, Arc<Version>) {
        (self.key.clone(), self.version.clone())
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn is_planned(&self) -> bool {
        self.planned_at.is_some()
    }

    /// Makes the plan anew where more is known than when it was made.
    pub(super) fn replan(&mut self, policy: &dyn KeepAlive, upkeep: Upkeep) {
        let count = self.history.count();
        // Every entry counts at first; later a plan is good for a while.
        if self.planned_at.is_some_and(|at| count < at + 1 + at / 16 && count >= at) {
            return;
        }
        self.plan = policy.plan(&self.history, &self.costs(upkeep));
        self.planned_at = Some(count);
    }

    fn costs(&self, upkeep: Upkeep) -> Costs {
        let start = self.start.unwrap_or(START);
        // An interpreter's start is about half of one, the initialisation the other.
        let guess = if upkeep.initialises { start / 2 } else { COPY_START };
        let template =
            upkeep.template_bytes.map(|bytes| TemplateCosts { bytes, start: self.template_start.unwrap_or(guess) });
        let instance_bytes = self.bytes.unwrap_or(INSTANCE_BYTES);
        Costs { instance_bytes, spare_bytes: upkeep.spare_bytes, start, template }
    }

    /// Spares that the plan wants now. One that is dear is only kept ready where the plan lets go of it first and has it
    /// made again in time for the next call.
    pub(super) fn spares_wanted(&self, cheap: usize, idle_instances: usize, now: Duration) -> usize {
        let window = self.plan.spares;
        match window.contains(self.idle(now)) {
            true if window.is_late() && idle_instances == 0 => cheap.max(1),
            true => cheap,
            false => 0,
        }
    }

    /// A start took so long; the average leans to the last ones.
    pub(super) fn started(&mut self, took: Duration, templated: bool) {
        let known = if templated { &mut self.template_start } else { &mut self.start };
        // A plan made of a guess is not for long.
        self.planned_at = self.planned_at.filter(|at| *at > 0 && known.is_some());
        *known = Some(known.map_or(took, |known| (known * 3 + took) / 4));
        self.template = true;
    }

    pub(super) fn weighed(&mut self, bytes: u64) {
        self.bytes = Some(self.bytes.map_or(bytes, |known| (known * 3 + bytes) / 4));
    }

    pub(super) fn bytes(&self) -> Option<u64> {
        self.bytes
    }
}

/// A call of a function, from the moment it asks for an instance until it has given it up.
pub(super) struct Busy {
    track: Arc<Mutex<Track>>,
    clock: Arc<dyn Clock>,
}

impl Busy {
    pub(super) fn new(track: Arc<Mutex<Track>>, clock: Arc<dyn Clock>) -> Self {
        track.lock().history.called(clock.elapsed());
        Self { track, clock }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let now = self.clock.elapsed();
        let mut track = self.track.lock();
        track.history.ended(now);
        track.last_used = now;
    }
}
