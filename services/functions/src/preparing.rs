//! Versions made ready, a few at a time: code unpacked, images pulled, components compiled.
//!
//! Some take minutes, and one account's are not to keep the others' waiting.

use crate::Functions;
use crate::catalog::{unreadable, version_of};
use crate::error::Result;
use crate::model::name::{LATEST_PUBLISHED_NUMBER, Qualifier};
use crate::records::{Function, Pending, Published, Snapshot, State, Update};
use crate::store::{At, Below, place_of};
use crate::work::PAUSE;
use ::store::record;
use base::{AccountId, FunctionRef, Scope};
use engine::PrepareError;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::VecDeque;
use tokio_util::sync::CancellationToken;

/// Versions made ready at the same time, and those of one account among them.
const AT_ONCE_MAX: usize = 8;
const AT_ONCE_OF_ACCOUNT_MAX: usize = 4;
/// Records read in one scan, and those that wait in memory.
const PAGE: usize = 256;
const WAITING_MAX: usize = 16_384;

/// A version that waits to be made ready.
#[derive(Clone, PartialEq)]
struct Waiting {
    scope: Scope,
    name: String,
    version: String,
    revision: String,
}

/// What is being made ready, and what is to be next.
#[derive(Default)]
struct Round<'a> {
    waiting: VecDeque<Waiting>,
    /// There may be more than was read.
    is_part: bool,
    /// Those at work.
    named: Vec<Waiting>,
    at_work: FuturesUnordered<BoxFuture<'a, (Waiting, Result<()>)>>,
}

impl<'a> Round<'a> {
    /// What waits, but for what is at work already.
    fn replace(&mut self, waiting: Vec<Waiting>) {
        self.is_part = waiting.len() >= WAITING_MAX;
        self.waiting = waiting.into_iter().filter(|one| !self.named.contains(one)).collect();
    }

    fn is_to_look(&self) -> bool {
        self.is_part && self.waiting.is_empty()
    }

    /// Begins with as many as there are places for, in order, but for accounts that have their share at work.
    fn begin(&mut self, functions: &'a Functions) {
        while self.named.len() < AT_ONCE_MAX {
            let of = |account: &AccountId| self.named.iter().filter(|one| one.scope.account == *account).count();
            let next = self.waiting.iter().position(|one| of(&one.scope.account) < AT_ONCE_OF_ACCOUNT_MAX);
            let Some(next) = next.and_then(|next| self.waiting.remove(next)) else { return };
            self.named.push(next.clone());
            self.at_work.push(Box::pin(async move {
                let done = functions.prepare(&next).await;
                (next, done)
            }));
        }
    }

    /// Waits for the next that ends; for ever while none is at work.
    async fn ended(&mut self) -> Result<()> {
        match self.at_work.next().await {
            Some((one, done)) => {
                self.named.retain(|other| *other != one);
                done
            }
            None => std::future::pending().await,
        }
    }
}

impl Functions {
    /// Until `stop`. What was pending when the node went down is taken up again.
    pub(crate) async fn keep_preparing(&self, stop: &CancellationToken) {
        let (mut round, mut look) = (Round::default(), true);
        loop {
            let step = async {
                if look {
                    round.replace(self.waiting().await?);
                }
                round.begin(self);
                tokio::select! {
                    ended = round.ended() => ended.map(|()| round.is_to_look()),
                    () = self.pending.notified() => Ok(true),
                }
            };
            let step = tokio::select! {
                () = stop.cancelled() => return,
                step = step => step,
            };
            look = match step {
                Ok(look) => look,
                Err(error) => {
                    tracing::warn!(%error, "a pending function could not be made ready; trying again");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.clock.sleep(PAUSE) => true,
                    }
                }
            };
        }
    }

    /// Makes ready what waits now.
    pub async fn prepare_pending(&self) -> Result<()> {
        let mut round = Round::default();
        round.replace(self.waiting().await?);
        loop {
            round.begin(self);
            if round.named.is_empty() {
                return Ok(());
            }
            round.ended().await?;
        }
    }

    async fn waiting(&self) -> Result<Vec<Waiting>> {
        let all = Below::Pending.everywhere();
        let (mut from, mut waiting) = (all.as_bytes().to_vec(), Vec::new());
        loop {
            let items = self.store.scan(&from, &all.end(), PAGE).await?;
            for item in &items {
                let Some((scope, mut rest)) = place_of(&item.key) else { continue };
                let (Some(name), Some(version)) = (rest.text(), rest.text()) else { continue };
                let Pending { revision } = record::decode(&item.value)?;
                waiting.push(Waiting { scope, name, version, revision });
            }
            match items.last() {
                // The least key after the last one.
                Some(last) if items.len() == PAGE && waiting.len() < WAITING_MAX => {
                    from = [&last.key[..], &[0]].concat();
                }
                _ => return Ok(waiting),
            }
        }
    }

    async fn prepare(&self, waiting: &Waiting) -> Result<()> {
        let Waiting { scope, name, version, revision } = waiting;
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
        if self.settle(waiting, &outcome).await? && outcome.is_ok() {
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
