//! What there is: pools by version, who waits, what each function holds of the machine.

use super::track::{Function, Track};
use super::{Key, Kind, Member, Offer, Waiting, stopping};
use crate::Version;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// An instance on its way to a caller.
pub(super) struct Offered<T> {
    pub member: T,
    pub kind: Kind,
}

pub(super) struct State<T> {
    pub pools: HashMap<Key, Pool<T>>,
    /// Those whose callers outnumber what is being made for them.
    pub hungry: HashSet<Key>,
    /// Those that may lack a spare.
    pub wishes: HashSet<Key>,
    /// Those that have, or are to have, provisioned instances.
    pub provisioned: HashSet<Key>,
    /// What is remembered of functions, also of those without an instance.
    pub tracks: HashMap<Function, Arc<Mutex<Track>>>,
    /// Places on the machine that members hold or are being made on.
    pub held: usize,
    /// Instances being made, as far as they count against the bound.
    pub raising: usize,
    /// Counts grants, so that functions take turns.
    pub turn: u64,
    numbers: u64,
    /// A task waits on behalf of all for the machine to have room.
    pub awaiting: bool,
    pub closed: bool,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self {
            pools: HashMap::new(),
            hungry: HashSet::new(),
            wishes: HashSet::new(),
            provisioned: HashSet::new(),
            tracks: HashMap::new(),
            held: 0,
            raising: 0,
            turn: 0,
            numbers: 0,
            awaiting: false,
            closed: false,
        }
    }
}

pub(super) struct Pool<T> {
    pub version: Arc<Version>,
    pub track: Arc<Mutex<Track>>,
    pub idle: Vec<Idle<T>>,
    /// Ready and never used.
    pub spares: Vec<Idle<T>>,
    pub waiting: VecDeque<Waiter<T>>,
    /// Instances being made for calls, to be spare, and instances that run.
    pub making: usize,
    pub making_spares: usize,
    pub out: usize,
    /// When it was last granted an instance.
    pub turn: u64,
    /// Making a spare failed: none is tried again before.
    pub spare_not_before: Duration,
    pub provisioned: Provisioned<T>,
    /// Another revision has taken over: nothing goes back in.
    pub retired: bool,
}

/// Instances that are to be ready always.
pub(super) struct Provisioned<T> {
    pub wanted: usize,
    pub idle: Vec<T>,
    pub out: usize,
    pub making: usize,
    /// Failures in a row, and when the next attempt may be.
    pub failures: u32,
    pub not_before: Duration,
}

pub(super) struct Idle<T> {
    pub member: T,
    pub since: Duration,
}

pub(super) struct Waiter<T> {
    number: u64,
    pub since: Duration,
    pub sender: oneshot::Sender<Offer<T>>,
}

impl<T> Pool<T> {
    pub(super) fn new(version: Arc<Version>, track: Arc<Mutex<Track>>) -> Self {
        let provisioned =
            Provisioned { wanted: 0, idle: Vec::new(), out: 0, making: 0, failures: 0, not_before: Duration::ZERO };
        Self {
            version,
            track,
            idle: Vec::new(),
            spares: Vec::new(),
            waiting: VecDeque::new(),
            making: 0,
            making_spares: 0,
            out: 0,
            turn: 0,
            spare_not_before: Duration::ZERO,
            provisioned,
            retired: false,
        }
    }

    pub(super) fn is_unused(&self) -> bool {
        self.held() == 0 && self.waiting.is_empty() && self.provisioned.wanted == 0 && self.provisioned.held() == 0
    }

    /// Places it holds on demand.
    pub(super) fn held(&self) -> usize {
        self.idle.len() + self.spares.len() + self.making + self.making_spares + self.out
    }

    /// Callers for whom nothing is being made yet.
    pub(super) fn unmet(&self) -> usize {
        self.waiting.len().saturating_sub(self.making)
    }
}

impl<T> Provisioned<T> {
    pub(super) fn held(&self) -> usize {
        self.idle.len() + self.out + self.making
    }

    pub(super) fn missing(&self) -> usize {
        self.wanted.saturating_sub(self.held())
    }
}

impl<T: Member> Pool<T> {
    /// A provisioned one, the one used last, or a spare; says whether it is neither idle nor provisioned. What died
    /// meanwhile is put aside.
    pub(super) fn take_ready(&mut self, unusable: &mut Vec<T>) -> (Option<Offered<T>>, bool) {
        while let Some(member) = self.provisioned.idle.pop() {
            if member.usable() {
                self.provisioned.out += 1;
                return (Some(Offered { member, kind: Kind::Provisioned }), false);
            }
            unusable.push(member);
        }
        while let Some((Idle { member, .. }, spare)) =
            self.idle.pop().map(|idle| (idle, false)).or_else(|| self.spares.pop().map(|spare| (spare, true)))
        {
            if member.usable() {
                self.out += 1;
                return (Some(Offered { member, kind: Kind::OnDemand }), spare);
            }
            unusable.push(member);
        }
        (None, false)
    }

    /// Gives an instance to whoever waits longest.
    fn offer(&mut self, offered: Offered<T>) -> Result<(), Offered<T>> {
        let (kind, mut offered) = (offered.kind, offered);
        while let Some(waiter) = self.waiting.pop_front() {
            match waiter.sender.send(Ok(offered)) {
                Ok(()) => {
                    *self.running(kind) += 1;
                    return Ok(());
                }
                Err(Ok(back)) => offered = back,
                Err(Err(_)) => unreachable!("what comes back is what was sent"),
            }
        }
        Err(offered)
    }

    fn running(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::OnDemand => &mut self.out,
            Kind::Provisioned => &mut self.provisioned.out,
        }
    }
}

