//! What a node holds in memory of one queue's messages: which can be received next, which are in flight, until when.
//!
//! No IO and no clock: times are milliseconds that callers bring. Messages that were never received are known as far as
//! the *window* reaches, the lowest places of the queue; those behind it lie in the store alone. Messages that were
//! received and not deleted are all known ([`Held`]), which the limit of messages in flight bounds. Whatever an
//! operation works on is *busy*: taken out of everything here until it is settled, so that no two work on the same.

mod count;
mod fair;
mod groups;
mod kept;
mod settle;

use crate::store::{Held, Place};
use count::Count;
use fair::{At, Fair};
use groups::Groups;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

pub use groups::Group;
pub use kept::{Budget, Fresh};
pub use settle::NotHeld;

/// Received messages that are known before those that came back are preferred to new ones: with it, what is held is
/// bounded however many messages come back again and again.
const HELD_MAX: usize = 120_000;
/// Messages that a fill in progress may miss before it is begun again.
const LATE_MAX: usize = 10_000;

/// A message that an operation works on, and what it was.
#[derive(Debug)]
pub struct Taken {
    pub place: Place,
    pub was: Was,
}

#[derive(Debug)]
pub enum Was {
    Fresh(Fresh),
    /// Received before, and visible again.
    Back(Held),
    /// In flight.
    Flying(Held),
}

impl Taken {
    pub fn held(&self) -> Option<&Held> {
        match &self.was {
            Was::Fresh(_) => None,
            Was::Back(held) | Was::Flying(held) => Some(held),
        }
    }

    pub fn group(&self) -> Option<Group> {
        match &self.was {
            Was::Fresh(fresh) => fresh.group.clone(),
            Was::Back(held) | Was::Flying(held) => held.group.clone(),
        }
    }
}

/// What has become of a message that was taken.
pub enum Settled {
    /// It is in flight.
    Received(Held),
    /// Nothing: it is as before.
    Returned,
    /// It is no longer in this queue.
    Gone,
}

/// What [`Shelf::take`] found.
pub struct Found {
    pub taken: Vec<Taken>,
    /// Nothing is known, or only what noisy tenants sent, and more is stored: the window is to be filled, if it has not been
    /// since this many fills.
    pub fill: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub visible: u64,
    pub in_flight: u64,
    pub delayed: u64,
}

#[derive(Debug, Default)]
pub struct Shelf {
    /// The groups of a FIFO queue.
    groups: Option<Groups>,
    /// The tenants of a standard queue, once a message had a group.
    fair: Option<Fair>,
    held: HashMap<Place, Held>,
    flying: BTreeSet<(u64, Place)>,
    /// Visible again, by since when. Those of a FIFO queue stand in their groups.
    back: BTreeSet<(u64, Place)>,
    window: BTreeMap<Place, Fresh>,
    window_max: usize,
    /// The window has all fresh messages below it; `None`: all there are.
    reach: Option<Place>,
    /// Sends that may not be durable yet.
    pending: BTreeSet<Place>,
    busy: HashSet<Place>,
    /// How often the window has been filled.
    fills: u64,
    /// While a fill reads the store: what was sent beyond the reach meanwhile.
    late: Option<Vec<(Place, Fresh)>>,
    count: Count,
    last: Place,
}

impl Shelf {
    /// Of a queue that holds nothing.
    pub fn empty(fifo: bool, window_max: usize) -> Self {
        Self { groups: fifo.then(Groups::default), window_max, ..Self::default() }
    }

    /// Of a queue of which nothing is known but what is held and the last place that was given away.
    pub fn stored(fifo: bool, window_max: usize, held: Vec<(Place, Held)>, last: Option<Place>) -> Self {
        let mut shelf = Self::empty(fifo, window_max);
        shelf.reach = Some(Place::default());
        shelf.last = last.unwrap_or_default();
        shelf.count = Count::unknown();
        for (place, held) in held {
            shelf.fly(place, held, true);
        }
        shelf
    }

    /// Gives a new message its place. Tell what became of it by [`Shelf::sent`], [`Shelf::unsent`] or [`Shelf::doubt`].
    pub fn pend(&mut self, now: u64, delay: u64, group: Option<&Group>) -> Place {
        let stamp = (now << 20).max(self.last.stamp + 1);
        // Groups keep their order also when the clock is put back.
        let due = if self.groups.is_some() { now.max(self.last.due) } else { now + delay };
        let place = Place { due, stamp };
        self.last = Place { due: self.last.due.max(due), stamp };
        self.pending.insert(place);
        if let (Some(groups), Some(group)) = (&mut self.groups, group) {
            groups.change(group, |g| {
                g.pending.insert(place);
            });
        }
        place
    }

