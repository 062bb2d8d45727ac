//! Background work: forgetting the records of single invocations past their retention, in bounded steps.

use crate::Usage;
use crate::store;
use ::store::{Error, Result, sweep};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

impl Usage {
    /// Sweeps every [`crate::Config::sweep_interval`] until `stop`.
    pub async fn work(self: Arc<Self>, stop: CancellationToken) {
        sweep::every(&*self.clock, self.config.sweep_interval, &stop, "usage", || self.sweep()).await;
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
            sweep::remove(&self.store, scope.as_bytes(), to.as_bytes()).await?;
            from = scope.end();
        }
        Ok(())
    }
}
