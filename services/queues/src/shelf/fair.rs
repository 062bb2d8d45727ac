//! Tenants of a standard queue, its message groups: who is noisy, and whose message is next while somebody is.
//!
//! "How Amazon SQS fair queues work": a tenant that has more than a tenth of all messages in flight, and at least 30, is
//! noisy. As long as others have messages, those go first; of several noisy ones, the one with the fewest in flight.
//! AWS also weighs the time that consumers have spent; that is not done here.

use super::{Group, Shelf};
use crate::store::Place;
use std::collections::{BTreeSet, HashMap};

const SHARE: usize = 10;
const IN_FLIGHT_MIN: usize = 30;
/// How many times as far a standard queue's window reaches when it has tenants: a noisy one's backlog must not hide the
/// others' messages. At the default as far as a FIFO queue's.
const FAIR_REACH: usize = 60;

/// Since when a message can be received, and its place.
pub type At = (u64, Place);

/// One tenant. It exists as long as it holds anything.
#[derive(Debug, Default)]
pub struct Tenant {
    /// What can be received now or later and is known, whether it came back or is new.
    pub ready: BTreeSet<At>,
    /// In flight or busy.
    pub in_flight: usize,
}

#[derive(Debug, Default)]
pub struct Fair {
    all: HashMap<Group, Tenant>,
    /// The first of each tenant that has something.
    heads: BTreeSet<(At, Group)>,
    /// Those that have enough in flight to be noisy, by how many.
    busy: BTreeSet<(usize, Group)>,
}

impl Fair {
    /// Messages without a group are each a tenant of its own, which is never noisy: here they are one, of no name.
    pub fn change(&mut self, group: Option<&Group>, change: impl FnOnce(&mut Tenant)) {
        let group = group.cloned().unwrap_or_else(|| "".into());
        let tenant = self.all.entry(group.clone()).or_default();
        let before = (tenant.ready.first().copied(), tenant.in_flight);
        change(tenant);
        let after = (tenant.ready.first().copied(), tenant.in_flight);
        if after == (None, 0) {
            self.all.remove(&group);
        }
        if before.0 != after.0 {
            before.0.map(|head| self.heads.remove(&(head, group.clone())));
            after.0.map(|head| self.heads.insert((head, group.clone())));
        }
        if before.1 != after.1 && !group.is_empty() {
            self.busy.remove(&(before.1, group.clone()));
            if after.1 >= IN_FLIGHT_MIN {
                self.busy.insert((after.1, group));
            }
        }
    }

    /// What comes next at `now`, and whether it is a noisy tenant's because no other's is known; `None` if nobody is noisy
    /// or nothing is there. `in_flight` is all of the queue's.
    pub fn next(&self, now: u64, in_flight: usize) -> Option<(Place, bool)> {
        let noisy: Vec<&Group> = self.noisy(in_flight).collect();
        if noisy.is_empty() {
            return None;
        }
        let mut due = self.heads.iter().take_while(|((since, _), _)| *since <= now);
        if let Some(((_, place), _)) = due.find(|(_, group)| !noisy.contains(&group)) {
            return Some((*place, false));
        }
        let head = |group: &&Group| self.all.get(*group).and_then(|tenant| tenant.ready.first().copied());
        let (_, place) = noisy.iter().rev().filter_map(head).find(|(since, _)| *since <= now)?;
        Some((place, true))
    }

    /// Those with the most in flight first; fewer than ten.
    fn noisy(&self, in_flight: usize) -> impl Iterator<Item = &Group> {
        let loud = self.busy.iter().rev().take_while(move |(own, _)| own * SHARE > in_flight);
        loud.map(|(_, group)| group)
    }
}

impl Shelf {
    /// Notes what has become of a message of a standard queue, if it has tenants; it has from the first group on.
    pub(super) fn weigh(&mut self, group: Option<&Group>, change: impl FnOnce(&mut Tenant)) {
        if self.groups.is_some() {
            return;
        }
        if let Some(fair) = self.fair.as_mut() {
            fair.change(group, change);
        }
    }

    /// From the first message with a group on, tenants are weighed.
    pub(super) fn has_tenants(&mut self, group: Option<&Group>) {
        if self.groups.is_some() || self.fair.is_some() || group.is_none() {
            return;
        }
        let mut fair = Fair::default();
        fair.change(None, |all| {
            all.in_flight = self.flying.len() + self.busy.len();
            all.ready = self.window.keys().map(|place| (place.due, *place)).chain(self.back.iter().copied()).collect();
        });
        self.fair = Some(fair);
        self.window_max *= FAIR_REACH;
    }

    /// A message of a standard queue that was in flight or busy can be received again.
    pub(super) fn come_back(&mut self, at: At, group: Option<&Group>) {
        self.back.insert(at);
        self.weigh(group, |tenant| {
            tenant.in_flight -= 1;
            tenant.ready.insert(at);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> At {
        (n, Place { due: n, stamp: n })
    }

    fn fair(tenants: &[(&str, usize, &[u64])]) -> Fair {
        let mut fair = Fair::default();
        for (name, in_flight, ready) in tenants {
            let group = (!name.is_empty()).then(|| Group::from(*name));
            fair.change(group.as_ref(), |tenant| {
                tenant.in_flight = *in_flight;
                tenant.ready.extend(ready.iter().map(|n| at(*n)));
            });
        }
        fair
    }

    #[test]
    fn quiet_tenants_go_first() {
        let next = |fair: &Fair, now, in_flight| fair.next(now, in_flight).map(|(place, noisy)| (place.due, noisy));
        let one = fair(&[("a", 40, &[1, 2]), ("b", 2, &[5]), ("", 100, &[7])]);
        assert_eq!(next(&one, 9, 142), Some((5, false)));
        assert_eq!(next(&one, 4, 142), Some((1, true)), "the other is not due");
        assert_eq!(next(&one, 9, 400), None, "40 of 400 are a fair share");
        assert_eq!(next(&fair(&[("a", 29, &[1]), ("b", 0, &[2])]), 9, 29), None, "29 are few");
        let two = fair(&[("a", 90, &[1]), ("b", 50, &[2])]);
        assert_eq!(next(&two, 9, 140), Some((2, true)), "the less noisy one");
        let plain = fair(&[("a", 40, &[1]), ("", 3, &[3])]);
        assert_eq!(next(&plain, 9, 43), Some((3, false)));
    }

    #[test]
    fn who_has_nothing_is_forgotten() {
        let mut fair = fair(&[("a", 30, &[1])]);
        fair.change(Some(&"a".into()), |tenant| *tenant = Tenant::default());
        assert!(fair.all.is_empty() && fair.heads.is_empty() && fair.busy.is_empty());
    }
}
