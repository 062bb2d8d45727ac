//! The heart: the path of one call, and the life of the engine around it.

use crate::admit::{Admission, Ticket};
use crate::bases::Bases;
use crate::cache::Cache;
use crate::cells::Cells;
use crate::forge::Forge;
use crate::keep::Policy;
use crate::nodejs::Nodejs;
use crate::outlet::{Opening, Outlet};
use crate::pool::{Bounds, Pools};
use crate::python::Pythons;
use crate::relay::Platform;
use crate::run::Run;
use crate::runner::Entrance;
use crate::stats::Stats;
use crate::templates::Templates;
use crate::tiers::Tiers;
use crate::wasm::{Wasm, entrance};
use crate::way;
use crate::{Catalog, PrepareError, Provisioned, Routed, Runner, RuntimeReport, Version};
use async_trait::async_trait;
use base::network::Networks;
use base::port::{Activity, Clock, Entropy, Headroom, Identity, LogSink, Meter};
use base::{Arn, FunctionActivity, FunctionRef, Invocation, InvokeError, Outcome, Scope, Streamed};
use images::Images;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use store::Blobs;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::task::TaskTracker;

/// What an engine is made of.
pub struct Parts {
    pub catalog: Arc<dyn Catalog>,
    pub driver: Arc<dyn sandbox::Driver>,
    /// Runs WebAssembly; without it a package needs a `bootstrap`.
    pub components: Option<Arc<dyn sandbox::Components>>,
    pub blobs: Blobs,
    pub images: Arc<Images>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub meter: Arc<dyn Meter>,
    pub logs: Arc<dyn LogSink>,
    pub identity: Arc<dyn Identity>,
    /// Memory for more instances: idle ones end before it is used up.
    pub headroom: Arc<dyn Headroom>,
    pub config: Config,
}

/// How an engine behaves. [`Config::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// Unpacked code goes to `cache/`, interpreters' bootstrap, boto3 and the AWS SDK to `runtimes/`.
    pub data_dir: PathBuf,
    /// Where the gate listens; [`Engine::platform_at`] tells it later where it is not known yet.
    pub platform: Option<SocketAddr>,
    /// What functions may ask for, and what those have that do not ask.
    pub networks: Arc<Networks>,
    /// Calls at once per account and region, those of functions with reserved concurrency apart. AWS: 1,000.
    pub account_concurrency: u32,
    /// Instances alive at once on this machine, idle ones included.
    pub instances_max: usize,
    /// Instances being made at once: a few for each core.
    pub raising_max: usize,
    /// How long what is idle is kept: by [`Policy::Fixed`] exactly, by the others used instances at most.
    pub idle_ttl: Duration,
    pub keep_alive: Policy,
    /// Minor version of Python 3 → executable.
    pub pythons: BTreeMap<u8, PathBuf>,
    /// Major version of Node.js → executable.
    pub nodes: BTreeMap<u8, PathBuf>,
    /// An interpreter that is missing is replaced by the nearest that is there, and the function's log says so.
    pub runtime_fallback_nearest: bool,
    /// Instances are copied from an initialised process of their version where SnapStart does not say; off, they start
    /// each by itself.
    pub copies: bool,
    /// Instances have their share of a core and no more, once they are initialised; off, the share counts where others want the
    /// processor too.
    pub cpu_quota: bool,
    /// The walls that instances may have.
    pub tiers: Tiers,
    /// Unpacked code kept on disk, beyond what is in use.
    pub cache_bytes_max: u64,
    /// The largest streamed response. AWS: 200 MB.
    pub stream_bytes_max: u64,
}

impl Config {
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            platform: None,
            networks: Arc::new(Networks::default()),
            account_concurrency: 1000,
            instances_max: 1000,
            raising_max: 8,
            idle_ttl: Duration::from_secs(600),
            keep_alive: Policy::Fixed,
            pythons: BTreeMap::new(),
            nodes: BTreeMap::new(),
            runtime_fallback_nearest: false,
            copies: true,
            cpu_quota: false,
            tiers: Tiers::default(),
            cache_bytes_max: 10 << 30,
            stream_bytes_max: 200 << 20,
        }
    }
}

