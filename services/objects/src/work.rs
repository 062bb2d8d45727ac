//! Background work: deleting blobs that lost their record, and sweeping up those that never had one.

use crate::Objects;
use crate::store::{BLOBS, Space};
use std::sync::Arc;
use std::time::Duration;
use store::BlobId;
use tokio_util::sync::CancellationToken;

/// How long after the start the first sweep begins.
const FIRST_AFTER: Duration = Duration::from_secs(60);
/// How long to wait after a sweep that failed.
const RETRY_AFTER: Duration = Duration::from_secs(60);

impl Objects {
    /// Runs until `stop`. Both steps can be cut short anywhere: what they leave, the next sweep finds.
    pub async fn work(self: Arc<Self>, stop: CancellationToken) {
        let both = async { tokio::join!(self.delete_doomed(), self.sweep_forever()) };
        tokio::select! {
            () = stop.cancelled() => {}
            _ = both => {}
        }
    }

    async fn delete_doomed(&self) {
        loop {
            for blob in self.vault.leases().doomed().await {
                if let Err(error) = self.vault.blobs().delete(&blob).await {
                    tracing::warn!(%blob, %error, "a blob without a record could not be deleted; the sweep will");
                }
            }
        }
    }

    async fn sweep_forever(&self) {
        // Not in the first minute, when a node that has just started has better things to do.
        self.clock.sleep(FIRST_AFTER.min(self.config.sweep_every)).await;
        loop {
            let pause = match self.sweep().await {
                Ok(swept) => {
                    if swept > 0 {
                        tracing::info!(swept, "removed blobs that no object names");
                    }
                    self.config.sweep_every
                }
                Err(error) => {
                    tracing::warn!(%error, "the sweep for orphaned blobs broke off");
                    RETRY_AFTER.min(self.config.sweep_every)
                }
            };
            self.clock.sleep(pause).await;
        }
    }

    /// Removes blobs older than the configured age that belong to nothing; gives how many.
    pub async fn sweep(&self) -> store::Result<usize> {
        let is_live = |blob: BlobId| async move {
            let id = blob.as_str().rsplit('/').next().unwrap_or_default();
            let named = self.store().get_bytes(&Space::Blob(id).key()).await?.is_some();
            Ok(named || self.vault.leases().holds(&blob))
        };
        self.vault.blobs().sweep(BLOBS, self.config.orphan_age_min, self.clock.now(), is_live).await
    }
}
