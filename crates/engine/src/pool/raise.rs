//! Raising instances: for whom the next one is made, on which place, and how many at once.
//!
//! Two things are scarce. Places: instances alive on the machine. Slots: instances being made, which is work for its
//! cores; more at once than a few for each core only makes all of them later. Both go to functions, not to calls: a slot
//! to the function for which least is being made, a place on a full machine to the one that holds the fewest.

use super::state::{Idle, Offered, Pool, State};
use super::{INSTANCE_BYTES, Key, Kind, Maker, Member, Pools, Purpose, SPARE_LATER, gauge};
use crate::Version;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Longer than this, making an instance does not count against the bound: it waits (for a package, for what its
/// initialisation waits for), or keeps one core busy that the kernel shares out.
const SLOT_MAX: Duration = Duration::from_secs(1);
/// Where functions outnumber places, one that has none is given another's last after waiting so long. Shorter, and the
/// machine would do nothing but start instances.
const SLICE: Duration = Duration::from_millis(100);
/// After a spare could not be made, and after the first failure of a provisioned one (doubled each time, up to
/// [`PROVISIONED_PAUSE_MAX`]).
const SPARE_PAUSE: Duration = Duration::from_secs(30);
const PROVISIONED_PAUSE: Duration = Duration::from_secs(1);
const PROVISIONED_PAUSE_MAX: Duration = Duration::from_secs(60);

/// One instance to make.
struct Order {
    key: Key,
    version: Arc<Version>,
    place: OwnedSemaphorePermit,
    purpose: Purpose,
    /// Whether it is made from a live template.
    templated: bool,
}

enum Step<T> {
    Make(Order),
    /// To make room.
    End(T),
    AwaitPlace,
    AwaitMemory,
    Rest,
}

impl<M: Maker> Pools<M> {
    /// Starts as many instances as are wanted and the machine bears now.
    pub(super) fn raise(self: &Arc<Self>) {
        loop {
            let step = self.next_step(&mut self.state.lock());
            match step {
                Step::Make(order) => drop(self.tasks.spawn(self.clone().make(order))),
                Step::End(member) => drop(member),
                Step::AwaitPlace => {
                    let pools = self.clone();
                    return drop(self.tasks.spawn(async move {
                        // It is given back at once: whom it goes to is decided when it is there.
                        drop(pools.places.clone().acquire_owned().await);
                        pools.go_on();
                    }));
                }
                Step::AwaitMemory => {
                    let pools = self.clone();
                    return drop(self.tasks.spawn(async move {
                        pools.clock.sleep(gauge::READING_LASTS).await;
                        pools.go_on();
                    }));
                }
                Step::Rest => return,
            }
        }
    }

    fn go_on(self: &Arc<Self>) {
        self.state.lock().awaiting = false;
        self.raise();
    }

    fn next_step(&self, state: &mut State<M::Made>) -> Step<M::Made> {
        if state.closed || state.raising >= self.bounds.raising_max {
            return Step::Rest;
        }
        let now = self.clock.elapsed();
        let full = self.places.available_permits() == 0;
        let provisioned = state.short_of_provisioned(now).map(|key| (key, Purpose::Provisioned));
        let wanted = provisioned.or_else(|| state.neediest(full).map(|key| (key, Purpose::Call)));
        let Some((key, purpose)) = wanted else {
            return self.spare(state, now);
        };
        if !self.fits(state, &key, 1, now) {
            return match state.take_longest_idle() {
                Some((_, member)) => {
                    self.gauge.freed(member.bytes().unwrap_or(INSTANCE_BYTES));
                    Step::End(member)
                }
                // One instance is always borne, as by the machine's bound.
                None if state.held == 0 => self.grant(state, key, purpose).unwrap_or(Step::Rest),
                None => await_once(state, Step::AwaitMemory),
            };
        }
        if let Some(step) = self.grant(state, key, purpose) {
            return step;
        }
        // As many idle ones end as can be replaced, less those that are ending already.
        let short = state.wanted().min(self.bounds.raising_max - state.raising);
        if short > self.ending(state)
            && let Some((_, member)) = state.take_longest_idle()
        {
            return Step::End(member);
        }
        await_once(state, Step::AwaitPlace)
    }

    /// A spare for a version that should have one, if nothing is being made that somebody may wait for, and there is room
    /// without asking anybody to go.
    fn spare(&self, state: &mut State<M::Made>, now: Duration) -> Step<M::Made> {
        if state.raising > 0 {
            return Step::Rest;
        }
        let due = |state: &State<M::Made>| {
            let due = |key: &&Key| state.pools.get(*key).is_none_or(|pool| pool.spare_not_before <= now);
            state.wishes.iter().find(due).cloned()
        };
        while let Some(key) = due(state) {
            state.wishes.remove(&key);
            let Some(pool) = state.pools.get(&key) else { continue };
            let upkeep = self.maker.upkeep(&pool.version);
            let wanted = pool.track.lock().spares_wanted(upkeep.spares, pool.idle.len(), now);
            let missing = wanted.saturating_sub(pool.spares.len() + pool.making_spares);
            if missing == 0 || pool.retired || !self.fits(state, &key, 2, now) {
                continue;
            }
            if let Some(step) = self.grant(state, key.clone(), Purpose::Spare) {
                if missing > 1 {
                    state.wishes.insert(key);
                }
                return step;
            }
        }
        Step::Rest
    }

    /// Whether there is memory for so many more instances of a version.
    fn fits(&self, state: &State<M::Made>, key: &Key, times: u64, now: Duration) -> bool {
        self.gauge.fits(self.reckoned(state, key).saturating_mul(times), now)
    }

    /// What the next instance of a version is reckoned to hold.
    fn reckoned(&self, state: &State<M::Made>, key: &Key) -> u64 {
        let Some(pool) = state.pools.get(key) else { return INSTANCE_BYTES };
        let upkeep = self.maker.upkeep(&pool.version);
        match upkeep.template_bytes {
            Some(_) => upkeep.spare_bytes,
            None => pool.track.lock().bytes().unwrap_or(INSTANCE_BYTES),
        }
    }

    /// `None` if there is no place.
    fn grant(&self, state: &mut State<M::Made>, key: Key, purpose: Purpose) -> Option<Step<M::Made>> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        self.gauge.spent(self.reckoned(state, &key));
        state.held += 1;
        state.raising += 1;
        state.turn += 1;
        let turn = state.turn;
        let pool = state.pools.get_mut(&key)?;
        pool.turn = turn;
        *pool.making(purpose) += 1;
        let version = pool.version.clone();
        let templated = self.maker.upkeep(&version).template_bytes.is_some();
        state.appraise(&key);
        Some(Step::Make(Order { key, version, place, purpose, templated }))
    }

    /// Places of members that have been given up and are not quite gone.
    fn ending(&self, state: &State<M::Made>) -> usize {
        self.bounds.places_max.saturating_sub(self.places.available_permits()).saturating_sub(state.held)
    }

    /// Whether a function's instance that comes back from a run is to end, so that its place goes to a function that
    /// holds fewer.
    pub(super) fn gives_way(&self, state: &State<M::Made>, key: &Key, now: Duration) -> bool {
        let alone = state.hungry.is_empty() || (state.hungry.len() == 1 && state.hungry.contains(key));
        if alone || self.places.available_permits() > 0 || state.raising >= self.bounds.raising_max {
            return false;
        }
        let Some(mine) = state.pools.get(key) else { return false };
        let others = || state.hungry.iter().filter(|other| *other != key).filter_map(|other| state.pools.get(other));
        let poorer = others().filter(|other| {
            other.held() + 1 < mine.held() || (other.held() == 0 && mine.held() == 1 && other.waited(now) >= SLICE)
        });
        let short: usize = poorer.map(|other| other.unmet().min(mine.held() - other.held())).sum();
        short > self.ending(state)
    }

    /// Makes one instance and offers it to whoever waits longest, who may no longer be the caller it was started for.
    async fn make(self: Arc<Self>, order: Order) {
        let Order { key, version, place, purpose, templated } = order;
        let slot = Slot(self.clone());
        let began = self.clock.elapsed();
        let mut making = pin!(self.maker.make(version, place, purpose));
        let made = tokio::select! {
            biased;
            made = &mut making => made,
            () = self.clock.sleep(SLOT_MAX) => {
                drop(slot);
                let made = making.await;
                self.made(&key, purpose, made, began, templated);
                return;
            }
        };
        self.made(&key, purpose, made, began, templated);
        drop(slot);
    }

    fn made(
        self: &Arc<Self>,
        key: &Key,
        purpose: Purpose,
        made: Result<M::Made, base::InvokeError>,
        began: Duration,
        templated: bool,
    ) {
        let now = self.clock.elapsed();
        let mut state = self.state.lock();
        let sound = made.as_ref().is_ok_and(Member::usable);
        if let Some(pool) = state.pools.get_mut(key) {
            *pool.making(purpose) -= 1;
            if sound {
                pool.track.lock().started(now.saturating_sub(began), templated);
            }
            pool.note_attempt(purpose, sound, now);
        }
        let gone = match made {
            Ok(member) => state.place(key, member, purpose, now),
            Err(error) => {
                state.held -= 1;
                let waiter = if purpose == Purpose::Call { state.next_waiter(key) } else { None };
                if let Some(waiter) = waiter {
                    let _ = waiter.send(Err(error));
                }
                state.forget_if_unused(key);
                None
            }
        };
        state.wishes.insert(key.clone());
        if purpose == Purpose::Call
            && let Some(pool) = state.pools.get_mut(key)
        {
            pool.spare_not_before = pool.spare_not_before.max(now + SPARE_LATER);
            self.raise_later();
        }
        drop(state);
        drop(gone);
        self.raise();
    }

    /// When spares may be made for calls of now.
    pub(super) fn raise_later(self: &Arc<Self>) {
        let pools = self.clone();
        self.tasks.spawn(async move {
            pools.clock.sleep(SPARE_LATER).await;
            pools.raise();
        });
    }
}

