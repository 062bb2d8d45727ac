//! [`Store`] and [`Tx`]: optimistic transactions over any engine.

use crate::engine::{Batch, Check, Committed, Engine, Item, Range, Version, Write};
use crate::record::{self, Record};
use crate::{Error, KEY_BYTES_MAX, Key, Result, VALUE_BYTES_MAX, outbox};
use base::{Event, Timestamp};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// How often `transact` runs a closure whose reads keep changing before it gives up.
const TRIES_MAX: u32 = 64;
/// After so many conflicts a transaction waits for its turn among all that conflict: else the slow lose to the quick
/// for ever where many want the same key.
const TRIES_FREE: u32 = 4;
/// The longest wait for a turn; after it the transaction goes on without. It only bounds the harm of a closure that
/// runs another transaction inside.
const TURN_WAIT_MAX: Duration = Duration::from_secs(2);

/// Storage as rooms see it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    engine: Arc<dyn Engine>,
    emitted: Arc<Emitted>,
    watches: Arc<RwLock<Vec<Arc<Watch>>>>,
    turn: Arc<Semaphore>,
}

/// Counts the commits that touch some keys, so that what was made of their records can be kept until they change.
///
/// Read the count, then the records; what is made of them holds for as long as the count is the same. While a commit is
/// under way there is no count: others may read what it writes before whoever made it is told.
pub struct Watch {
    prefixes: Vec<Key>,
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Watch {
    /// Commits so far; `None` while there is one of which it cannot be told whether it has happened.
    pub fn commits(&self) -> Option<u64> {
        // In this order: had one begun after the first look, the second would see it.
        let ended = self.ended.load(Ordering::SeqCst);
        (self.begun.load(Ordering::SeqCst) == ended).then_some(ended)
    }

    fn sees(&self, batch: &Batch) -> bool {
        batch.writes.iter().any(|write| self.prefixes.iter().any(|prefix| write.key.starts_with(prefix.as_bytes())))
    }
}

/// What has been put in the outbox since delivery last asked: for each target its earliest due time. As large as there
/// are targets.
#[derive(Default)]
struct Emitted {
    wake: Notify,
    due: Mutex<BTreeMap<outbox::Lane, Timestamp>>,
}

/// One try of a transaction: reads see the engine and this try's own writes; nothing is written before commit. A cheap
/// handle, so that a closure can own it; use after the closure has returned has no effect.
#[derive(Clone)]
pub struct Tx(Arc<Inner>);

struct Inner {
    engine: Arc<dyn Engine>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    reads: BTreeMap<Bytes, Version>,
    scans: Vec<Check>,
    writes: BTreeMap<Bytes, Option<Bytes>>,
    emits: Vec<(outbox::Lane, Timestamp)>,
}

impl Store {
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, emitted: Arc::default(), watches: Arc::default(), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Runs `body` against a snapshot and commits what it wrote, if what it read has not changed; else runs it again.
    /// `Ok` means durable. An `Err` of the closure abandons the try and is returned as it is, unless what it read did
    /// not agree: then the closure runs again. After [`Error::Unavailable`] of the commit itself the writes may or may
    /// not be there. `body` must not run another transaction inside.
    pub async fn transact<T, E, F, Fut>(&self, body: F) -> std::result::Result<T, E>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = std::result::Result<T, E>>,
        E: From<Error>,
    {
        let mut _turn = None;
        for attempt in 0..TRIES_MAX {
            if attempt == TRIES_FREE {
                _turn = tokio::time::timeout(TURN_WAIT_MAX, self.turn.acquire()).await.ok();
            }
            let tx = Tx(Arc::new(Inner { engine: self.engine.clone(), seen: Mutex::default() }));
            let value = body(tx.clone()).await;
            let (mut batch, emits) = tx.into_batch();
            if value.is_err() {
                batch.writes.clear();
            }
            // Reads alone need no commit unless they must agree with each other.
            if batch.writes.is_empty() && batch.checks.len() <= 1 {
                return value;
            }
            let committed = self.commit(batch).await;
            match (value, committed) {
                (_, Ok(Committed::Conflict)) => {}
                (Err(e), _) => return Err(e),
                (Ok(value), committed) => {
                    // Also after an error: the commit may have been applied.
                    self.emitted.note(emits);
                    return committed.map(|_| value).map_err(E::from);
                }
            }
        }
        Err(Error::Conflict.into())
    }

