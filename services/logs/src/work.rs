//! Background work, in bounded steps: sweeping events past their retention, and the remains of what was deleted.

use crate::chunk::{self, SPAN_MS_MAX};
use crate::store::{self, Dropped, Group, Space};
use crate::{Logs, model};
use ::store::sweep::{self, STEP};
use ::store::{Result, Tx};
use base::Timestamp;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Groups looked at in one read.
const GROUPS: usize = 100;

impl Logs {
    /// Sweeps every [`crate::Config::sweep_interval`] until `stop`.
    pub async fn work(self: Arc<Self>, stop: CancellationToken) {
        sweep::every(&*self.clock, self.config.sweep_interval, &stop, "logs", || self.sweep()).await;
    }

    /// One round of the sweep: everything that is past its time now.
    pub async fn sweep(&self) -> Result<()> {
        self.sweep_dropped_groups().await?;
        self.sweep_dropped_streams().await?;
        self.sweep_expired().await
    }

    async fn sweep_dropped_groups(&self) -> Result<()> {
        let all = store::dropped_groups();
        for item in self.store.scan(all.as_bytes(), &all.end(), GROUPS).await? {
            let mut key = ::store::KeyReader::new(&item.key);
            let Some(id) = key.text().and_then(|_| key.text()) else { continue };
            for prefix in store::remains(&id) {
                sweep::remove(&self.store, prefix.as_bytes(), &prefix.end()).await?;
            }
            sweep::remove_items(&self.store, &[item]).await?;
        }
        Ok(())
    }

    async fn sweep_dropped_streams(&self) -> Result<()> {
        let all = store::all_dropped_streams();
        for item in self.store.scan(all.as_bytes(), &all.end(), GROUPS).await? {
            let Some((group, stream)) = store::parse_hidden(&item.key) else { continue };
            let index = store::index(&group, stream);
            while self.remove_chunks(&group, index.as_bytes(), &index.end(), true).await? == STEP {}
            sweep::remove_items(&self.store, &[item]).await?;
        }
        Ok(())
    }

    async fn sweep_expired(&self) -> Result<()> {
        let all = store::all_groups();
        let mut from = all.as_bytes().to_vec();
        loop {
            let items = self.store.scan(&from, &all.end(), GROUPS).await?;
            for item in &items {
                let group: Group = ::store::record::decode(&item.value)?;
                if group.retention_days.is_some() {
                    self.sweep_group(&group, self.clock.now()).await?;
                }
            }
            let Some(last) = items.last().filter(|_| items.len() == GROUPS) else { return Ok(()) };
            from = last.key.to_vec();
            from.push(0);
        }
    }

    /// A chunk goes when even its last line is past the retention.
    async fn sweep_group(&self, group: &Group, now: Timestamp) -> Result<()> {
        let before = model::expired_before(group.retention_days, now).millis().saturating_sub(SPAN_MS_MAX);
        let low = store::chunks(&group.id);
        let high = Space::Chunk(&group.id, before, 0).key();
        while self.remove_chunks(&group.id, low.as_bytes(), high.as_bytes(), false).await? == STEP {}
        Ok(())
    }

    /// Removes up to [`STEP`] chunks with their index entries, by the keys of the chunks or of their index, and takes
    /// them off the group's size. Returns how many keys were there.
    async fn remove_chunks(&self, group: &str, low: &[u8], high: &[u8], by_index: bool) -> Result<usize> {
        let items = self.store.scan(low, high, STEP).await?;
        let at = |key: &[u8]| store::chunk_numbers(key);
        self.store
            .transact(async |tx: Tx| {
                let mut freed = 0;
                for (first, seq) in items.iter().filter_map(|i| at(&i.key)) {
                    let key = Space::Chunk(group, first, seq).key();
                    if let Some(bytes) = tx.get_bytes(&key).await? {
                        let chunk = store::read_chunk(&bytes)?;
                        freed += chunk::stored_bytes(&chunk.lines);
                        tx.delete(&Space::Index(group, chunk.stream_id, first, seq).key());
                    }
                    tx.delete(&key);
                }
                if by_index {
                    items.iter().for_each(|i| tx.delete_bytes(&i.key));
                }
                let mut tail = store::tail(&tx, group).await?;
                tail.bytes = tail.bytes.saturating_sub(freed);
                tx.put(&Space::Tail(group).key(), &tail)
            })
            .await?;
        Ok(items.len())
    }
}

/// Marks a deleted group for the sweep.
pub fn drop_group(tx: &Tx, group: &str, at: Timestamp) -> Result<()> {
    tx.put(&Space::DroppedGroup(group).key(), &Dropped { at })
}

/// Marks a deleted stream for the sweep.
pub fn drop_stream(tx: &Tx, group: &str, stream: u64, at: Timestamp) -> Result<()> {
    tx.put(&Space::DroppedStream(group, stream).key(), &Dropped { at })
}