impl<T: Member> State<T> {
    /// The function whose turn it is.
    fn neediest(&self, full: bool) -> Option<Key> {
        let hungry = self.hungry.iter().filter_map(|key| Some((key, self.pools.get(key)?)));
        let rank = |pool: &Pool<T>| (if full { pool.held() } else { pool.making }, pool.turn);
        hungry.min_by_key(|(_, pool)| rank(pool)).map(|(key, _)| key.clone())
    }

    /// A version with fewer provisioned instances than it is to have.
    fn short_of_provisioned(&self, now: Duration) -> Option<Key> {
        let short = |key: &&Key| {
            let pool = self.pools.get(*key);
            pool.is_some_and(|pool| pool.provisioned.missing() > 0 && now >= pool.provisioned.not_before)
        };
        self.provisioned.iter().find(short).cloned()
    }

    /// Instances that are wanted now.
    fn wanted(&self) -> usize {
        let pools = self.hungry.iter().filter_map(|key| self.pools.get(key));
        let provisioned = self.provisioned.iter().filter_map(|key| self.pools.get(key));
        pools.map(Pool::unmet).sum::<usize>() + provisioned.map(|pool| pool.provisioned.missing()).sum::<usize>()
    }

    /// Where a new member goes: to a caller, or to the ready ones. Gives it back if it is to end.
    fn place(&mut self, key: &Key, member: T, purpose: Purpose, now: Duration) -> Option<T> {
        let kind = if purpose == Purpose::Provisioned { Kind::Provisioned } else { Kind::OnDemand };
        if purpose == Purpose::Call || self.pools.get(key).is_some_and(|pool| !pool.waiting.is_empty()) {
            return self.hand_on(key, Offered { member, kind }, false, true, now);
        }
        let (closed, mut member) = (self.closed, member);
        match self.pools.get_mut(key) {
            // As many may not be wanted any more as when it was begun.
            Some(pool)
                if !closed
                    && !pool.retired
                    && member.usable()
                    && (kind == Kind::OnDemand || pool.provisioned.missing() > 0) =>
            {
                member.set_aside();
                match kind {
                    Kind::Provisioned => pool.provisioned.idle.push(member),
                    Kind::OnDemand => pool.spares.push(Idle { member, since: now }),
                }
                None
            }
            _ => {
                self.held -= 1;
                self.forget_if_unused(key);
                Some(member)
            }
        }
    }