impl<T: Member> State<T> {
    /// Puts a caller at the end of its function's queue.
    pub(super) fn queue(&mut self, key: &Key, since: Duration) -> (u64, Waiting<T>) {
        let (sender, receiver) = oneshot::channel();
        self.numbers += 1;
        let number = self.numbers;
        if let Some(pool) = self.pools.get_mut(key) {
            pool.waiting.push_back(Waiter { number, since, sender });
        }
        self.appraise(key);
        (number, receiver)
    }

    /// Whether an instance is being made for this caller.
    pub(super) fn is_served(&self, key: &Key, number: u64) -> bool {
        self.pools.get(key).is_none_or(|pool| {
            pool.waiting.iter().position(|waiter| waiter.number == number).is_none_or(|at| at < pool.making)
        })
    }

    pub(super) fn leave_queue(&mut self, key: &Key, number: u64) {
        if let Some(pool) = self.pools.get_mut(key) {
            pool.waiting.retain(|waiter| waiter.number != number);
        }
        self.appraise(key);
        self.forget_if_unused(key);
    }

    /// Notes whether a pool's callers outnumber what is being made for them.
    pub(super) fn appraise(&mut self, key: &Key) {
        match self.pools.get(key).is_some_and(|pool| pool.unmet() > 0) {
            true if !self.hungry.contains(key) => {
                self.hungry.insert(key.clone());
            }
            true => {}
            false => {
                self.hungry.remove(key);
            }
        }
    }

    /// An instance comes from a run or is new. Gives it back if it is to end.
    pub(super) fn hand_on(
        &mut self,
        key: &Key,
        offered: Offered<T>,
        gives_way: bool,
        new: bool,
        now: Duration,
    ) -> Option<T> {
        let kind = offered.kind;
        let closed = self.closed;
        let Some(pool) = self.pools.get_mut(key) else {
            self.held -= 1;
            return Some(offered.member);
        };
        if !new {
            *pool.running(kind) -= 1;
            if let Some(bytes) = offered.member.bytes() {
                pool.track.lock().weighed(bytes);
            }
        }
        let offered = if gives_way { Err(offered) } else { pool.offer(offered) };
        let mut gone = None;
        if let Err(Offered { mut member, .. }) = offered {
            let surplus = kind == Kind::Provisioned && pool.provisioned.held() >= pool.provisioned.wanted;
            if closed || pool.retired || gives_way || surplus || !member.usable() {
                self.held -= 1;
                gone = Some(member);
            } else {
                if new {
                    member.set_aside();
                }
                match kind {
                    Kind::OnDemand => pool.idle.push(Idle { member, since: now }),
                    Kind::Provisioned => pool.provisioned.idle.push(member),
                }
            }
        }
        self.appraise(key);
        self.forget_if_unused(key);
        gone
    }

    pub(super) fn lost(&mut self, key: &Key, kind: Kind) {
        self.held -= 1;
        if let Some(pool) = self.pools.get_mut(key) {
            *pool.running(kind) -= 1;
        }
        self.forget_if_unused(key);
    }

    /// What is to end because another revision, or none, has taken over.
    pub(super) fn retire(&mut self, arn: &str, version: &str, keep_revision: Option<&str>) -> Vec<T> {
        let mut gone = Vec::new();
        for (key, pool) in &mut self.pools {
            if key.arn == arn && key.version == version && Some(key.revision.as_str()) != keep_revision {
                pool.retired = true;
                pool.provisioned.wanted = 0;
                pool.track.lock().retired = true;
                gone.extend(pool.idle.drain(..).chain(pool.spares.drain(..)).map(|idle| idle.member));
                gone.append(&mut pool.provisioned.idle);
            }
        }
        if keep_revision.is_none() {
            self.tracks.remove(&Function { arn: arn.to_owned(), version: version.to_owned() });
        }
        let other =
            |key: &Key| key.arn != arn || key.version != version || Some(key.revision.as_str()) == keep_revision;
        self.provisioned.retain(other);
        self.held -= gone.len();
        self.pools.retain(|_, pool| !pool.is_unused());
        gone
    }

    pub(super) fn close(&mut self) -> Vec<T> {
        self.closed = true;
        self.hungry.clear();
        self.wishes.clear();
        let mut gone = Vec::new();
        for pool in self.pools.values_mut() {
            gone.extend(pool.idle.drain(..).chain(pool.spares.drain(..)).map(|idle| idle.member));
            gone.append(&mut pool.provisioned.idle);
            for waiter in pool.waiting.drain(..) {
                let _ = waiter.sender.send(Err(stopping()));
            }
        }
        self.held -= gone.len();
        gone
    }

    /// The one idle or set aside longest, of whatever function.
    pub(super) fn take_longest_idle(&mut self) -> Option<(Key, T)> {
        // The one idle longest of a pool is its first.
        let first = |pool: &Pool<T>| {
            let of = |list: &[Idle<T>]| list.first().map(|idle| idle.since);
            of(&pool.idle).into_iter().chain(of(&pool.spares)).min()
        };
        let longest = self.pools.iter().filter_map(|(key, pool)| Some((first(pool)?, key)));
        let (since, key) = longest.min_by_key(|(since, _)| *since).map(|(since, key)| (since, key.clone()))?;
        let pool = self.pools.get_mut(&key)?;
        let list =
            if pool.idle.first().is_some_and(|idle| idle.since == since) { &mut pool.idle } else { &mut pool.spares };
        let member = list.remove(0).member;
        self.held -= 1;
        self.forget_if_unused(&key);
        Some((key, member))
    }

    pub(super) fn forget_if_unused(&mut self, key: &Key) {
        if self.pools.get(key).is_some_and(Pool::is_unused) {
            self.pools.remove(key);
        }
    }
}
