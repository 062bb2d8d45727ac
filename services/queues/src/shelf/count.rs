//! How many messages of a queue were never received. After a start the store is counted page by page, while messages
//! come and go.

use crate::store::Place;
use std::collections::{BTreeMap, BTreeSet};

/// Changes that may happen while a page is read; with more of them it is read again.
const CHANGES_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub struct Count {
    fresh: i64,
    /// By the second from which they can be seen, those that cannot be yet. At most 900 s ahead.
    delayed: BTreeMap<u64, u64>,
    unknown: Option<Unknown>,
}

/// What is stored at `from` and behind is not counted yet.
#[derive(Debug, Default)]
struct Unknown {
    from: Place,
    /// While a page is read: what came there and what went.
    changes: Option<Vec<(Place, bool)>>,
}

impl Count {
    pub fn unknown() -> Self {
        Self { unknown: Some(Unknown::default()), ..Self::default() }
    }

    /// A page is about to be read from here; `None`: all is counted.
    pub fn begin(&mut self) -> Option<Place> {
        let unknown = self.unknown.as_mut()?;
        unknown.changes = Some(Vec::new());
        Some(unknown.from)
    }

    /// A message has come (1) or gone (-1).
    pub fn fresh(&mut self, place: Place, by: i64) {
        match &mut self.unknown {
            Some(unknown) if place >= unknown.from => unknown.note(place, by > 0),
            _ => self.fresh += by,
        }
    }

    /// A message is no longer stored, and had been counted out before.
    pub fn gone(&mut self, place: Place) {
        if let Some(unknown) = &mut self.unknown {
            unknown.note(place, false);
        }
    }

    pub fn delay(&mut self, visible: u64, now: u64) {
        self.forget(now);
        if visible > now {
            *self.delayed.entry(visible.div_ceil(1000)).or_default() += 1;
        }
    }

    fn forget(&mut self, now: u64) {
        while self.delayed.first_key_value().is_some_and(|(second, _)| second * 1000 <= now) {
            self.delayed.pop_first();
        }
    }

    /// The page that [`Count::begin`] announced: those of it that were never received.
    pub fn page(
        &mut self,
        page: impl Iterator<Item = Place>,
        next: Option<Place>,
        now: u64,
        visible: impl Fn(&Place) -> u64,
    ) {
        let Some(changes) = self.unknown.as_mut().and_then(|u| u.changes.take()) else { return };
        let mut there: BTreeSet<Place> = page.collect();
        there.iter().for_each(|place| self.delay(visible(place), now));
        // A change that the page has seen already changes nothing; behind the page the next one will see it.
        for (place, came) in changes.into_iter().filter(|(p, _)| next.is_none_or(|next| *p < next)) {
            if came {
                there.insert(place)
            } else {
                there.remove(&place)
            };
        }
        self.fresh += there.len() as i64;
        self.unknown = next.map(|from| Unknown { from, changes: None });
    }

    /// How many there are, and how many of them cannot be seen yet.
    pub fn read(&mut self, now: u64) -> (u64, u64) {
        self.forget(now);
        let fresh = u64::try_from(self.fresh).unwrap_or(0);
        (fresh, self.delayed.values().sum::<u64>().min(fresh))
    }
}

impl Unknown {
    fn note(&mut self, place: Place, came: bool) {
        if let Some(changes) = &mut self.changes {
            changes.push((place, came));
            if changes.len() > CHANGES_MAX {
                self.changes = None;
            }
        }
    }
}
