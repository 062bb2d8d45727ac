//! Upkeep: what has been idle long enough ends, what should be ready is made ready, as the keep-alive policy plans it.

use super::state::{Idle, Pool, State};
use super::track::{Function, Track};
use super::{INSTANCE_BYTES, Key, Maker, Member, Pools};
use crate::Version;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// Functions remembered. Beyond, those not called for longest are forgotten: the policy then meets them as new ones.
const TRACKS_MAX: usize = 16_384;

impl<M: Maker> Pools<M> {
    /// Ends what has been idle too long or has died, and has made what is to be ready. Called every second or so.
    pub(crate) fn sweep(self: &Arc<Self>) {
        let now = self.clock.elapsed();
        let mut gone = Vec::new();
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        let tracks: Vec<_> = state.tracks.values().cloned().collect();
        let mut due = Vec::new();
        for track in tracks {
            if self.look_after(&mut state, &track, now, &mut gone) {
                due.push(track);
            }
        }
        for pool in state.pools.values_mut() {
            pool.end_unusable(&mut gone);
        }
        state.held -= gone.len();
        state.pools.retain(|_, pool| !pool.is_unused());
        state.forget_tracks();
        for track in due {
            let (key, version) = track.lock().named();
            state.pools.entry(key.clone()).or_insert_with(|| Pool::new(version, track));
            state.wishes.insert(key);
        }
        // Under pressure idle ones make room before anybody asks for it.
        while !self.gauge.fits(1, now)
            && let Some((_, member)) = state.take_longest_idle()
        {
            self.gauge.freed(member.bytes().unwrap_or(INSTANCE_BYTES));
            gone.push(member);
        }
        drop(state);
        drop(gone);
        self.raise();
    }

    /// One function: its plan, and what is to end by it. Says whether something is to be ready that may not be.
    fn look_after(
        &self,
        state: &mut State<M::Made>,
        track: &Mutex<Track>,
        now: Duration,
        gone: &mut Vec<M::Made>,
    ) -> bool {
        let mut known = track.lock();
        let upkeep = self.maker.upkeep(&known.version);
        known.replan(&*self.policy, upkeep);
        let (plan, idle, key) = (*known.plan(), known.idle(now), known.key.clone());
        if let Some(pool) = state.pools.get_mut(&key) {
            pool.end_idle(|since| now.saturating_sub(since) >= plan.instances, gone);
            if idle > Duration::ZERO && !plan.spares.contains(idle) {
                gone.extend(pool.spares.drain(..).map(|spare| spare.member));
            }
        }
        if known.retired {
            return false;
        }
        let here = state.pools.get(&key).is_some_and(|pool| pool.held() + pool.provisioned.held() > 0);
        if plan.spares.contains(idle) && (here || plan.spares.is_late()) {
            return true;
        }
        if known.template && !here && idle > Duration::ZERO && !plan.template.contains(idle) {
            known.template = false;
            self.maker.let_go(&known.version);
        }
        false
    }
}

impl<T: Member> Pool<T> {
    fn end_idle(&mut self, over: impl Fn(Duration) -> bool, gone: &mut Vec<T>) {
        let (ended, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.idle).into_iter().partition(|i| over(i.since));
        self.idle = kept;
        gone.extend(ended.into_iter().map(|idle| idle.member));
    }

    fn end_unusable(&mut self, gone: &mut Vec<T>) {
        for list in [&mut self.idle, &mut self.spares] {
            let dead = |idle: &mut Idle<T>| !idle.member.usable();
            gone.extend(list.extract_if(.., dead).map(|idle| idle.member));
        }
        gone.extend(self.provisioned.idle.extract_if(.., |member| !member.usable()));
    }
}

impl<T> State<T> {
    /// What is remembered of a function.
    pub(super) fn track(&mut self, key: &Key, version: &Arc<Version>, now: Duration) -> Arc<Mutex<Track>> {
        if let Some(pool) = self.pools.get(key)
            && !pool.track.lock().retired
        {
            return pool.track.clone();
        }
        let new = || Arc::new(Mutex::new(Track::new(key.clone(), version.clone(), now)));
        let track = self.tracks.entry(Function::of(key)).or_insert_with(new).clone();
        {
            let mut known = track.lock();
            if known.key != *key {
                (known.key, known.version) = (key.clone(), version.clone());
            }
            known.retired = false;
        }
        track
    }

    fn forget_tracks(&mut self) {
        while self.tracks.len() > TRACKS_MAX {
            let here: std::collections::HashSet<_> = self.pools.keys().map(Function::of).collect();
            let mut ages: Vec<_> = self.tracks.iter().filter(|(function, _)| !here.contains(*function)).collect();
            // An eighth at once, so that it is seldom done.
            ages.sort_unstable_by_key(|(_, track)| track.lock().last_used);
            let old: Vec<_> = ages.into_iter().take(TRACKS_MAX / 8).map(|(function, _)| function.clone()).collect();
            if old.is_empty() {
                return;
            }
            old.iter().for_each(|function| drop(self.tracks.remove(function)));
        }
    }
}