    fn unpend(&mut self, place: Place, group: Option<&Group>) {
        self.pending.remove(&place);
        if let (Some(groups), Some(group)) = (&mut self.groups, group) {
            groups.change(group, |g| {
                g.pending.remove(&place);
            });
        }
    }

    /// The message is durable, to be seen from `visible` on.
    pub fn sent(&mut self, place: Place, fresh: Fresh, visible: u64, now: u64) {
        self.unpend(place, fresh.group.as_ref());
        self.count.fresh(place, 1);
        self.count.delay(visible, now);
        self.offer(place, fresh);
    }

    /// The message was not stored.
    pub fn unsent(&mut self, place: Place, group: Option<&Group>) {
        self.unpend(place, group);
    }

    /// Nobody knows whether the message was stored: the store will be asked again.
    pub fn doubt(&mut self, place: Place, group: Option<&Group>) {
        self.unpend(place, group);
        while let Some((last, fresh)) = self.window.last_key_value().map(|(p, f)| (*p, f.group.clone())) {
            if last < place {
                break;
            }
            self.window.remove(&last);
            self.leave((last.due, last), fresh.as_ref());
        }
        self.reach = Some(self.reach.map_or(place, |reach| reach.min(place)));
        // A fill that is reading may have been too early.
        self.late = None;
        self.count = Count::unknown();
    }

    /// What could be received no longer can.
    fn leave(&mut self, at: At, group: Option<&Group>) {
        match (&mut self.groups, group) {
            (Some(groups), Some(group)) => groups.change(group, |g| {
                g.ready.remove(&at.1);
            }),
            _ => self.weigh(group, |tenant| {
                tenant.ready.remove(&at);
            }),
        }
    }

    /// Puts a fresh message in the window, if it belongs there.
    fn offer(&mut self, place: Place, fresh: Fresh) {
        if self.reach.is_some_and(|reach| place >= reach) {
            if let Some(late) = &mut self.late {
                late.push((place, fresh));
                if late.len() > LATE_MAX {
                    self.late = None;
                }
            }
            return;
        }
        if let (Some(groups), Some(group)) = (&mut self.groups, &fresh.group) {
            groups.change(group, |g| {
                g.ready.insert(place);
            });
        }
        self.has_tenants(fresh.group.as_ref());
        self.weigh(fresh.group.as_ref(), |tenant| {
            tenant.ready.insert((place.due, place));
        });
        self.window.insert(place, fresh);
        while self.window.len() > self.window_max {
            let Some((last, fresh)) = self.window.pop_last() else { break };
            self.leave((last.due, last), fresh.group.as_ref());
            self.reach = Some(last);
        }
    }

    /// Begins the fill that [`Shelf::take`] asked for: where to read the store from; `None` if it is done already.
    pub fn begin_fill(&mut self, fills: u64) -> Option<Place> {
        let from = self.reach.filter(|_| self.fills == fills)?;
        self.late = Some(Vec::new());
        Some(from)
    }

    /// Ends a fill with what was read, in order, and where reading would go on (`None`: it was all). Has no effect when
    /// something has come in between that asks for another.
    pub fn end_fill(&mut self, read: Vec<(Place, Fresh)>, next: Option<Place>) {
        let Some(late) = self.late.take() else { return };
        self.fills += 1;
        self.reach = next;
        let known = |shelf: &Self, place: &Place| {
            let elsewhere = shelf.held.contains_key(place) || shelf.busy.contains(place);
            elsewhere || shelf.pending.contains(place) || shelf.window.contains_key(place)
        };
        for (place, fresh) in read.into_iter().chain(late) {
            if !known(self, &place) {
                self.offer(place, fresh);
            }
        }
    }

    /// What has become visible by now.
    fn advance(&mut self, now: u64) {
        while let Some(&(visible, place)) = self.flying.first().filter(|(visible, _)| *visible <= now) {
            self.flying.pop_first();
            let group = self.held.get(&place).and_then(|h| h.group.clone());
            match (&mut self.groups, &group) {
                (Some(groups), Some(group)) => groups.change(group, |g| {
                    g.blocking -= 1;
                    g.ready.insert(place);
                }),
                _ => self.come_back((visible, place), group.as_ref()),
            }
        }
    }

    /// Takes up to `want` messages that can be received at `now`. `delay` is a FIFO queue's.
    pub fn take(&mut self, now: u64, delay: u64, want: usize) -> Found {
        self.advance(now);
        if self.lacks() {
            return Found { taken: Vec::new(), fill: Some(self.fills) };
        }
        let (mut taken, mut all_noisy) = (Vec::new(), true);
        while taken.len() < want {
            let before = taken.len();
            match self.groups.is_some() {
                true => self.take_of_a_group(now, delay, want, &mut taken),
                false => {
                    let next = self.next(now);
                    all_noisy &= next.is_none_or(|(_, is_noisy)| is_noisy);
                    taken.extend(next.map(|(place, _)| self.lift(place)));
                }
            }
            if taken.len() == before {
                break;
            }
        }
        let lacking = taken.is_empty() || all_noisy && self.groups.is_none();
        let more_stored = lacking && self.reach.is_some() && self.window.len() < self.window_max;
        Found { taken, fill: more_stored.then_some(self.fills) }
    }

