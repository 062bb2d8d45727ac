//! What was made of functions' records, kept until any of them changes: every call asks for it, and changes are rare.

use crate::store::Below;
use ::store::{Key, Store, Watch};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Items kept; then all are forgotten, which is simpler than finding the least used and as good for what is asked often.
const ITEMS_MAX: usize = 4_096;

pub struct Kept<K, V> {
    watch: Arc<Watch>,
    items: RwLock<Items<K, V>>,
}

struct Items<K, V> {
    /// The count of changes at which all of them were made.
    at: u64,
    by_key: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Clone> Kept<K, V> {
    pub fn new(store: &Store) -> Self {
        let spaces = [Below::Functions, Below::Versions, Below::Aliases, Below::Policies, Below::Urls];
        let mut prefixes: Vec<Key> = spaces.into_iter().map(Below::everywhere).collect();
        prefixes.push(Key::of("functions/url-id"));
        Self { watch: store.watch(prefixes), items: RwLock::new(Items { at: 0, by_key: HashMap::new() }) }
    }

    /// What to give [`Self::put`]; asked for before the records are read. `None` while they are being changed.
    pub fn now(&self) -> Option<u64> {
        self.watch.commits()
    }

    pub fn get(&self, key: &K) -> Option<V> {
        let items = self.items.read();
        if Some(items.at) == self.now() { items.by_key.get(key).cloned() } else { None }
    }

    /// Keeps what was made of records that were read when the count was `at` or later.
    pub fn put(&self, at: Option<u64>, key: K, value: V) {
        let Some(at) = at else { return };
        let mut items = self.items.write();
        if at < items.at {
            return;
        }
        if at > items.at || items.by_key.len() >= ITEMS_MAX {
            *items = Items { at, by_key: HashMap::new() };
        }
        items.by_key.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::store::Tx;
    use ::store::engine::{Batch, Committed, Engine, Item, Range};
    use ::store::memory::Memory;
    use async_trait::async_trait;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn a_change_is_seen_at_once() {
        let store = Store::new(Arc::new(Memory::default()));
        let kept = Kept::<u8, u8>::new(&store);
        let write = async |space: &str| {
            let key = Key::of(space).text("x");
            store
                .transact(|tx: Tx| {
                    let key = key.clone();
                    async move { tx.put_bytes(&key, vec![1]) }
                })
                .await
                .expect("commits");
        };
        let before = kept.now();
        kept.put(before, 1, 10);
        write("functions/retry").await;
        write("objects/bucket").await;
        assert_eq!(kept.get(&1), Some(10));
        for space in ["functions/function", "functions/version", "functions/alias", "functions/policy", "functions/url"]
        {
            kept.put(kept.now(), 1, 10);
            assert_eq!(kept.get(&1), Some(10));
            write(space).await;
            assert_eq!(kept.get(&1), None, "{space}");
        }
        // What was read before a change is not kept after it.
        kept.put(before, 2, 20);
        kept.put(kept.now(), 1, 11);
        kept.put(before, 2, 20);
        assert_eq!((kept.get(&1), kept.get(&2)), (Some(11), None));
    }

    /// A store whose commits can be read before their callers are told of them.
    struct Late {
        memory: Memory,
        may_tell: Semaphore,
    }

    #[async_trait]
    impl Engine for Late {
        async fn read(&self, key: &[u8]) -> ::store::Result<Option<Item>> {
            self.memory.read(key).await
        }

        async fn scan(&self, range: &Range) -> ::store::Result<Vec<Item>> {
            self.memory.scan(range).await
        }

        async fn commit(&self, batch: Batch) -> ::store::Result<Committed> {
            let committed = self.memory.commit(batch).await;
            let _ = self.may_tell.acquire().await;
            committed
        }
    }

    #[tokio::test]
    async fn nothing_old_is_told_once_a_change_can_be_read() {
        let engine = Arc::new(Late { memory: Memory::default(), may_tell: Semaphore::new(0) });
        let store = Store::new(engine.clone());
        let kept = Kept::<u8, u8>::new(&store);
        let key = Key::of("functions/function").text("x");
        let before = kept.now();
        kept.put(before, 1, 10);
        assert_eq!(kept.get(&1), Some(10));
        let writing = tokio::spawn({
            let (store, key) = (store.clone(), key.clone());
            async move {
                store
                    .transact(|tx: Tx| {
                        let key = key.clone();
                        async move { tx.put_bytes(&key, vec![1]) }
                    })
                    .await
            }
        });
        while store.get_bytes(&key).await.expect("reads").is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!((kept.get(&1), kept.now()), (None, None), "it has happened, though nobody was told");
        kept.put(kept.now(), 1, 10);
        engine.may_tell.add_permits(1);
        writing.await.expect("ends").expect("commits");
        kept.put(before, 1, 10);
        assert_eq!(kept.get(&1), None);
        kept.put(kept.now(), 1, 11);
        assert_eq!(kept.get(&1), Some(11));
    }
}
