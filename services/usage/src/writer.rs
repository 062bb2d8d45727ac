//! The one writer: records gather for a moment and are committed together with the sums they count towards.
//!
//! When storage fails they wait and are tried again, which fills the queue and so slows those who meter.

use crate::model::Totals;
use crate::store::{Runs, Space, Unit};
use ::store::{Error, Store, Tx};
use base::port::{Clock, Entropy};
use base::{Scope, Timestamp, UsageRecord};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Records of one transaction; also keeps a record of runs well below the store's bound on values.
const COMMIT_RECORDS_MAX: usize = 1_000;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Something queued.
pub enum Item {
    Record(Box<UsageRecord>),
    Flush(oneshot::Sender<()>),
}

pub struct Writer {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub interval: Duration,
}

#[derive(Default)]
struct Gathered {
    records: Vec<UsageRecord>,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Gathered {
    fn add(&mut self, item: Item) {
        match item {
            Item::Record(record) => self.records.push(*record),
            Item::Flush(done) => self.flushes.push(done),
        }
    }

    fn full(&self) -> bool {
        self.records.len() >= COMMIT_RECORDS_MAX
    }
}

impl Writer {
    /// Writes until the queue is closed and empty.
    pub async fn run(self, mut queue: mpsc::Receiver<Item>) {
        let mut last = Timestamp(0);
        while let Some(gathered) = self.gather(&mut queue).await {
            // Each commit is later than the one before, also within a millisecond: runs are listed in this order.
            last = Timestamp(self.clock.now().millis().max(last.millis() + 1));
            self.persist(&gathered.records, last).await;
            for done in gathered.flushes {
                let _ = done.send(());
            }
        }
    }

    async fn gather(&self, queue: &mut mpsc::Receiver<Item>) -> Option<Gathered> {
        let mut gathered = Gathered::default();
        gathered.add(queue.recv().await?);
        let window = self.clock.sleep(self.interval);
        tokio::pin!(window);
        while gathered.flushes.is_empty() && !gathered.full() {
            tokio::select! {
                () = &mut window => break,
                item = queue.recv() => match item {
                    Some(item) => gathered.add(item),
                    None => break,
                },
            }
        }
        Some(gathered)
    }

    /// Commits records, and tries again until storage takes them.
    async fn persist(&self, records: &[UsageRecord], at: Timestamp) {
        if records.is_empty() {
            return;
        }
        let (mut pause, id) = (PAUSE_MIN, self.entropy.uuid());
        while let Err(error) = self.commit(records, at, &id).await {
            if matches!(error, Error::TooLarge { .. } | Error::Damaged(_)) {
                tracing::error!(records = records.len(), %error, "usage cannot be stored");
                return;
            }
            tracing::warn!(%error, "usage waits for storage");
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn commit(&self, records: &[UsageRecord], at: Timestamp, id: &str) -> Result<(), Error> {
        let mut scopes: BTreeMap<&Scope, Vec<UsageRecord>> = BTreeMap::new();
        for record in records {
            scopes.entry(&record.function.scope).or_default().push(record.clone());
        }
        let sums = sums(records);
        self.store
            .transact(async |tx: Tx| {
                for (scope, records) in &scopes {
                    tx.put(&Space::Runs(scope, at.millis(), id).key(), &Runs(records.clone()))?;
                }
                for (key, more) in &sums {
                    let mut totals: Totals = tx.get(key).await?.unwrap_or_default();
                    totals.add(more);
                    tx.put(key, &totals)?;
                }
                Ok(())
            })
            .await
    }
}

/// What the records add to each sum.
fn sums(records: &[UsageRecord]) -> BTreeMap<::store::Key, Totals> {
    let mut sums: BTreeMap<::store::Key, Totals> = BTreeMap::new();
    for record in records {
        let function = &record.function;
        let version = function.qualifier.as_deref().unwrap_or("$LATEST");
        for unit in Unit::ALL {
            let start = record.at.millis() / unit.millis() * unit.millis();
            let key = Space::Sum(unit, &function.scope, start, &function.name, version, record.memory_mb).key();
            sums.entry(key).or_default().add(&Totals::of(record));
        }
    }
    sums
}