    /// Watches all keys with one of these prefixes. Meant for a few watches that last as long as the store.
    pub fn watch(&self, prefixes: Vec<Key>) -> Arc<Watch> {
        let watch = Arc::new(Watch { prefixes, begun: AtomicU64::new(0), ended: AtomicU64::new(0) });
        self.watches.write().push(watch.clone());
        watch
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        let seen: Vec<Arc<Watch>> = self.watches.read().iter().filter(|watch| watch.sees(&batch)).cloned().collect();
        if seen.is_empty() {
            return self.engine.commit(batch).await;
        }
        for watch in &seen {
            watch.begun.fetch_add(1, Ordering::SeqCst);
        }
        // A task of its own: the end is counted also when whoever waits for it goes away.
        let engine = self.engine.clone();
        let commit = tokio::spawn(async move {
            let committed = engine.commit(batch).await;
            for watch in seen {
                watch.ended.fetch_add(1, Ordering::SeqCst);
            }
            committed
        });
        commit.await.unwrap_or_else(|e| Err(Error::Unavailable(e.to_string())))
    }

    /// Reads one record outside a transaction.
    pub async fn get<R: Record>(&self, key: &Key) -> Result<Option<R>> {
        self.engine.read(key.as_bytes()).await?.map(|i| record::decode(&i.value)).transpose()
    }

    /// Reads raw bytes outside a transaction.
    pub async fn get_bytes(&self, key: &Key) -> Result<Option<Bytes>> {
        Ok(self.engine.read(key.as_bytes()).await?.map(|i| i.value))
    }

    /// Reads up to `limit` items of `[from, to)` outside a transaction.
    pub async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Item>> {
        self.engine.scan(&range(from, to, limit, false)).await
    }

    /// As [`Store::scan`], from the high end down.
    pub async fn scan_back(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Item>> {
        self.engine.scan(&range(from, to, limit, true)).await
    }

    /// Waits until commits have put events in the outbox; gives each lane that got some since the last call, and the
    /// earliest due time among those. Only one task may wait. Safe to cancel.
    pub async fn emitted(&self) -> Vec<(outbox::Lane, Timestamp)> {
        loop {
            let due = std::mem::take(&mut *self.emitted.due.lock());
            if !due.is_empty() {
                return due.into_iter().collect();
            }
            self.emitted.wake.notified().await;
        }
    }
}

impl Emitted {
    fn note(&self, emits: Vec<(outbox::Lane, Timestamp)>) {
        if emits.is_empty() {
            return;
        }
        let mut all = self.due.lock();
        for (lane, due) in emits {
            let earliest = all.entry(lane).or_insert(due);
            *earliest = due.min(*earliest);
        }
        drop(all);
        self.wake.notify_one();
    }
}

fn range(from: &[u8], to: &[u8], limit: usize, reverse: bool) -> Range {
    Range { from: Bytes::copy_from_slice(from), to: Bytes::copy_from_slice(to), limit, reverse }
}

impl Tx {
    pub async fn get<R: Record>(&self, key: &Key) -> Result<Option<R>> {
        self.get_bytes(key).await?.map(|b| record::decode(&b)).transpose()
    }

