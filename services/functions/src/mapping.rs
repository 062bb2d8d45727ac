//! Event source mappings: functions that are fed from queues.
//!
//! A mapping's record says what is wanted; [`Functions::keep_mapping`] sees to it that what runs is that. Each enabled
//! mapping is one task that gathers batches (`gather.rs`) and a bounded, growing number of batches being processed
//! (`process.rs`); an idle one waits at its queue and costs nothing.

mod event;
mod filter;
mod gather;
mod process;
mod scale;

pub use filter::Filters;

use crate::Functions;
use crate::error::{Error, Result};
use crate::records::{Mapping, MappingState};
use crate::store::{At, Below};
use ::store::record::decode;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Records read in one scan.
const PAGE: usize = 200;
/// Before a round that failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a node that stops lets batches finish.
const DRAIN: Duration = Duration::from_secs(4);

/// What the room knows of its mappings beside their records.
#[derive(Default)]
pub struct Mappings {
    /// A record has changed.
    changed: Notify,
    /// What came of the latest batch, by mapping.
    results: Mutex<HashMap<String, String>>,
    /// Batches that functions work on.
    processing: TaskTracker,
}

impl Mappings {
    pub fn changed(&self) {
        self.changed.notify_one();
    }

    pub fn result(&self, uuid: &str) -> Option<String> {
        self.results.lock().get(uuid).cloned()
    }

    fn note(&self, uuid: &str, result: String) {
        self.results.lock().insert(uuid.to_owned(), result);
    }
}

/// A mapping that runs, as it was when it was started.
struct Running {
    mapping: Mapping,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Functions {
    /// Keeps running what the records say, until `stop`.
    pub async fn keep_mapping(self: &Arc<Self>, stop: &CancellationToken) {
        let mut running: HashMap<String, Running> = HashMap::new();
        while !stop.is_cancelled() {
            let round = tokio::select! {
                () = stop.cancelled() => break,
                round = self.settle_mappings(&mut running, stop) => round,
            };
            let again = async {
                match round {
                    Ok(()) => self.mappings.changed.notified().await,
                    Err(error) => {
                        tracing::warn!(%error, "event source mappings could not be settled; trying again");
                        self.clock.sleep(PAUSE).await;
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = again => {}
            }
        }
        for ended in running.into_values() {
            let _ = ended.task.await;
        }
        self.mappings.processing.close();
        tokio::select! {
            () = self.mappings.processing.wait() => {}
            () = self.clock.sleep(DRAIN) => {}
        }
    }

    /// Starts and stops what is to run, and says so in the records.
    async fn settle_mappings(
        self: &Arc<Self>,
        running: &mut HashMap<String, Running>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let all = self.all_mappings().await?;
        let wanted = |uuid: &String, r: &Running| {
            let record = all.iter().find(|m| m.uuid == *uuid);
            record.is_some_and(|m| m.enabled && m.state != MappingState::Deleting && m.same_work(&r.mapping))
        };
        let ended: Vec<String> = running.iter().filter(|(uuid, r)| !wanted(uuid, r)).map(|(u, _)| u.clone()).collect();
        for uuid in ended {
            let Some(ended) = running.remove(&uuid) else { continue };
            ended.stop.cancel();
            // Batches that functions work on go on; nothing new is gathered.
            let _ = ended.task.await;
        }
        for mapping in all {
            if mapping.enabled && mapping.state != MappingState::Deleting && !running.contains_key(&mapping.uuid) {
                let stop = stop.child_token();
                let task = tokio::spawn(self.clone().run_mapping(mapping.clone(), stop.clone()));
                running.insert(mapping.uuid.clone(), Running { mapping: mapping.clone(), stop, task });
            }
            self.settle_mapping(&mapping).await?;
        }
        Ok(())
    }

    async fn all_mappings(&self) -> Result<Vec<Mapping>> {
        let all = Below::Mappings.everywhere();
        let (mut from, mut mappings) = (all.as_bytes().to_vec(), Vec::new());
        loop {
            let items = self.store.scan(&from, &all.end(), PAGE).await?;
            for item in &items {
                mappings.push(decode::<Mapping>(&item.value)?);
            }
            let Some(last) = items.last().filter(|_| items.len() == PAGE) else { return Ok(mappings) };
            from = [&last.key[..], &[0]].concat();
        }
    }

    /// A transition is over, unless the record has changed again since it was read.
    async fn settle_mapping(&self, seen: &Mapping) -> Result<()> {
        let settled = match (seen.state, seen.enabled) {
            (MappingState::Enabled | MappingState::Disabled, _) => return Ok(()),
            (_, true) => MappingState::Enabled,
            (_, false) => MappingState::Disabled,
        };
        let key = &At::Mapping(&seen.scope, &seen.uuid).key();
        self.store
            .transact(|tx| async move {
                let Some(mut mapping) = tx.get::<Mapping>(key).await?.filter(|m| m == seen) else { return Ok(()) };
                if mapping.state == MappingState::Deleting {
                    tx.delete(key);
                    return Ok(());
                }
                mapping.state = settled;
                Ok::<_, Error>(tx.put(key, &mapping)?)
            })
            .await
    }
}