    /// The next message of a standard queue, and whether it is a noisy tenant's: while somebody is noisy as tenants are
    /// weighed, else the one that has waited longest, of those that came back and the fresh ones.
    fn next(&self, now: u64) -> Option<(Place, bool)> {
        let in_flight = self.flying.len() + self.busy.len();
        let fair = self.fair.as_ref().filter(|_| self.held.len() < HELD_MAX);
        if let Some(next) = fair.and_then(|fair| fair.next(now, in_flight)) {
            return Some(next);
        }
        let back = self.back.first();
        let fresh = self.window.keys().next().filter(|place| place.due <= now);
        let place = match (back, fresh) {
            (Some((since, place)), Some(fresh)) if *since <= fresh.due || self.held.len() >= HELD_MAX => *place,
            (_, Some(fresh)) => *fresh,
            (Some((_, place)), None) => *place,
            (None, None) => return None,
        };
        Some((place, false))
    }

    /// As many as possible of the first group that is not blocked; they block it.
    fn take_of_a_group(&mut self, now: u64, delay: u64, want: usize, taken: &mut Vec<Taken>) {
        let Some(groups) = &mut self.groups else { return };
        let held = &self.held;
        let due = |place: &Place| held.contains_key(place) || place.due + delay <= now;
        let Some((_, group)) = groups.open().next().filter(|(head, _)| due(head)).cloned() else { return };
        let places: Vec<_> = groups.ready(&group).take_while(due).take(want - taken.len()).collect();
        groups.change(&group, |g| {
            g.blocking += places.len();
            for place in &places {
                g.ready.remove(place);
            }
        });
        taken.extend(places.into_iter().map(|place| self.lift(place)));
    }

    pub fn in_flight(&mut self, now: u64) -> usize {
        self.advance(now);
        self.flying.len() + self.busy.len()
    }

    /// Is nothing fresh known while the store may have some? It must be looked for even if something else could be given
    /// out: what comes back again and again would else hold it up for ever.
    fn lacks(&self) -> bool {
        self.window.is_empty() && self.reach.is_some() && self.held.len() < HELD_MAX
    }

    /// Could something be received now?
    pub fn has_more(&mut self, now: u64, delay: u64) -> bool {
        self.advance(now);
        if self.lacks() {
            return true;
        }
        match &self.groups {
            Some(groups) => groups.open().next().is_some_and(|(head, _)| self.is_due(head, now, delay)),
            None => self.next(now).is_some(),
        }
    }

    /// Of a FIFO queue: can a message be seen by now? What was received once has been due.
    fn is_due(&self, place: &Place, now: u64, delay: u64) -> bool {
        self.held.contains_key(place) || place.due + delay <= now
    }

    /// When the next message that is known becomes visible by itself, after `now`.
    pub fn next_due(&self, now: u64, delay: u64) -> Option<u64> {
        let least = Place { due: (now + 1).saturating_sub(delay), stamp: 0 };
        let flying = self.flying.range((now + 1, Place::default())..).next().map(|(visible, _)| *visible);
        let fresh = self.window.range(least..).next().map(|(place, _)| place.due + delay);
        flying.into_iter().chain(fresh).min()
    }

    pub fn counts(&mut self, now: u64) -> Counts {
        self.advance(now);
        let back = self.held.len() - self.flying.len();
        let (fresh, delayed) = self.count.read(now);
        let in_flight = (self.flying.len() + self.busy.len()) as u64;
        Counts { visible: fresh - delayed + back as u64, in_flight, delayed }
    }

    /// Begins to count what is stored, from here on; `None`: all is counted.
    pub fn begin_count(&mut self) -> Option<Place> {
        self.count.begin()
    }

    /// A page of stored places, in order, has been read; `next` as in [`Shelf::end_fill`].
    pub fn counted(&mut self, page: &[Place], next: Option<Place>, now: u64, visible: impl Fn(&Place) -> u64) {
        let (held, busy, pending) = (&self.held, &self.busy, &self.pending);
        let fresh = |p: &&Place| !held.contains_key(p) && !busy.contains(p) && !pending.contains(p);
        self.count.page(page.iter().filter(fresh).copied(), next, now, visible);
    }

    /// Is anything going on that memory alone knows?
    pub fn at_rest(&self) -> bool {
        self.pending.is_empty() && self.busy.is_empty() && self.late.is_none()
    }
}

#[cfg(test)]
mod tests;
