//! A stock: the messages of a queue since it was created or last purged, as the store and this node's memory hold them.

use crate::error::Result;
use crate::model::queue::Queue;
use crate::shelf::{Budget, Fresh, Shelf};
use crate::store::{self, Held, Place, Space};
use ::store::engine::Item;
use ::store::{Error, Store};
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::OnceCell;

/// Records read at once. Messages may be large: a page of them grows while its bytes stay below [`PAGE_BYTES`].
const HELD_PAGE: usize = 1000;
const PAGE_MIN: usize = 10;
const PAGE_MAX: usize = 250;
const PAGE_BYTES: usize = 1 << 20;
/// What is left of a random number for a salt: a minute's stamps.
const SALT_SHIFT: u32 = 28;

pub struct Stock {
    pub id: u64,
    /// Sets the stamps of this life apart from those of earlier ones.
    salt: u64,
    fifo: bool,
    window_max: usize,
    shelf: Mutex<Shelf>,
    loaded: OnceCell<()>,
    filling: tokio::sync::Mutex<()>,
    counting: tokio::sync::Mutex<()>,
    page: AtomicUsize,
}

impl Stock {
    /// `stored`: it may hold something; with a random number. `None`: it is new.
    pub fn new(queue: &Queue, window_max: usize, stored: Option<u64>) -> Self {
        let fifo = queue.attributes.fifo;
        Self {
            id: queue.stock,
            salt: stored.unwrap_or_default() >> SALT_SHIFT,
            fifo,
            window_max,
            shelf: Mutex::new(Shelf::empty(fifo, window_max)),
            loaded: if stored.is_none() { OnceCell::new_with(Some(())) } else { OnceCell::new() },
            filling: tokio::sync::Mutex::default(),
            counting: tokio::sync::Mutex::default(),
            page: AtomicUsize::new(PAGE_MIN),
        }
    }

    pub fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock()
    }

    /// Reads what was received and not deleted, once; the window comes later, as it is needed.
    pub async fn ready(&self, store: &Store) -> Result<()> {
        let load = || async {
            let all = store::held(self.id);
            let (mut from, mut held) = (all.as_bytes().to_vec(), Vec::new());
            loop {
                let items = store.scan(&from, &all.end(), HELD_PAGE).await?;
                for item in &items {
                    held.push((place(item)?, Held::decode(&item.value)?));
                }
                let Some(last) = items.last().filter(|_| items.len() == HELD_PAGE) else { break };
                from = [&last.key[..], &[0]].concat();
            }
            let messages = store::messages(self.id);
            let last = store.scan_back(messages.as_bytes(), &messages.end(), 1).await?;
            let mut last = last.first().map(place).transpose()?;
            // Where the clock was put back, the last place of a standard queue need not have the highest stamp, and one that
            // was given away must not be again.
            if let Some(last) = last.as_mut().filter(|_| !self.fifo) {
                last.stamp += self.salt;
            }
            *self.shelf() = Shelf::stored(self.fifo, self.window_max, held, last);
            Ok::<_, Error>(())
        };
        Ok(self.loaded.get_or_try_init(load).await.map(|_| ())?)
    }

    /// Reads the messages that come next into the window, if nobody has since [`crate::shelf::Found::fill`] was said.
    pub async fn fill(&self, store: &Store, budget: &Budget, fills: u64) -> Result<()> {
        let _alone = self.filling.lock().await;
        let Some(from) = self.shelf().begin_fill(fills) else { return Ok(()) };
        let (items, next) = self.page(store, from).await?;
        let mut read = Vec::with_capacity(items.len());
        for item in items {
            let place = place(&item)?;
            let group = store::group_of(&item.value)?;
            read.push((place, Fresh { group, kept: budget.keep(item.value) }));
        }
        self.shelf().end_fill(read, next);
        Ok(())
    }

    /// Counts the next page of messages after a start. `false`: all are counted.
    pub async fn count(&self, store: &Store, now: u64, delay: u64) -> Result<bool> {
        let _alone = self.counting.lock().await;
        let Some(from) = self.shelf().begin_count() else { return Ok(false) };
        let (items, next) = self.page(store, from).await?;
        let page = items.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        self.shelf().counted(&page, next, now, |place| place.due + delay);
        Ok(next.is_some())
    }

    /// Messages from a place on, and where the next page begins, if there is one.
    async fn page(&self, store: &Store, from: Place) -> Result<(Vec<Item>, Option<Place>)> {
        let limit = self.page.load(Ordering::Relaxed);
        let from = Space::Message(self.id, from).key();
        let items = store.scan(from.as_bytes(), &store::messages(self.id).end(), limit).await?;
        let bytes: usize = items.iter().map(|i| i.value.len()).sum();
        let better = if bytes < PAGE_BYTES { limit * 2 } else { limit / 2 };
        self.page.store(better.clamp(PAGE_MIN, PAGE_MAX), Ordering::Relaxed);
        let next = match items.last().filter(|_| items.len() == limit) {
            Some(last) => Some(place(last)?.next()),
            None => None,
        };
        Ok((items, next))
    }
}

fn place(item: &Item) -> ::store::Result<Place> {
    Place::of_key(&item.key).ok_or_else(|| Error::Damaged("a key of a message".into()))
}
