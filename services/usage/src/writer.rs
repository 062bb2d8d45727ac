//! The one writer: records gather for a moment and are committed together with the sums they count towards.
//!
//! When storage fails they wait and are tried again, which fills the queue and so slows those who meter.

use crate::model::Totals;
use crate::store::{Runs, Space, Unit};
use ::store::behind::{self, Bounds};
use ::store::{Error, Store, Tx};
use base::port::{Clock, Entropy};
use base::{Scope, Timestamp, UsageRecord};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Records of one transaction; also keeps a record of runs well below the store's bound on values.
const COMMIT_RECORDS_MAX: usize = 1_000;

/// What may gather: `records` in all, each for `interval` at most.
pub fn bounds(records: usize, interval: Duration) -> Bounds {
    Bounds { items_max: records, weight_max: records, batch_weight: COMMIT_RECORDS_MAX, interval }
}

pub struct Writer {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// When the last commit was.
    pub last: Timestamp,
}

impl behind::Write for Writer {
    type Item = UsageRecord;

    fn weight(_: &UsageRecord) -> usize {
        1
    }

    async fn write(&mut self, records: Vec<UsageRecord>) {
        // Each commit is later than the one before, also within a millisecond: runs are listed in this order.
        let at = Timestamp(self.clock.now().millis().max(self.last.millis() + 1));
        self.last = at;
        let (this, records, id) = (&*self, &records, &self.entropy.uuid());
        if let Err(error) = behind::persist(&*self.clock, "usage", || this.commit(records, at, id)).await {
            tracing::error!(records = records.len(), %error, "usage cannot be stored");
        }
    }
}

impl Writer {
    async fn commit(&self, records: &[UsageRecord], at: Timestamp, id: &str) -> Result<(), Error> {
        let mut scopes: BTreeMap<&Scope, Vec<UsageRecord>> = BTreeMap::new();
        for record in records {
            scopes.entry(&record.function.scope).or_default().push(record.clone());
        }
        let sums = sums(records);
        self.store
            .transact(async |tx: Tx| {
                for (scope, records) in &scopes {
                    let key = Space::Runs(scope, at.millis(), id).key();
                    // A commit that failed may have been applied all the same; nothing counts twice.
                    if tx.get_bytes(&key).await?.is_some() {
                        return Ok(());
                    }
                    tx.put(&key, &Runs(records.clone()))?;
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
