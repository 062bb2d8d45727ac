//! Background work, in bounded steps: what is past its retention, was purged or deleted, or need not be remembered any
//! longer.

use crate::Queues;
use crate::error::{Error, Result};
use crate::live::Live;
use crate::model::queue::Queue;
use crate::store::{self, Dropped, Place, Space};
use ::store::Tx;
use ::store::record::decode;
use ::store::sweep::{self, STEP};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Records looked at in one read.
const PAGE: usize = 100;
/// After a purge or deletion a send that was under way may still commit: what was dropped is swept until then.
const STRAGGLERS: Duration = Duration::from_secs(120);
/// Before a deleted queue's name can be used again.
pub const DELETED: Duration = Duration::from_secs(60);
/// How long stopping waits for what is under way.
const DRAIN: Duration = Duration::from_secs(5);

impl Queues {
    /// Runs until `stop`; then waits, for a while, for what is under way.
    pub async fn work(self: Arc<Self>, stop: CancellationToken) {
        if let Err(error) = self.resume_tasks().await {
            tracing::warn!(%error, "tasks that move messages could not be taken up again");
        }
        let round = || self.sweep();
        sweep::every(&*self.clock, self.config.sweep_interval, &stop, "queues", round).await;
        self.stopping.cancel();
        self.running.close();
        tokio::select! {
            () = self.running.wait() => {}
            () = self.clock.sleep(DRAIN) => tracing::warn!("stopped with work on queues under way"),
        }
    }

    /// One round of the sweep: everything that is past its time now.
    pub async fn sweep(&self) -> Result<()> {
        self.sweep_dropped().await?;
        self.sweep_names().await?;
        self.sweep_queues().await?;
        self.forget_idle();
        Ok(())
    }

    async fn sweep_dropped(&self) -> Result<()> {
        let all = store::dropped();
        for item in self.store.scan(all.as_bytes(), &all.end(), PAGE).await? {
            let Some(id) = store::parse_dropped(&item.key) else { continue };
            for prefix in [store::messages(id), store::held(id), store::dedups(id), store::dedup_ends(id)] {
                sweep::remove(&self.store, prefix.as_bytes(), &prefix.end()).await?;
            }
            let dropped: Dropped = decode(&item.value)?;
            if self.clock.now().since(dropped.at) > STRAGGLERS {
                sweep::remove_items(&self.store, &[item]).await?;
            }
        }
        Ok(())
    }

    async fn sweep_names(&self) -> Result<()> {
        let all = store::all_deleted();
        let items = self.store.scan(all.as_bytes(), &all.end(), PAGE).await?;
        let is_old = |item: &::store::engine::Item| {
            let at = decode::<Dropped>(&item.value).map(|d| d.at);
            at.is_ok_and(|at| self.clock.now().since(at) > DELETED)
        };
        let old: Vec<_> = items.into_iter().filter(is_old).collect();
        if !old.is_empty() {
            sweep::remove_items(&self.store, &old).await?;
        }
        Ok(())
    }

    async fn sweep_queues(&self) -> Result<()> {
        let all = store::all_queues();
        let mut from = all.as_bytes().to_vec();
        loop {
            let items = self.store.scan(&from, &all.end(), PAGE).await?;
            for item in &items {
                let queue: Queue = decode(&item.value)?;
                self.sweep_messages(&queue).await?;
                if queue.attributes.fifo {
                    self.sweep_dedups(&queue).await?;
                }
            }
            let Some(last) = items.last().filter(|_| items.len() == PAGE) else { return Ok(()) };
            from = [&last.key[..], &[0]].concat();
        }
    }

    /// A message is sent no later than it is due: what was due before the retention is past it. What was sent long
    /// before it came here goes later, but is not given out.
    async fn sweep_messages(&self, queue: &Queue) -> Result<()> {
        let before = Place { due: queue.expired_before(self.now()), stamp: 0 };
        let (low, high) = (store::messages(queue.stock), Space::Message(queue.stock, before).key());
        loop {
            let items = self.store.scan(low.as_bytes(), high.as_bytes(), STEP).await?;
            if items.is_empty() {
                return Ok(());
            }
            let live = match self.live(&queue.named).await {
                Ok(live) => live,
                Err(Error::NoSuchQueue) => return Ok(()),
                Err(error) => return Err(error),
            };
            let places: Vec<Place> = items.iter().filter_map(|i| Place::of_key(&i.key)).collect();
            if !self.expire(&live, queue.stock, &places).await? {
                return Ok(());
            }
        }
    }

    /// `false` if nothing could be removed now.
    async fn expire(&self, live: &Live, stock: u64, places: &[Place]) -> Result<bool> {
        let known = live.stock();
        known.ready(&self.store).await?;
        if known.id != stock {
            return Ok(false);
        }
        let gone: Vec<Place> = {
            let mut shelf = known.shelf();
            places.iter().copied().filter(|place| shelf.expire(*place)).collect()
        };
        self.store
            .transact(async |tx: Tx| {
                for place in &gone {
                    tx.delete(&Space::Message(stock, *place).key());
                    tx.delete(&Space::Held(stock, *place).key());
                }
                Ok::<_, ::store::Error>(())
            })
            .await?;
        Ok(!gone.is_empty())
    }

    async fn sweep_dedups(&self, queue: &Queue) -> Result<()> {
        let low = store::dedup_ends(queue.id);
        let high = store::dedup_ends(queue.id).number(self.now());
        loop {
            let items = self.store.scan(low.as_bytes(), high.as_bytes(), STEP).await?;
            self.store
                .transact(async |tx: Tx| {
                    for (end, digest) in items.iter().filter_map(|i| store::parse_dedup_end(&i.key)) {
                        let key = Space::Dedup(queue.id, &digest).key();
                        let known: Option<store::Dedup> = tx.get(&key).await?;
                        if known.is_some_and(|d| d.until.millis() == end) {
                            tx.delete(&key);
                        }
                    }
                    items.iter().for_each(|i| tx.delete_bytes(&i.key));
                    Ok::<_, ::store::Error>(())
                })
                .await?;
            if items.len() < STEP {
                break;
            }
        }
        if let Some(live) = self.in_use(&queue.named) {
            live.attempts.lock().forget_old(self.now());
        }
        Ok(())
    }
}