    pub async fn get_bytes(&self, key: &Key) -> Result<Option<Bytes>> {
        if let Some(own) = self.0.seen.lock().writes.get(key.as_bytes()) {
            return Ok(own.clone());
        }
        let item = self.0.engine.read(key.as_bytes()).await?;
        let version = item.as_ref().map_or(0, |i| i.version);
        // The first version seen counts: a later, different one makes the commit conflict, as it must.
        self.0.seen.lock().reads.entry(Bytes::copy_from_slice(key.as_bytes())).or_insert(version);
        Ok(item.map(|i| i.value))
    }

    pub fn put<R: Record>(&self, key: &Key, record: &R) -> Result<()> {
        self.put_bytes(key, record::encode(record))
    }

    pub fn put_bytes(&self, key: &Key, value: impl Into<Bytes>) -> Result<()> {
        let value = value.into();
        let too_large = |what, bytes, max| Err(Error::TooLarge { what, bytes, max });
        if key.as_bytes().len() > KEY_BYTES_MAX {
            return too_large("key", key.as_bytes().len(), KEY_BYTES_MAX);
        }
        if value.len() > VALUE_BYTES_MAX {
            return too_large("value", value.len(), VALUE_BYTES_MAX);
        }
        self.0.seen.lock().writes.insert(Bytes::copy_from_slice(key.as_bytes()), Some(value));
        Ok(())
    }

    pub fn delete(&self, key: &Key) {
        self.delete_bytes(key.as_bytes());
    }

    /// Deletes by a key that a scan gave.
    pub fn delete_bytes(&self, key: &[u8]) {
        self.0.seen.lock().writes.insert(Bytes::copy_from_slice(key), None);
    }

    /// Up to `limit` items of `[from, to)` in key order, own writes included (their `version` is 0).
    pub async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Item>> {
        self.scan_range(range(from, to, limit, false)).await
    }

    /// As [`Tx::scan`], from the high end down.
    pub async fn scan_back(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Item>> {
        self.scan_range(range(from, to, limit, true)).await
    }

    async fn scan_range(&self, mut range: Range) -> Result<Vec<Item>> {
        if range.from >= range.to || range.limit == 0 {
            return Ok(Vec::new());
        }
        let own: Vec<(Bytes, Option<Bytes>)> = {
            let seen = self.0.seen.lock();
            let within = seen.writes.range(range.from.clone()..range.to.clone());
            within.map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        let (limit, reverse) = (range.limit, range.reverse);
        // Own deletions may hide stored items, so ask for as many more.
        range.limit = limit.saturating_add(own.len());
        let stored = self.0.engine.scan(&range).await?;
        let seen = stored.iter().map(|i| (i.key.clone(), i.version)).collect();
        self.0.seen.lock().scans.push(Check::Range { range, seen });
        if own.is_empty() {
            return Ok(stored);
        }
        let mut merged: BTreeMap<Bytes, Item> = stored.into_iter().map(|i| (i.key.clone(), i)).collect();
        for (key, value) in own {
            match value {
                Some(value) => drop(merged.insert(key.clone(), Item { key, value, version: 0 })),
                None => drop(merged.remove(&key)),
            }
        }
        let merged = merged.into_values();
        Ok(if reverse { merged.rev().take(limit).collect() } else { merged.take(limit).collect() })
    }

    /// Puts an event in the outbox of this transaction: it will be delivered if, and only if, this commits.
    pub fn emit(&self, event: &Event) -> Result<()> {
        outbox::put(self, event)?;
        self.0.seen.lock().emits.push((outbox::Lane::of(event), event.created));
        Ok(())
    }

    fn into_batch(self) -> (Batch, Vec<(outbox::Lane, Timestamp)>) {
        let seen = std::mem::take(&mut *self.0.seen.lock());
        let mut checks: Vec<Check> = seen.reads.into_iter().map(|(key, version)| Check::Key { key, version }).collect();
        checks.extend(seen.scans);
        let writes = seen.writes.into_iter().map(|(key, value)| Write { key, value }).collect();
        (Batch { checks, writes }, seen.emits)
    }
}
