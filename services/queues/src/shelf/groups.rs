//! The message groups of a FIFO queue: what each has ready, in order, and which are blocked.

use crate::store::Place;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A message group's name.
pub type Group = Arc<str>;

/// One group. It exists as long as it holds anything.
#[derive(Debug, Default)]
pub struct State {
    /// What can be received, as far as the window reaches.
    pub ready: BTreeSet<Place>,
    /// Sends that may not be durable yet: nothing behind them may overtake.
    pub pending: BTreeSet<Place>,
    /// Messages in flight or busy: as long as there are any, nothing more is given out.
    pub blocking: usize,
}

impl State {
    fn head(&self) -> Option<Place> {
        let head = self.ready.first().copied().filter(|_| self.blocking == 0)?;
        self.pending.first().is_none_or(|pending| head < *pending).then_some(head)
    }

    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.pending.is_empty() && self.blocking == 0
    }
}

#[derive(Debug, Default)]
pub struct Groups {
    all: HashMap<Group, State>,
    /// Those that have something to give, by their first message.
    open: BTreeSet<(Place, Group)>,
}

impl Groups {
    pub fn change(&mut self, group: &Group, change: impl FnOnce(&mut State)) {
        let state = self.all.entry(group.clone()).or_default();
        let before = state.head();
        change(state);
        let after = state.head();
        if state.is_empty() {
            self.all.remove(group);
        }
        if before != after {
            before.map(|head| self.open.remove(&(head, group.clone())));
            after.map(|head| self.open.insert((head, group.clone())));
        }
    }

    pub fn open(&self) -> impl Iterator<Item = &(Place, Group)> {
        self.open.iter()
    }

    /// What a group that is open can give, in order.
    pub fn ready(&self, group: &Group) -> impl Iterator<Item = Place> {
        let state = self.all.get(group);
        let end = state.and_then(|s| s.pending.first().copied());
        let ready = state.into_iter().flat_map(|s| s.ready.iter().copied());
        ready.take_while(move |place| end.is_none_or(|end| *place < end))
    }
}
