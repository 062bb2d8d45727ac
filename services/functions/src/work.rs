//! Background work, in bounded steps: versions are made ready, code that nothing names any more is removed.

use crate::Functions;
use crate::catalog::{unreadable, version_of};
use crate::code;
use crate::error::{Error, Result};
use crate::model::name::{LATEST_PUBLISHED_NUMBER, Qualifier};
use crate::records::{Function, LayerVersion, Pending, Published, Snapshot, State, Update};
use crate::store::{At, Below, place_of};
use ::store::record::{self, Record};
use ::store::{BlobId, Key, sweep};
use base::{FunctionRef, Scope, Timestamp};
use engine::PrepareError;
use futures::StreamExt;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Versions made ready at the same time, and looked at in one round.
const PREPARING_MAX: usize = 4;
const ROUND_MAX: usize = 256;
/// Before a failed round is tried again.
const PAUSE: Duration = Duration::from_secs(1);
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// Code that no record names is removed once it is this old: longer than any request takes to commit.
const ORPHAN_AGE: Duration = Duration::from_secs(3600);
/// Records read in one scan of a sweep.
const SWEEP_PAGE: usize = 256;

/// A version that waits to be made ready.
struct Waiting {
    scope: Scope,
    name: String,
    version: String,
    revision: String,
}

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

    async fn keep_preparing(&self, stop: &CancellationToken) {
        loop {
            let round = tokio::select! {
                () = stop.cancelled() => return,
                round = self.prepare_pending() => round,
            };
            match round {
                // A full round may have left some over.
                Ok(done) if done == ROUND_MAX => continue,
                Ok(_) => tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.pending.notified() => {}
                },
                Err(error) => {
                    tracing::warn!(%error, "pending functions could not be made ready; trying again");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.clock.sleep(PAUSE) => {}
                    }
                }
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

    /// One round: makes up to `ROUND_MAX` pending versions ready and says how many it took on.
    pub async fn prepare_pending(&self) -> Result<usize> {
        let all = Below::Pending.everywhere();
        let items = self.store.scan(all.as_bytes(), &all.end(), ROUND_MAX).await?;
        let mut waiting = Vec::new();
        for item in &items {
            let Some((scope, mut rest)) = place_of(&item.key) else { continue };
            let (Some(name), Some(version)) = (rest.text(), rest.text()) else { continue };
            let Pending { revision } = record::decode(&item.value)?;
            waiting.push(Waiting { scope, name, version, revision });
        }
        let count = waiting.len();
        let mut running =
            futures::stream::iter(waiting.into_iter().map(|w| self.prepare(w))).buffer_unordered(PREPARING_MAX);
        let mut result = Ok(count);
        while let Some(one) = running.next().await {
            if let Err(error) = one {
                result = Err(error);
            }
        }
        result
    }

    async fn prepare(&self, waiting: Waiting) -> Result<()> {
        let Waiting { scope, name, version, revision } = &waiting;
        let number = Qualifier::of(Some(version)).number();
        let snapshot = match number {
            None => self.store.get::<Function>(&At::Function(scope, name).key()).await?.map(|f| f.latest),
            Some(number) => {
                self.store.get::<Published>(&At::Version(scope, name, number).key()).await?.map(|p| p.snapshot)
            }
        };
        let outcome = match snapshot.filter(|s| s.revision == *revision) {
            Some(snapshot) => match version_of(&self.seal, scope, name, version, &snapshot) {
                Ok(version) => self.runner.prepare(&version).await,
                Err(why) => Err(PrepareError { code: "InvalidConfiguration", message: unreadable(&why) }),
            },
            None => Ok(()),
        };
        if let Err(error) = &outcome {
            tracing::warn!(function = %name, %version, code = error.code, "{}", error.message);
        }
        if self.settle(&waiting, &outcome).await? && outcome.is_ok() {
            match number {
                // What was in its place is not used again.
                None | Some(LATEST_PUBLISHED_NUMBER) => {
                    self.runner.retire(scope, name, version, Some(revision)).await;
                }
                // It may be provisioned already.
                Some(_) => self.tell(&FunctionRef { scope: scope.clone(), name: name.clone(), qualifier: None }).await,
            }
        }
        Ok(())
    }

    /// Writes down what came of making a version ready. `false` if it has changed or gone in the meantime.
    async fn settle(&self, waiting: &Waiting, outcome: &Result<(), PrepareError>) -> Result<bool> {
        let Waiting { scope, name, version, revision } = waiting;
        let revision_id = &self.entropy.uuid();
        self.store
            .transact(|tx| async move {
                let pending = At::Pending(scope, name, version).key();
                if tx.get::<Pending>(&pending).await?.is_none_or(|p| p.revision != *revision) {
                    return Ok(false);
                }
                tx.delete(&pending);
                if let Some(number) = Qualifier::of(Some(version)).number() {
                    let key = At::Version(scope, name, number).key();
                    let Some(mut published) = tx.get::<Published>(&key).await? else { return Ok(false) };
                    settle_state(&mut published.snapshot, outcome, revision_id);
                    if outcome.is_ok() {
                        published.previous = None;
                    }
                    tx.put(&key, &published)?;
                    return Ok(true);
                }
                let key = At::Function(scope, name).key();
                let Some(mut function) = tx.get::<Function>(&key).await? else { return Ok(false) };
                settle_state(&mut function.latest, outcome, revision_id);
                if outcome.is_ok() {
                    function.previous = None;
                }
                tx.put(&key, &function)?;
                Ok(true)
            })
            .await
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

fn settle_state(snapshot: &mut Snapshot, outcome: &Result<(), PrepareError>, revision_id: &str) {
    snapshot.revision_id = revision_id.to_owned();
    let failed = outcome.as_ref().err().map(|e| (e.code.to_owned(), e.message.clone()));
    match (&snapshot.state, failed) {
        (State::Active, Some((code, reason))) => snapshot.update = Update::Failed { code, reason },
        (_, Some((code, reason))) => {
            snapshot.state = State::Failed { code: code.clone(), reason: reason.clone() };
            snapshot.update = Update::Failed { code, reason };
        }
        (_, None) => {
            snapshot.state = State::Active;
            snapshot.update = Update::Successful;
        }
    }
}
