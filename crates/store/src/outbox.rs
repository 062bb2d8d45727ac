//! The outbox: events waiting for delivery, ordered by when they are next due. Rooms put through `Tx::emit`; the
//! delivery crate takes, puts off and removes.

use crate::record::Record;
use crate::{Key, KeyReader, Result, Store, Tx};
use base::{Event, Timestamp};
use serde::{Deserialize, Serialize};

/// `outbox/due/<due ms>/<event id>` → [`Waiting`]; `outbox/dead/<died ms>/<event id>` → [`Dead`].
const DUE: &str = "outbox/due";
const DEAD: &str = "outbox/dead";

/// An event and how often it has been tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Waiting {
    pub event: Event,
    /// Attempts already made.
    pub attempts: u32,
    pub due: Timestamp,
}

impl Record for Waiting {
    const VERSION: u8 = 1;
}

/// An event that will not be tried again, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dead {
    pub event: Event,
    pub attempts: u32,
    pub died: Timestamp,
    pub reason: String,
}

impl Record for Dead {
    const VERSION: u8 = 1;
}

fn due_key(due: Timestamp, id: &str) -> Key {
    Key::of(DUE).number(due.millis()).text(id)
}

pub(crate) fn put(tx: &Tx, event: &Event) -> Result<()> {
    let waiting = Waiting { event: event.clone(), attempts: 0, due: event.created };
    tx.put(&due_key(waiting.due, &event.id), &waiting)
}

/// Up to `limit` events in due order, the earliest first, from `after` (exclusive: a due time and event id) on.
pub async fn waiting(store: &Store, after: Option<(Timestamp, &str)>, limit: usize) -> Result<Vec<Waiting>> {
    let all = Key::of(DUE);
    let from = match after {
        Some((due, id)) => due_key(due, id).end(),
        None => all.as_bytes().to_vec(),
    };
    let items = store.scan(&from, &all.end(), limit).await?;
    items.iter().map(|i| crate::record::decode(&i.value)).collect()
}

/// The event has been handled: forget it.
pub fn done(tx: &Tx, waiting: &Waiting) {
    tx.delete(&due_key(waiting.due, &waiting.event.id));
}

/// Counts an attempt and puts the event off until `due`.
pub fn put_off(tx: &Tx, waiting: &Waiting, due: Timestamp) -> Result<()> {
    done(tx, waiting);
    let later = Waiting { event: waiting.event.clone(), attempts: waiting.attempts + 1, due };
    tx.put(&due_key(due, &later.event.id), &later)
}

/// Moves the event to the dead letters.
pub fn bury(tx: &Tx, waiting: &Waiting, died: Timestamp, reason: &str) -> Result<()> {
    done(tx, waiting);
    let dead = Dead { event: waiting.event.clone(), attempts: waiting.attempts + 1, died, reason: reason.to_owned() };
    tx.put(&Key::of(DEAD).number(died.millis()).text(&waiting.event.id), &dead)
}

/// Up to `limit` dead letters, the latest first.
pub async fn dead(store: &Store, limit: usize) -> Result<Vec<Dead>> {
    let all = Key::of(DEAD);
    let items = store.scan_back(all.as_bytes(), &all.end(), limit).await?;
    items.iter().map(|i| crate::record::decode(&i.value)).collect()
}

/// The due time and event id in a key of the outbox.
pub fn parse(key: &[u8]) -> Option<(Timestamp, String)> {
    let mut r = KeyReader::new(key);
    (r.text()? == DUE).then_some(())?;
    Some((Timestamp(r.number()?), r.text()?))
}
