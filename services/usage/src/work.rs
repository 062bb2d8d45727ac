//! Background work: forgetting the records of single invocations past their retention, in bounded steps.

use crate::Usage;
use crate::store;
use ::store::{Error, Result, Tx};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Records one transaction of the sweep removes.
const STEP: usize = 64;

impl Usage {
    /// Sweeps every [`crate::Config::sweep_interval`] until `stop`. A step that fails is tried again with the next
    /// round.
    pub async fn work(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep(self.config.sweep_interval) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                swept = self.sweep() => if let Err(error) = swept {
                    tracing::warn!(%error, "sweeping usage will be tried again");
                },
            }
        }
    }

    /// One round: everything that is past its time now, scope by scope.
    pub async fn sweep(&self) -> Result<()> {
        let before = self.clock.now().millis().saturating_sub(self.config.record_retention.as_millis() as u64);
        let all = store::all_runs();
        let mut from = all.as_bytes().to_vec();
        while let Some(first) = self.store.scan(&from, &all.end(), 1).await?.first() {
            let Some((scope, ..)) = store::parse_runs(&first.key) else {
                return Err(Error::Damaged("a key of usage".into()));
            };
            let to = scope.clone().number(before);
            while self.remove(scope.as_bytes(), to.as_bytes()).await? == STEP {}
            from = scope.end();
        }
        Ok(())
    }

    async fn remove(&self, from: &[u8], to: &[u8]) -> Result<usize> {
        let items = self.store.scan(from, to, STEP).await?;
        self.store
            .transact(async |tx: Tx| {
                items.iter().for_each(|i| tx.delete_bytes(&i.key));
                Ok::<_, Error>(())
            })
            .await?;
        Ok(items.len())
    }
}