/// Instances that one call is tried on, where each died before it had the call: idle ones may all die at once, with
/// the launcher, and the new one then with the next. A runtime that always ends so early costs no more starts than that.
const DELIVERIES_MAX: usize = 4;

/// Runs functions: admit → route → acquire → run → record → settle.
pub struct Engine {
    catalog: Arc<dyn Catalog>,
    admission: Admission,
    pools: Arc<Pools<Arc<Forge>>>,
    meter: Arc<dyn Meter>,
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
    forge: Arc<Forge>,
    stream_bytes_max: u64,
    stats: Stats,
    wasm: Option<Arc<Wasm>>,
    images: Arc<Images>,
    /// Calls in flight: each is a task, so that it ends as it should when its caller goes away.
    runs: TaskTracker,
    reaper: tokio::task::AbortHandle,
    this: Weak<Engine>,
}

impl Engine {
    /// Starts an engine. Call it within a tokio runtime.
    ///
    /// # Errors
    /// The data directory cannot be written.
    pub fn new(parts: Parts) -> std::io::Result<Arc<Self>> {
        let Parts {
            catalog,
            driver,
            components,
            blobs,
            images,
            clock,
            entropy,
            meter,
            logs,
            identity,
            headroom,
            config,
        } = parts;
        std::fs::create_dir_all(&config.data_dir)?;
        let data_dir = config.data_dir.canonicalize()?;
        let cache = Cache::open(&data_dir.join("cache"), config.cache_bytes_max)?;
        let pythons = Pythons::new(config.pythons, config.runtime_fallback_nearest, &data_dir);
        let nodejs = Nodejs::new(config.nodes, config.runtime_fallback_nearest, &data_dir);
        let platform = Platform::default();
        if let Some(address) = config.platform {
            platform.set(address);
        }
        let forge = Arc::new(Forge {
            driver: driver.clone(),
            templates: Templates::new(blobs, images.clone(), config.tiers, components.clone(), cache, pythons, nodejs),
            bases: Bases::new(driver.clone(), entropy.as_ref()),
            cells: Cells::new(driver.clone(), entropy.as_ref()),
            copies: config.copies,
            plain: OnceLock::new(),
            cpu_quota: config.cpu_quota,
            clock: clock.clone(),
            entropy: entropy.clone(),
            identity,
            logs,
            networks: config.networks,
            platform,
            tasks: TaskTracker::new(),
        });
        let wasm = components.map(|components| Arc::new(Wasm::new(components, forge.clone())));
        let bounds = Bounds { places_max: config.instances_max, raising_max: config.raising_max };
        let policy = Arc::from(config.keep_alive.build(config.idle_ttl));
        let pools = Pools::new(forge.clone(), bounds, policy, headroom, clock.clone());
        let reaped = (Arc::downgrade(&pools), Arc::downgrade(&forge));
        let reaper = tokio::spawn(reap(reaped, clock.clone(), config.idle_ttl)).abort_handle();
        let admission = Admission::new(config.account_concurrency);
        let (runs, stats) = (TaskTracker::new(), Stats::new(clock.clone()));
        let stream_bytes_max = config.stream_bytes_max;
        Ok(Arc::new_cyclic(|this| {
            let this = this.clone();
            Self {
                catalog,
                admission,
                pools,
                meter,
                entropy,
                clock,
                forge,
                stream_bytes_max,
                stats,
                wasm,
                images,
                runs,
                reaper,
                this,
            }
        }))
    }

    /// Tells where the gate listens, once it does; the first word counts.
    pub fn platform_at(&self, gate: SocketAddr) {
        self.forge.platform.set(gate);
    }

    /// Instances alive: idle, running and being made.
    pub fn instances(&self) -> usize {
        self.pools.live()
    }

    /// One call, counted.
    async fn counted(&self, call: Invocation, opening: Option<Opening>) -> Ran {
        let (function, began) = (call.function.clone(), self.clock.elapsed());
        let outcome = self.run(call, opening).await;
        self.stats.saw(&function.scope, &function.name, began, &outcome);
        outcome
    }

