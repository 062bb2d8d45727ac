//! Background work, in bounded steps: versions are made ready (`preparing`), code that nothing names any more is removed.

use crate::Functions;
use crate::code;
use crate::error::{Error, Result};
use crate::records::{Function, LayerVersion, Published, Snapshot};
use crate::store::Below;
use ::store::record::{self, Record};
use ::store::{BlobId, Key, sweep};
use base::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Before a failed round is tried again.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// Code that no record names is removed once it is this old: longer than any request takes to commit.
const ORPHAN_AGE: Duration = Duration::from_secs(3600);
/// Records read in one scan of a sweep.
const SWEEP_PAGE: usize = 256;

impl Functions {
    /// Runs until `stop`. What was pending when the node went down is taken up again.
    pub async fn work(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(
            self.keep_sealed(&stop),
            self.keep_told(&stop),
            self.keep_preparing(&stop),
            self.keep_sweeping(&stop),
            self.keep_mapping(&stop)
        );
    }

    /// Once: nothing that is written later is plain, or sealed with an older key.
    async fn keep_sealed(&self, stop: &CancellationToken) {
        loop {
            match self.reseal().await {
                Ok(0) => return,
                Ok(count) => {
                    tracing::info!(
                        count,
                        key = self.seal.key_name(),
                        "environments are sealed with this master key now"
                    );
                    return;
                }
                Err(error) => tracing::warn!(%error, "environments could not be sealed; trying again"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep(PAUSE) => {}
            }
        }
    }

    /// Tells the engine, which has forgotten it, what it is to keep ready.
    async fn keep_told(&self, stop: &CancellationToken) {
        while let Err(error) = self.tell_all().await {
            tracing::warn!(%error, "provisioned concurrency could not be read; trying again");
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep(PAUSE) => {}
            }
        }
    }

    async fn keep_sweeping(&self, stop: &CancellationToken) {
        let round = || async {
            let removed = self.sweep_code().await?;
            if removed > 0 {
                tracing::info!(removed, "removed code that no function uses");
            }
            Ok::<_, Error>(())
        };
        sweep::every(&*self.clock, SWEEP_EVERY, stop, "functions", round).await;
    }

    /// Removes code blobs that no function, version or layer names.
    pub async fn sweep_code(&self) -> Result<usize> {
        self.sweep_code_at(self.clock.now()).await
    }

    pub(crate) async fn sweep_code_at(&self, now: Timestamp) -> Result<usize> {
        // In this order a reference that is copied while we read cannot slip through: a function takes its layers from
        // a layer version, and a version its code from a function.
        let mut live = HashSet::new();
        self.each(Below::LayerVersions, |l: LayerVersion| live.extend([l.package.blob])).await?;
        self.each(Below::Functions, |f: Function| {
            live.extend(f.previous.iter().flat_map(|s| blobs_of(s)).chain(blobs_of(&f.latest)));
        })
        .await?;
        self.each(Below::Versions, |p: Published| {
            live.extend(p.previous.iter().flat_map(|s| blobs_of(s)).chain(blobs_of(&p.snapshot)));
        })
        .await?;
        let live = &live;
        let is_live = |id: BlobId| async move { Ok(live.contains(&id)) };
        let packages = self.blobs.sweep(code::SPACE, ORPHAN_AGE, now, is_live).await?;
        Ok(packages + self.blobs.sweep(engine::IMAGE_SPACE, ORPHAN_AGE, now, is_live).await?)
    }

    async fn each<R: Record>(&self, kind: Below, mut see: impl FnMut(R)) -> Result<()> {
        let all: Key = kind.everywhere();
        let mut from = all.as_bytes().to_vec();
        loop {
            let items = self.store.scan(&from, &all.end(), SWEEP_PAGE).await?;
            for item in &items {
                see(record::decode(&item.value)?);
            }
            match items.last() {
                // The least key after the last one.
                Some(last) if items.len() == SWEEP_PAGE => from = [&last.key[..], &[0]].concat(),
                _ => return Ok(()),
            }
        }
    }
}

fn blobs_of(snapshot: &Snapshot) -> Vec<BlobId> {
    let layers = snapshot.layers.iter().map(|l| l.package.blob.clone());
    layers.chain(snapshot.code.blobs()).collect()
}
