//! Provisioned concurrency: instances that are to be ready always. They are made before anything else, neither idle time
//! nor memory pressure ends them, and one that dies is replaced.

use super::state::{Pool, State};
use super::{Key, Maker, Member, Pools};
use crate::{Provisioned, Version};
use std::sync::Arc;

impl<M: Maker> Pools<M> {
    /// Keeps so many instances of these versions of a function, and none of its others.
    pub(crate) fn provision(self: &Arc<Self>, arn: &str, wanted: Vec<(Arc<Version>, usize)>) {
        let now = self.clock.elapsed();
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        let named: Vec<Key> = wanted.iter().map(|(version, _)| Key::of(version)).collect();
        let others: Vec<Key> =
            state.provisioned.iter().filter(|key| key.arn == arn && !named.contains(key)).cloned().collect();
        let mut gone = Vec::new();
        for (version, count) in wanted {
            let key = Key::of(&version);
            let track = state.track(&key, &version, now);
            let pool = state.pools.entry(key.clone()).or_insert_with(|| Pool::new(version, track));
            // What is asked for anew is tried at once, whatever failed before.
            (pool.provisioned.wanted, pool.provisioned.failures, pool.provisioned.not_before) = (count, 0, now);
            state.provisioned.insert(key.clone());
            state.end_surplus(&key, &mut gone);
        }
        for key in others {
            state.provisioned.remove(&key);
            if let Some(pool) = state.pools.get_mut(&key) {
                pool.provisioned.wanted = 0;
            }
            state.end_surplus(&key, &mut gone);
        }
        drop(state);
        drop(gone);
        self.raise();
    }

    pub(crate) fn provisioned(&self, arn: &str, version: &str) -> Provisioned {
        let state = self.state.lock();
        let key = state.provisioned.iter().find(|key| key.arn == arn && key.version == version);
        let Some(pool) = key.and_then(|key| state.pools.get(key)) else { return Provisioned::default() };
        let there = &pool.provisioned;
        let count = |n: usize| u32::try_from(n.min(there.wanted)).unwrap_or(u32::MAX);
        Provisioned {
            allocated: count(there.idle.len() + there.out),
            idle: count(there.idle.len()),
            failing: there.failures > 0,
        }
    }
}

impl<T: Member> State<T> {
    fn end_surplus(&mut self, key: &Key, gone: &mut Vec<T>) {
        let Some(pool) = self.pools.get_mut(key) else { return };
        while pool.provisioned.held() > pool.provisioned.wanted
            && let Some(member) = pool.provisioned.idle.pop()
        {
            self.held -= 1;
            gone.push(member);
        }
        self.forget_if_unused(key);
    }
}
