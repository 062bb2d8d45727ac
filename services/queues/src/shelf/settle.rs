//! A message in an operation's hands: how it is taken, and what becomes of it.

use super::{Group, Settled, Shelf, Taken, Was};
use crate::store::{Held, Place};

/// Why a message cannot be taken by its receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHeld {
    /// It is not in the queue, or was never received.
    Gone,
    /// Another operation works on it.
    Busy,
    /// It has been received again since.
    Again,
    /// It is visible again.
    Expired,
}

impl Shelf {
    /// Makes a message busy.
    pub(super) fn lift(&mut self, place: Place) -> Taken {
        self.busy.insert(place);
        let (was, since) = match self.held.remove(&place) {
            Some(held) => {
                let since = held.visible;
                self.back.remove(&(since, place));
                (Was::Back(held), since)
            }
            None => {
                self.count.fresh(place, -1);
                (Was::Fresh(self.window.remove(&place).unwrap_or_default()), place.due)
            }
        };
        let taken = Taken { place, was };
        self.weigh(taken.group().as_ref(), |tenant| {
            tenant.ready.remove(&(since, place));
            tenant.in_flight += 1;
        });
        taken
    }

    /// Takes a received message by its place and receipt: one in flight, or (of a standard queue) one that came back
    /// and has not been received again. The error says whether it is here at all.
    pub fn take_held(&mut self, now: u64, place: Place, receipt: u64) -> Result<Taken, NotHeld> {
        self.advance(now);
        let Some(held) = self.held.get(&place) else {
            return Err(if self.busy.contains(&place) { NotHeld::Busy } else { NotHeld::Gone });
        };
        if held.receipt != receipt {
            return Err(NotHeld::Again);
        }
        if self.flying.remove(&(held.visible, place)) {
            self.busy.insert(place);
            let held = self.held.remove(&place).expect("it was there a line ago");
            return Ok(Taken { place, was: Was::Flying(held) });
        }
        if self.groups.is_some() {
            return Err(NotHeld::Expired);
        }
        Ok(self.lift(place))
    }

    /// The messages of these places and receipts that are in flight.
    pub fn are_flying(&mut self, now: u64, receipts: &[(Place, u64)]) -> Vec<(Place, u64)> {
        self.advance(now);
        let flying = |(place, receipt): &&(Place, u64)| {
            let held = self.held.get(place);
            held.is_some_and(|h| h.receipt == *receipt && self.flying.contains(&(h.visible, *place)))
        };
        receipts.iter().filter(flying).copied().collect()
    }

    pub fn settle(&mut self, taken: Taken, settled: Settled) {
        let Taken { place, was } = taken;
        self.busy.remove(&place);
        match settled {
            Settled::Received(held) => self.fly(place, held, false),
            Settled::Gone => {
                self.count.gone(place);
                let group = match &was {
                    Was::Fresh(fresh) => &fresh.group,
                    Was::Back(held) | Was::Flying(held) => &held.group,
                };
                self.unblock(group.as_ref(), None);
            }
            Settled::Returned => match was {
                Was::Flying(held) => self.fly(place, held, false),
                Was::Back(held) => {
                    match self.groups.is_some() {
                        true => self.unblock(held.group.as_ref(), Some(place)),
                        false => self.come_back((held.visible, place), held.group.as_ref()),
                    }
                    self.held.insert(place, held);
                }
                Was::Fresh(fresh) => {
                    self.count.fresh(place, 1);
                    self.unblock(fresh.group.as_ref(), None);
                    self.offer(place, fresh);
                }
            },
        }
    }

    /// `block`: it was not busy before.
    pub(super) fn fly(&mut self, place: Place, held: Held, block: bool) {
        if block {
            self.has_tenants(held.group.as_ref());
            match (&mut self.groups, &held.group) {
                (Some(groups), Some(group)) => groups.change(group, |g| g.blocking += 1),
                _ => self.weigh(held.group.as_ref(), |tenant| tenant.in_flight += 1),
            }
        }
        self.flying.insert((held.visible, place));
        self.held.insert(place, held);
    }

    /// A message is no longer in flight or busy.
    fn unblock(&mut self, group: Option<&Group>, ready: Option<Place>) {
        match (&mut self.groups, group) {
            (Some(groups), Some(group)) => groups.change(group, |g| {
                g.blocking -= 1;
                g.ready.extend(ready);
            }),
            _ => self.weigh(group, |tenant| tenant.in_flight -= 1),
        }
    }

    /// Drops a message that is past its retention, wherever it is known. `false` while an operation works on it.
    pub fn expire(&mut self, place: Place) -> bool {
        if self.busy.contains(&place) {
            return false;
        }
        if let Some(held) = self.held.remove(&place) {
            let flew = self.flying.remove(&(held.visible, place));
            self.back.remove(&(held.visible, place));
            match flew {
                true => self.unblock(held.group.as_ref(), None),
                false => self.leave((held.visible, place), held.group.as_ref()),
            }
            return true;
        }
        self.count.fresh(place, -1);
        if let Some(fresh) = self.window.remove(&place) {
            self.leave((place.due, place), fresh.group.as_ref());
        }
        true
    }
}
