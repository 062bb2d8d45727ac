//! [`Store`] and [`Tx`]: optimistic transactions over any engine.

use crate::engine::{Batch, Check, Committed, Engine, Item, Range, Version, Write};
use crate::record::{self, Record};
use crate::{Error, KEY_BYTES_MAX, Key, Result, VALUE_BYTES_MAX, outbox};
use base::Event;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::Notify;

/// How often `transact` runs a closure whose reads keep changing before it gives up.
const TRIES_MAX: u32 = 64;

/// Storage as rooms see it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    engine: Arc<dyn Engine>,
    emitted: Arc<Notify>,
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
    emits: bool,
}

impl Store {
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, emitted: Arc::new(Notify::new()) }
    }

    /// Runs `body` against a snapshot and commits what it wrote, if what it read has not changed; else runs it again.
    /// `Ok` means durable. An `Err` of the closure abandons the try and is returned as it is.
    pub async fn transact<T, E, F, Fut>(&self, body: F) -> std::result::Result<T, E>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = std::result::Result<T, E>>,
        E: From<Error>,
    {
        for _ in 0..TRIES_MAX {
            let tx = Tx(Arc::new(Inner { engine: self.engine.clone(), seen: Mutex::default() }));
            let value = body(tx.clone()).await?;
            let (batch, emits) = tx.into_batch();
            // Reads alone need no commit unless they must agree with each other.
            if batch.writes.is_empty() && batch.checks.len() <= 1 {
                return Ok(value);
            }
            if self.engine.commit(batch).await? == Committed::Yes {
                if emits {
                    self.emitted.notify_one();
                }
                return Ok(value);
            }
        }
        Err(Error::Conflict.into())
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

    /// Wakes when a commit has put events in the outbox. Wake-ups merge; look at the outbox after each.
    pub async fn emitted(&self) {
        self.emitted.notified().await;
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
        let own: Vec<(Bytes, Option<Bytes>)> = {
            let seen = self.0.seen.lock();
            if from >= to {
                return Ok(Vec::new());
            }
            let (from, to) = (Bytes::copy_from_slice(from), Bytes::copy_from_slice(to));
            seen.writes.range(from..to).map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        // Own deletions may hide stored items, so ask for as many more.
        let range = range(from, to, limit.saturating_add(own.len()), false);
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
        Ok(merged.into_values().take(limit).collect())
    }

    /// Puts an event in the outbox of this transaction: it will be delivered if, and only if, this commits.
    pub fn emit(&self, event: &Event) -> Result<()> {
        outbox::put(self, event)?;
        self.0.seen.lock().emits = true;
        Ok(())
    }

    fn into_batch(self) -> (Batch, bool) {
        let seen = std::mem::take(&mut *self.0.seen.lock());
        let mut checks: Vec<Check> = seen.reads.into_iter().map(|(key, version)| Check::Key { key, version }).collect();
        checks.extend(seen.scans);
        let writes = seen.writes.into_iter().map(|(key, value)| Write { key, value }).collect();
        (Batch { checks, writes }, seen.emits)
    }
}
