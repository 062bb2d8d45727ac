//! The outbox: events waiting for delivery, one lane a target, each ordered by when its events are next due. Rooms put
//! through `Tx::emit`; the delivery crate takes, puts off and removes.

use crate::engine::Item;
use crate::record::{self, Record};
use crate::{Error, Key, KeyReader, Result, Store, Tx};
use base::{Arn, Event, Timestamp};
use serde::{Deserialize, Serialize};

/// `outbox/due/<target ARN>/<due ms>/<event id>` → [`Waiting`]; `outbox/dead/<died ms>/<event id>` → [`Dead`]. Lanes
/// by target, so that a hundred thousand events waiting for a slow one cost the others nothing.
const DUE: &str = "outbox/due";
const DEAD: &str = "outbox/dead";

/// How many attempts an event's record tells of.
pub const TRIED_MAX: usize = 16;
/// How many items [`counts`] reads at a time.
const COUNT_PAGE: usize = 500;

/// An attempt that did not deliver, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: Timestamp,
    pub reason: String,
}

/// An event and how often it has been tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Waiting {
    pub event: Event,
    /// Attempts already made.
    pub attempts: u32,
    pub due: Timestamp,
    /// The last of them, at most [`TRIED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Attempt>,
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
    /// The last attempts, at most [`TRIED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Attempt>,
}

impl Record for Dead {
    const VERSION: u8 = 1;
}

/// A place in a lane: a due time and an event id. No event has an empty id: such a place is before all of its due time.
pub type Place = (Timestamp, String);

/// An event found in a lane; `Err` where its record is damaged, which must not hold up those behind it.
pub struct Found {
    pub place: Place,
    pub waiting: Result<Waiting>,
}

/// How many events wait and how many are dead, counted up to a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub waiting: usize,
    pub dead: usize,
}

fn lane_key(target: &Arn) -> Key {
    Key::of(DUE).text(&target.to_string())
}

fn due_key(target: &Arn, due: Timestamp, id: &str) -> Key {
    lane_key(target).number(due.millis()).text(id)
}

fn dead_key(died: Timestamp, id: &str) -> Key {
    Key::of(DEAD).number(died.millis()).text(id)
}

pub(crate) fn put(tx: &Tx, event: &Event) -> Result<()> {
    // A key that could not be read back would stop everybody's delivery.
    if event.id.is_empty() || event.target.to_string().parse().as_ref() != Ok(&event.target) {
        return Err(Error::Damaged(format!("event {:?} for {} has no proper id or target", event.id, event.target)));
    }
    let waiting = Waiting { event: event.clone(), attempts: 0, due: event.created, tried: Vec::new() };
    tx.put(&due_key(&event.target, waiting.due, &event.id), &waiting)
}

/// Up to `limit` events in the order of their keys (by target, then by due time), from `after` (exclusive) on.
pub async fn waiting(store: &Store, after: Option<&Waiting>, limit: usize) -> Result<Vec<Waiting>> {
    let all = Key::of(DUE);
    let from = after.map_or(all.clone().into_bytes(), |w| due_key(&w.event.target, w.due, &w.event.id).end());
    let items = store.scan(&from, &all.end(), limit).await?;
    items.iter().map(|i| record::decode(&i.value)).collect()
}

/// The first target after `after`, in the order of ARNs' text, that has events waiting, and when its first is due. One
/// seek, however many wait.
pub async fn next_lane(store: &Store, after: Option<&Arn>) -> Result<Option<(Arn, Timestamp)>> {
    let all = Key::of(DUE);
    let from = after.map_or(all.clone().into_bytes(), |target| lane_key(target).end());
    match store.scan(&from, &all.end(), 1).await?.first() {
        Some(item) => parse(&item.key).map(|(target, (due, _))| Some((target, due))).ok_or_else(|| damaged(item)),
        None => Ok(None),
    }
}

