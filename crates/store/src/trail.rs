//! The trail: what became of events that have left the outbox, kept for a while so that their owners can ask.
//!
//! A row an event, without its payload, written in the transaction that ends it: no commit more than without.

use crate::outbox::{Attempt, Place, Waiting};
use crate::record::{self, Record};
use crate::sweep::{self, STEP};
use crate::{Key, Result, Store, Tx};
use base::{Arn, Source, Terms, Timestamp};
use serde::{Deserialize, Serialize};

/// `outbox/trail/<ended ms>/<event id>` → [`Way`].
const TRAIL: &str = "outbox/trail";

/// The way of an event that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    pub id: String,
    pub target: Arn,
    pub source: Source,
    #[serde(default, skip_serializing_if = "Terms::say_nothing")]
    pub terms: Terms,
    pub created: Timestamp,
    pub ended: Timestamp,
    /// All attempts, the last included.
    pub attempts: u32,
    /// The last of those that did not deliver.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Attempt>,
    /// Why it was not delivered; `None` if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Where what followed from it went: a dead-letter queue, a destination.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Arn>,
}

impl Record for Way {
    const VERSION: u8 = 1;
}

impl Way {
    /// Of an event whose last attempt ended now.
    pub fn of(waiting: &Waiting, ended: Timestamp, failure: Option<String>, then: Vec<Arn>) -> Self {
        let event = &waiting.event;
        let tried = match &failure {
            Some(reason) => waiting.tried_with(&Attempt { at: ended, reason: reason.clone() }),
            None => waiting.tried.clone(),
        };
        Self {
            id: event.id.clone(),
            target: event.target.clone(),
            source: event.source.clone(),
            terms: event.terms.clone(),
            created: event.created,
            ended,
            attempts: waiting.attempts + 1,
            tried,
            failure,
            then,
        }
    }
}

fn key(ended: Timestamp, id: &str) -> Key {
    Key::of(TRAIL).number(ended.millis()).text(id)
}

pub fn put(tx: &Tx, way: &Way) -> Result<()> {
    tx.put(&key(way.ended, &way.id), way)
}

/// Up to `limit` rows, the latest first, from `before` (exclusive) on.
pub async fn latest(store: &Store, before: Option<&Place>, limit: usize) -> Result<Vec<Way>> {
    let all = Key::of(TRAIL);
    let end = before.map_or_else(|| all.end(), |(ended, id)| key(*ended, id).into_bytes());
    let items = store.scan_back(all.as_bytes(), &end, limit).await?;
    items.iter().map(|i| record::decode(&i.value)).collect()
}

/// Up to `limit` rows, the earliest first, from `after` (exclusive) on.
pub async fn after(store: &Store, after: &Place, limit: usize) -> Result<Vec<Way>> {
    let items = store.scan(&key(after.0, &after.1).end(), &Key::of(TRAIL).end(), limit).await?;
    items.iter().map(|i| record::decode(&i.value)).collect()
}

/// Forgets rows, the oldest first: all that ended before `since`, and so many more that `count` of them become `keep`.
/// Gives how many are left.
pub async fn sweep(store: &Store, since: Timestamp, keep: usize, mut count: usize) -> Result<usize> {
    loop {
        let all = Key::of(TRAIL);
        let (end, limit) = match count.saturating_sub(keep) {
            0 => (Key::of(TRAIL).number(since.millis()).into_bytes(), STEP),
            over => (all.end(), STEP.min(over)),
        };
        let items = store.scan(all.as_bytes(), &end, limit).await?;
        if items.is_empty() {
            return Ok(count);
        }
        sweep::remove_items(store, &items).await?;
        count = count.saturating_sub(items.len());
    }
}

/// Counts the rows. Reads them all.
pub async fn count(store: &Store) -> Result<usize> {
    crate::outbox::count(store, TRAIL, usize::MAX).await
}