    /// The path of one call. With `opening` its response goes out as it is made, if it is streamed.
    async fn run(&self, call: Invocation, opening: Option<Opening>) -> Ran {
        let routed = self.route(&call.function).await?; //       name → alias → version
        let ticket = self.admit(&routed)?; //                    may it run now? limits, throttling
        let run = self.place(&routed, &call, opening).await?; // an instance is found or made; it runs, with a deadline
        drop(ticket);
        self.meter.record(run.usage()).await; //                 it is metered, also when it failed
        Ok(run.outcome()) //                                     its result goes out
    }

    /// The task that a call is: it ends as it should when its caller goes away.
    fn start(&self, call: Invocation, opening: Option<Opening>) -> Result<JoinHandle<Ran>, InvokeError> {
        if self.runs.is_closed() {
            return Err(stopping());
        }
        let Some(this) = self.this.upgrade() else { return Err(stopping()) };
        Ok(self.runs.spawn(async move { this.counted(call, opening).await }))
    }

    async fn route(&self, function: &FunctionRef) -> Result<Routed, InvokeError> {
        self.catalog.route(function, self.entropy.u64()).await
    }

    pub(crate) fn admit(&self, routed: &Routed) -> Result<Ticket, InvokeError> {
        if self.runs.is_closed() {
            return Err(stopping());
        }
        self.admission.admit(routed)
    }

    pub(crate) fn meter(&self) -> &dyn Meter {
        self.meter.as_ref()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(crate) fn runs(&self) -> &TaskTracker {
        &self.runs
    }

    /// Acquires an instance, runs the call on it and gives it back; again on another if that one had died before it
    /// had the call. A component has an instance for each call.
    async fn place(&self, routed: &Routed, call: &Invocation, opening: Option<Opening>) -> Result<Run, InvokeError> {
        if let Some(wasm) = &self.wasm
            && let Some(loaded) = wasm.find(&routed.version).await?
        {
            return wasm.invoke(&loaded, call, &routed.invoked_arn).await;
        }
        let version = &routed.version.version;
        let outlet = opening.map(|opening| Arc::new(Outlet::new(opening, version.clone(), self.stream_bytes_max)));
        for tried in 1..=DELIVERIES_MAX {
            let mut instance = self.pools.acquire(&routed.version).await?;
            let last = tried == DELIVERIES_MAX;
            if let Ok(run) = instance.run(call, outlet.as_ref(), &routed.invoked_arn, last).await {
                if let Some(outlet) = outlet {
                    outlet.close();
                }
                instance.give_back();
                return Ok(run);
            }
        }
        Err(InvokeError::Unavailable("the function's instances ended before they had the call".into()))
    }

    /// Stops: no new calls; those in flight have `grace` to finish; then every instance ends and its log is shipped.
    pub async fn stop(&self, grace: Duration) {
        self.runs.close();
        tokio::select! {
            () = self.runs.wait() => {}
            () = self.clock.sleep(grace) => tracing::warn!(calls = self.runs.len(), "stopping with calls in flight"),
        }
        self.reaper.abort();
        self.pools.close();
        self.forge.templates.close();
        self.forge.bases.close();
        self.forge.cells.close();
        self.forge.tasks.close();
        tokio::select! {
            () = self.forge.tasks.wait() => {}
            () = self.clock.sleep(Duration::from_secs(5)) => {
                tracing::warn!(tasks = self.forge.tasks.len(), "stopping with instances or logs unfinished");
            }
        }
    }
}

#[async_trait]
impl Runner for Engine {
    async fn invoke(&self, call: Invocation) -> Result<Outcome, InvokeError> {
        ended(self.start(call, None)?.await)
    }

    async fn stream(&self, call: Invocation) -> Result<Streamed, InvokeError> {
        let (opening, begun) = oneshot::channel();
        let mut run = self.start(call, Some(opening))?;
        tokio::select! {
            biased;
            Ok(begun) = begun => Ok(begun.streamed(Box::pin(async { ended(run.await) }))),
            // It answered whole, or failed before it answered.
            ran = &mut run => ended(ran).map(Streamed::whole),
        }
    }

    async fn resolve(&self, uri: &str) -> Result<images::Image, images::Error> {
        self.images.resolve(uri).await
    }