/// Up to `limit` events of one target in due order, from `after` (exclusive) on, due or not.
pub async fn lane(store: &Store, target: &Arn, after: Option<&Place>, limit: usize) -> Result<Vec<Found>> {
    let all = lane_key(target);
    let from = after.map_or(all.clone().into_bytes(), |(due, id)| due_key(target, *due, id).end());
    let items = store.scan(&from, &all.end(), limit).await?;
    let found = |i: &Item| {
        let (_, place) = parse(&i.key).ok_or_else(|| damaged(i))?;
        Ok(Found { place, waiting: record::decode(&i.value) })
    };
    items.iter().map(found).collect()
}

/// The event has been handled: forget it.
pub fn done(tx: &Tx, waiting: &Waiting) {
    tx.delete(&due_key(&waiting.event.target, waiting.due, &waiting.event.id));
}

/// Counts an attempt and puts the event off until `due`.
pub fn put_off(tx: &Tx, waiting: &Waiting, due: Timestamp, attempt: &Attempt) -> Result<()> {
    done(tx, waiting);
    let (event, tried) = (waiting.event.clone(), waiting.tried_with(attempt));
    let later = Waiting { event, attempts: waiting.attempts + 1, due, tried };
    tx.put(&due_key(&later.event.target, due, &later.event.id), &later)
}

/// Moves the event to the dead letters. `last` is the attempt that ended it.
pub fn bury(tx: &Tx, waiting: &Waiting, last: &Attempt) -> Result<()> {
    done(tx, waiting);
    let (event, tried) = (waiting.event.clone(), waiting.tried_with(last));
    let (died, reason) = (last.at, last.reason.clone());
    let dead = Dead { event, attempts: waiting.attempts + 1, died, reason, tried };
    tx.put(&dead_key(died, &waiting.event.id), &dead)
}

/// Takes a dead letter out again and puts its event in the outbox as if it were new at `now`.
pub fn redrive(tx: &Tx, dead: &Dead, now: Timestamp) -> Result<()> {
    tx.delete(&dead_key(dead.died, &dead.event.id));
    tx.emit(&Event { created: now, ..dead.event.clone() })
}

impl Waiting {
    /// The attempts kept when another has been made.
    pub fn tried_with(&self, attempt: &Attempt) -> Vec<Attempt> {
        let skipped = (self.tried.len() + 1).saturating_sub(TRIED_MAX);
        self.tried.iter().skip(skipped).chain([attempt]).cloned().collect()
    }
}

/// Up to `limit` dead letters, the latest first, from `before` (when one died and its event's id, exclusive) on.
pub async fn dead(store: &Store, before: Option<&Place>, limit: usize) -> Result<Vec<Dead>> {
    let all = Key::of(DEAD);
    let end = before.map_or_else(|| all.end(), |(died, id)| dead_key(*died, id).into_bytes());
    let items = store.scan_back(all.as_bytes(), &end, limit).await?;
    items.iter().map(|i| record::decode(&i.value)).collect()
}

/// The dead letter of an event that died then, if it is still there.
pub async fn dead_at(tx: &Tx, died: Timestamp, id: &str) -> Result<Option<Dead>> {
    tx.get(&dead_key(died, id)).await
}

/// Counts waiting events and dead letters, each up to `max`. Reads them, so keep `max` moderate.
pub async fn counts(store: &Store, max: usize) -> Result<Counts> {
    Ok(Counts { waiting: count(store, DUE, max).await?, dead: count(store, DEAD, max).await? })
}

pub(crate) async fn count(store: &Store, space: &str, max: usize) -> Result<usize> {
    let all = Key::of(space);
    let (mut from, mut n) = (all.clone().into_bytes(), 0);
    while n < max {
        let items = store.scan(&from, &all.end(), COUNT_PAGE.min(max - n)).await?;
        let Some(last) = items.last() else { break };
        from = last.key.to_vec();
        from.push(0);
        n += items.len();
    }
    Ok(n)
}

/// The target and place in a key of the outbox.
fn parse(key: &[u8]) -> Option<(Arn, Place)> {
    let mut r = KeyReader::new(key);
    (r.text()? == DUE).then_some(())?;
    Some((r.text()?.parse().ok()?, (Timestamp(r.number()?), r.text()?)))
}

fn damaged(item: &Item) -> Error {
    Error::Damaged(format!("a key of the outbox: {}", String::from_utf8_lossy(&item.key)))
}
