//! WebAssembly functions: a package with a `bootstrap.wasm` and no `bootstrap` runs in this process, in a fresh instance
//! for each request, any number of them at once; or in a `worker`, a process in a sandbox, which is an instance like any other's
//! as far as this process is concerned.
//!
//! A component is `loaded` once and kept while it is used. `running` is one run of it: its log, its end, what it cost.
//! `invoke` is the way of an event through it, `entrance` that of an HTTP request. In either process `guest` takes an event
//! through a component (`event` maps events to requests), over the `exchange` with it.

pub(crate) mod entrance;
mod event;
mod exchange;
mod guest;
mod invoke;
mod loaded;
mod running;
pub mod worker;

use crate::forge::Forge;
use crate::pool::PLACE_WAIT_MAX;
use crate::template::Component;
use crate::{PrepareError, Runtime, Version};
use base::InvokeError;
pub(crate) use loaded::Loaded;
use parking_lot::RwLock;
use sandbox::{ComponentError, Components, Fault};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

/// Versions of `provided` functions whose kind is known, at most; those beyond, least used first, are found out again,
/// and their components loaded again from the cache on disk. A loaded one takes some 70 kB and three memory maps.
const KNOWN_MAX: usize = 2_000;
pub(crate) const FILE: &str = "bootstrap.wasm";

/// What a `provided` version turned out to be.
enum Kind {
    Process,
    Component(Arc<Loaded>),
}

struct Known {
    version: Arc<Version>,
    kind: Arc<OnceCell<Kind>>,
    /// The counter when it was last asked for.
    used: AtomicU64,
}

pub(crate) struct Wasm {
    components: Arc<dyn Components>,
    forge: Arc<Forge>,
    /// By revision. Revisions are unique but in tests, so what is found is compared.
    known: RwLock<HashMap<String, Vec<Known>>>,
    counter: AtomicU64,
    places: Arc<Semaphore>,
}

impl Wasm {
    pub(crate) fn new(components: Arc<dyn Components>, forge: Arc<Forge>) -> Self {
        let places = Arc::new(Semaphore::new(components.instances_max()));
        Self { components, forge, known: RwLock::default(), counter: AtomicU64::new(1), places }
    }

    /// The version's component; `None` if it is not one.
    pub(crate) async fn find(&self, version: &Arc<Version>) -> Result<Option<Arc<Loaded>>, InvokeError> {
        self.get(version).await.map_err(PrepareError::at_a_call)
    }

    async fn get(&self, version: &Arc<Version>) -> Result<Option<Arc<Loaded>>, PrepareError> {
        if !matches!(version.runtime, Runtime::Provided(_)) {
            return Ok(None);
        }
        let cell = self.cell(version);
        match cell.get_or_try_init(|| self.load(version)).await? {
            Kind::Process => Ok(None),
            Kind::Component(loaded) => Ok(Some(loaded.clone())),
        }
    }

    /// Makes a component ready and sees whether it starts within its memory.
    pub(crate) async fn prepare(&self, version: &Version) -> Result<(), PrepareError> {
        let Some(loaded) = self.get(&Arc::new(version.clone())).await? else { return Ok(()) };
        let wrong = |message: String| PrepareError { code: "InvalidZipFileException", message };
        match loaded.rehearse().await {
            Ok(()) | Err(Fault::Full) => Ok(()),
            Err(Fault::OutOfMemory) => Err(PrepareError {
                code: "InvalidConfiguration",
                message: format!(
                    "{FILE} does not start within {} MB of memory: set MemorySize higher",
                    version.memory_mb
                ),
            }),
            Err(Fault::Trap(what)) => Err(wrong(format!("{FILE} does not start: {what}"))),
            Err(other) => Err(wrong(format!("{FILE} does not start: {other:?}"))),
        }
    }

    /// A place for one more instance, as soon as there is one.
    pub(crate) async fn place(&self) -> Result<OwnedSemaphorePermit, InvokeError> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        tokio::select! {
            place = self.places.clone().acquire_owned() => {
                place.map_err(|_| InvokeError::Unavailable("the node is stopping".into()))
            }
            () = self.forge.clock.sleep(PLACE_WAIT_MAX) => Err(full()),
        }
    }

    /// Forgets the version's other revisions; runs that go on keep what they need.
    pub(crate) fn retire(&self, arn: &str, version: &str, keep_revision: Option<&str>) {
        self.known.write().retain(|revision, same| {
            if Some(revision.as_str()) != keep_revision {
                same.retain(|known| known.version.version != version || known.version.arn.to_string() != arn);
            }
            !same.is_empty()
        });
    }

    fn cell(&self, version: &Arc<Version>) -> Arc<OnceCell<Kind>> {
        let tick = self.counter.fetch_add(1, Ordering::Relaxed);
        let is = |known: &&Known| {
            Arc::ptr_eq(&known.version, version)
                || known.version.version == version.version && known.version.arn == version.arn
        };
        if let Some(known) = self.known.read().get(&version.revision).and_then(|same| same.iter().find(is)) {
            known.used.store(tick, Ordering::Relaxed);
            return known.kind.clone();
        }
        let mut all = self.known.write();
        if let Some(known) = all.get(&version.revision).and_then(|same| same.iter().find(is)) {
            return known.kind.clone();
        }
        if all.len() >= KNOWN_MAX {
            let last_used = |same: &[Known]| same.iter().map(|known| known.used.load(Ordering::Relaxed)).max();
            let least = all.iter().min_by_key(|(_, same)| last_used(same)).map(|(revision, _)| revision.clone());
            least.and_then(|revision| all.remove(&revision));
        }
        let known = Known { version: version.clone(), kind: Arc::default(), used: AtomicU64::new(tick) };
        let kind = known.kind.clone();
        all.entry(version.revision.clone()).or_default().push(known);
        kind
    }

    async fn load(&self, version: &Arc<Version>) -> Result<Kind, PrepareError> {
        let began = self.forge.clock.elapsed();
        let way = self.forge.way(version)?;
        let template = self.forge.templates.get(version).await?;
        let Some(Component::Here(task)) = template.component.clone() else { return Ok(Kind::Process) };
        let component = self.components.load(&task.join(FILE)).await.map_err(not_taken)?;
        let dir = task.clone();
        let more = tokio::task::spawn_blocking(move || has_more(&dir)).await;
        let more = more.map_err(|e| PrepareError::internal(e.to_string()))?;
        let engine = self.components.engine();
        let mut loaded = Loaded::new(self.forge.clone(), version.clone(), component, engine, (template, way));
        loaded.task = more.then(|| Arc::new(task));
        loaded.loading_took(self.forge.clock.elapsed() - began);
        Ok(Kind::Component(Arc::new(loaded)))
    }
}

/// Whether there is more in an unpacked package, which its component is then to see.
pub(crate) fn has_more(task: &Path) -> bool {
    std::fs::read_dir(task).is_ok_and(|items| items.count() > 1)
}

pub(crate) fn not_taken(error: ComponentError) -> PrepareError {
    match error {
        ComponentError::Refused(what) => {
            PrepareError { code: "InvalidZipFileException", message: format!("{FILE} cannot run: {what}.") }
        }
        ComponentError::Internal(why) => PrepareError::internal(why),
    }
}

/// As AWS says when more would run at once than may.
fn full() -> InvokeError {
    InvokeError::Throttled { reason: "ConcurrentInvocationLimitExceeded" }
}
