//! The outbox: events waiting for delivery, one lane a target, each ordered by when its events are next due. Rooms put
//! through `Tx::emit`; the delivery crate takes, puts off and removes. Events that keep an order have a lane of their own
//! within it, in which what is put off keeps its place.

use crate::engine::Item;
use crate::record::{self, Record};
use crate::{Error, Key, KeyReader, Result, Store, Tx};
use base::{Arn, Event, Timestamp};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// `outbox/due/<lane>/<due ms>/<event id>` → [`Waiting`]; `outbox/dead/<died ms>/<event id>` → [`Dead`]. Lanes
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

/// A lane: a target and, of events that keep an order, within what they keep it ([`base::Terms::order`]).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    pub target: Arn,
    pub order: Option<String>,
}

impl Lane {
    pub fn of(event: &Event) -> Self {
        Self { target: event.target.clone(), order: event.terms.order.clone() }
    }

    /// The ARN, and behind a line end, which no ARN has, the order.
    fn text(&self) -> String {
        match &self.order {
            None => self.target.to_string(),
            Some(order) => format!("{}\n{order}", self.target),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (target, order) = match text.split_once('\n') {
            Some((target, order)) => (target, Some(order.to_owned())),
            None => (text, None),
        };
        Some(Self { target: target.parse().ok()?, order })
    }
}

/// A place in a lane: a due time and an event id. No event has an empty id: such a place is before all of its due time.
pub type Place = (Timestamp, String);

/// An event found in a lane.
pub struct Found {
    pub place: Place,
    record: Bytes,
}

impl Found {
    /// Its record, read only now: most of what a busy lane's reader comes across is in flight already.
    ///
    /// # Errors
    /// The record is damaged, which must not hold up those behind it.
    pub fn waiting(&self) -> Result<Waiting> {
        record::decode(&self.record)
    }
}

/// How many events wait and how many are dead, counted up to a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub waiting: usize,
    pub dead: usize,
}

fn lane_key(lane: &Lane) -> Key {
    Key::of(DUE).text(&lane.text())
}

fn due_key(lane: &Lane, due: Timestamp, id: &str) -> Key {
    lane_key(lane).number(due.millis()).text(id)
}

fn key_of(waiting: &Waiting) -> Key {
    due_key(&Lane::of(&waiting.event), waiting.due, &waiting.event.id)
}

fn dead_key(died: Timestamp, id: &str) -> Key {
    Key::of(DEAD).number(died.millis()).text(id)
}

pub(crate) fn put(tx: &Tx, event: &Event) -> Result<()> {
    // A key that could not be read back would stop everybody's delivery.
    let lane = Lane::of(event);
    if event.id.is_empty() || Lane::parse(&lane.text()).as_ref() != Some(&lane) {
        return Err(Error::Damaged(format!("event {:?} for {} has no proper id or target", event.id, event.target)));
    }
    let waiting = Waiting { event: event.clone(), attempts: 0, due: event.created, tried: Vec::new() };
    tx.put(&key_of(&waiting), &waiting)
}

/// Up to `limit` events in the order of their keys (by target, then by due time), from `after` (exclusive) on.
pub async fn waiting(store: &Store, after: Option<&Waiting>, limit: usize) -> Result<Vec<Waiting>> {
    let all = Key::of(DUE);
    let from = after.map_or(all.clone().into_bytes(), |w| key_of(w).end());
    let items = store.scan(&from, &all.end(), limit).await?;
    items.iter().map(|i| record::decode(&i.value)).collect()
}

/// The first lane after `after`, in the order of their text, that has events waiting, and when its first is due. One
/// seek, however many wait.
pub async fn next_lane(store: &Store, after: Option<&Lane>) -> Result<Option<(Lane, Timestamp)>> {
    let all = Key::of(DUE);
    let from = after.map_or(all.clone().into_bytes(), |lane| lane_key(lane).end());
    match store.scan(&from, &all.end(), 1).await?.first() {
        Some(item) => parse(&item.key).map(|(lane, (due, _))| Some((lane, due))).ok_or_else(|| damaged(item)),
        None => Ok(None),
    }
}

/// Up to `limit` events of one lane in due order, from `after` (exclusive) on, due or not.
pub async fn lane(store: &Store, lane: &Lane, after: Option<&Place>, limit: usize) -> Result<Vec<Found>> {
    let all = lane_key(lane);
    let from = after.map_or(all.clone().into_bytes(), |(due, id)| due_key(lane, *due, id).end());
    let items = store.scan(&from, &all.end(), limit).await?;
    let found = |i: &Item| {
        let (_, place) = parse(&i.key).ok_or_else(|| damaged(i))?;
        Ok(Found { place, record: i.value.clone() })
    };
    items.iter().map(found).collect()
}

/// The event has been handled: forget it.
pub fn done(tx: &Tx, waiting: &Waiting) {
    tx.delete(&key_of(waiting));
}

/// Does the event still wait, where it was read?
pub async fn waits(tx: &Tx, waiting: &Waiting) -> Result<bool> {
    Ok(tx.get::<Waiting>(&key_of(waiting)).await?.is_some())
}

/// Counts an attempt and puts the event off until `due`; one that keeps an order stays where it is.
pub fn put_off(tx: &Tx, waiting: &Waiting, due: Timestamp, attempt: &Attempt) -> Result<()> {
    done(tx, waiting);
    let (event, tried) = (waiting.event.clone(), waiting.tried_with(attempt));
    let due = if event.terms.order.is_some() { waiting.due } else { due };
    let later = Waiting { event, attempts: waiting.attempts + 1, due, tried };
    tx.put(&key_of(&later), &later)
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

/// The lane and place in a key of the outbox.
fn parse(key: &[u8]) -> Option<(Lane, Place)> {
    let mut r = KeyReader::new(key);
    (r.text()? == DUE).then_some(())?;
    Some((Lane::parse(&r.text()?)?, (Timestamp(r.number()?), r.text()?)))
}

fn damaged(item: &Item) -> Error {
    Error::Damaged(format!("a key of the outbox: {}", String::from_utf8_lossy(&item.key)))
}