    fn next_waiter(&mut self, key: &Key) -> Option<tokio::sync::oneshot::Sender<super::Offer<T>>> {
        let waiter = self.pools.get_mut(key)?.waiting.pop_front();
        self.appraise(key);
        waiter.map(|waiter| waiter.sender)
    }
}

impl<T> Pool<T> {
    fn making(&mut self, purpose: Purpose) -> &mut usize {
        match purpose {
            Purpose::Call => &mut self.making,
            Purpose::Spare => &mut self.making_spares,
            Purpose::Provisioned => &mut self.provisioned.making,
        }
    }

    /// How long its first caller has waited.
    fn waited(&self, now: Duration) -> Duration {
        self.waiting.front().map_or(Duration::ZERO, |waiter| now.saturating_sub(waiter.since))
    }

    /// What is made for nobody in particular is not tried again at once when it fails.
    fn note_attempt(&mut self, purpose: Purpose, sound: bool, now: Duration) {
        match (purpose, sound) {
            (Purpose::Call, _) | (Purpose::Spare, true) => {}
            (Purpose::Spare, false) => self.spare_not_before = now + SPARE_PAUSE,
            (Purpose::Provisioned, true) => self.provisioned.failures = 0,
            (Purpose::Provisioned, false) => {
                let pause = PROVISIONED_PAUSE * (1 << self.provisioned.failures.min(6));
                self.provisioned.failures += 1;
                self.provisioned.not_before = now + pause.min(PROVISIONED_PAUSE_MAX);
            }
        }
    }
}

/// One waits for all.
fn await_once<T>(state: &mut State<T>, step: Step<T>) -> Step<T> {
    if std::mem::replace(&mut state.awaiting, true) { Step::Rest } else { step }
}

/// The right to be one of those being made.
struct Slot<M: Maker>(Arc<Pools<M>>);

impl<M: Maker> Drop for Slot<M> {
    fn drop(&mut self) {
        self.0.state.lock().raising -= 1;
        self.0.raise();
    }
}
