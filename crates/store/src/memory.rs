//! The engine for tests: a map in memory, serialisable, not durable.

use crate::Result;
use crate::engine::{Batch, Check, Committed, Engine, Item, Range, Version};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Memory(Mutex<State>);

#[derive(Default)]
struct State {
    items: BTreeMap<Bytes, (Bytes, Version)>,
    commits: Version,
}

impl State {
    fn version(&self, key: &[u8]) -> Version {
        self.items.get(key).map_or(0, |(_, v)| *v)
    }

    fn scan(&self, range: &Range) -> Vec<Item> {
        if range.from >= range.to {
            return Vec::new();
        }
        let items = self.items.range(range.from.clone()..range.to.clone());
        let item =
            |(k, (v, ver)): (&Bytes, &(Bytes, Version))| Item { key: k.clone(), value: v.clone(), version: *ver };
        if range.reverse {
            items.rev().take(range.limit).map(item).collect()
        } else {
            items.take(range.limit).map(item).collect()
        }
    }

    fn holds(&self, check: &Check) -> bool {
        match check {
            Check::Key { key, version } => self.version(key) == *version,
            Check::Range { range, seen } => {
                let now = self.scan(range);
                now.len() == seen.len() && now.iter().zip(seen).all(|(i, (k, v))| i.key == *k && i.version == *v)
            }
        }
    }
}

#[async_trait]
impl Engine for Memory {
    async fn read(&self, key: &[u8]) -> Result<Option<Item>> {
        let state = self.0.lock();
        Ok(state.items.get_key_value(key).map(|(k, (v, ver))| Item { key: k.clone(), value: v.clone(), version: *ver }))
    }

    async fn scan(&self, range: &Range) -> Result<Vec<Item>> {
        Ok(self.0.lock().scan(range))
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        let mut state = self.0.lock();
        if !batch.checks.iter().all(|c| state.holds(c)) {
            return Ok(Committed::Conflict);
        }
        state.commits += 1;
        let version = state.commits;
        for w in batch.writes {
            match w.value {
                Some(value) => drop(state.items.insert(w.key, (value, version))),
                None => drop(state.items.remove(&w.key)),
            }
        }
        Ok(Committed::Yes)
    }
}