    async fn entrance(&self, function: &FunctionRef) -> Result<Option<Box<dyn Entrance>>, InvokeError> {
        let (Some(wasm), Some(engine)) = (&self.wasm, self.this.upgrade()) else { return Ok(None) };
        let routed = self.route(function).await?;
        let Some(loaded) = wasm.find(&routed.version).await? else { return Ok(None) };
        if loaded.component.world() != sandbox::World::Http {
            return Ok(None);
        }
        let (wasm, function) = (wasm.clone(), function.clone());
        Ok(Some(Box::new(entrance::Http { engine, wasm, routed, function, loaded })))
    }

    async fn prepare(&self, version: &Version) -> Result<(), PrepareError> {
        let template = self.forge.templates.get(version).await?;
        if let Some(wasm) = &self.wasm {
            wasm.prepare(version).await?;
        }
        self.forge.may_run(&template)?;
        self.forge.raise_base(&template).await;
        self.forge.raise_cell(version, &template, false).await;
        Ok(())
    }

    async fn retire(&self, scope: &Scope, name: &str, version: &str, keep_revision: Option<&str>) {
        let arn = arn(scope, name);
        self.forge.templates.retire(&arn, version, keep_revision);
        self.pools.retire(&arn, version, keep_revision);
        if let Some(wasm) = &self.wasm {
            wasm.retire(&arn, version, keep_revision);
        }
    }

    async fn provision(&self, scope: &Scope, name: &str, wanted: Vec<(Version, u32)>) {
        let arn = arn(scope, name);
        self.admission.provision(&arn, wanted.iter().map(|(v, n)| (v.version.clone(), *n)).collect());
        let wanted = wanted.into_iter().map(|(version, n)| (Arc::new(version), n as usize)).collect();
        self.pools.provision(&arn, wanted);
    }

    async fn provisioned(&self, scope: &Scope, name: &str, version: &str) -> Provisioned {
        self.pools.provisioned(&arn(scope, name), version)
    }

    async fn limit(&self, scope: &Scope, unreserved: u32) {
        self.admission.limit(scope, unreserved);
    }

    fn network(&self, name: &str) -> Result<(), String> {
        way::way(&self.forge.networks, self.forge.driver.as_ref(), Some(name)).map(drop)
    }

    fn runtimes(&self) -> Vec<RuntimeReport> {
        let mut reports = self.forge.templates.interpreters();
        for name in ["provided.al2023", "provided.al2"] {
            reports.push(RuntimeReport { name: name.into(), program: None, note: None });
        }
        reports
    }
}

impl Activity for Engine {
    fn of(&self, scope: &Scope) -> Vec<FunctionActivity> {
        let mut all = self.stats.activity(scope, self.pools.snapshot());
        for (name, ahead) in self.forge.made_ahead(scope) {
            if let Some(function) = all.iter_mut().find(|function| function.name == name) {
                let living = u32::from(ahead.is_ok());
                function.templates = Some(function.templates.unwrap_or(0) + living);
                function.not_copied = ahead.err().or(function.not_copied.take());
            }
        }
        all
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.reaper.abort();
        self.pools.close();
    }
}

/// What a run's task gives.
type Ran = Result<Outcome, InvokeError>;

fn ended(ran: Result<Ran, JoinError>) -> Ran {
    ran.unwrap_or_else(|error| Err(InvokeError::Unavailable(format!("the run was cut off: {error}"))))
}

fn arn(scope: &Scope, name: &str) -> String {
    Arn::new("lambda", scope.region.as_str(), scope.account.as_str(), format!("function:{name}")).to_string()
}

fn stopping() -> InvokeError {
    InvokeError::Unavailable("the node is stopping".into())
}

/// Ends what has been idle too long, and has made what is to be ready.
async fn reap((pools, forge): (Weak<Pools<Arc<Forge>>>, Weak<Forge>), clock: Arc<dyn Clock>, idle_ttl: Duration) {
    let pause = (idle_ttl / 10).clamp(Duration::from_millis(100), Duration::from_secs(1));
    loop {
        clock.sleep(pause).await;
        let (Some(pools), Some(forge)) = (pools.upgrade(), forge.upgrade()) else { return };
        forge.cells.sweep(clock.elapsed());
        pools.sweep();
    }
}
