//! The heart: the path of one call, and the life of the engine around it.

use crate::admit::{Admission, Ticket};
use crate::cache::Cache;
use crate::forge::Forge;
use crate::keep::Policy;
use crate::nodejs::Nodejs;
use crate::pool::{Bounds, Pools};
use crate::python::Pythons;
use crate::relay::Platform;
use crate::run::Run;
use crate::template::Templates;
use crate::{Catalog, PrepareError, Provisioned, Routed, Runner, RuntimeReport, Version};
use async_trait::async_trait;
use base::port::{Clock, Entropy, Headroom, Identity, LogSink, Meter};
use base::{Arn, FunctionRef, Invocation, InvokeError, Outcome, Scope};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;
use store::Blobs;
use tokio_util::task::TaskTracker;

/// What an engine is made of.
pub struct Parts {
    pub catalog: Arc<dyn Catalog>,
    pub driver: Arc<dyn sandbox::Driver>,
    pub blobs: Blobs,
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
    pub network: sandbox::Network,
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
    /// Unpacked code kept on disk, beyond what is in use.
    pub cache_bytes_max: u64,
}

impl Config {
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            platform: None,
            network: sandbox::Network::Platform,
            account_concurrency: 1000,
            instances_max: 1000,
            raising_max: 8,
            idle_ttl: Duration::from_secs(600),
            keep_alive: Policy::Fixed,
            pythons: BTreeMap::new(),
            nodes: BTreeMap::new(),
            runtime_fallback_nearest: false,
            cache_bytes_max: 10 << 30,
        }
    }
}

/// Runs functions: admit → route → acquire → run → record → settle.
pub struct Engine {
    catalog: Arc<dyn Catalog>,
    admission: Admission,
    pools: Arc<Pools<Arc<Forge>>>,
    meter: Arc<dyn Meter>,
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
    forge: Arc<Forge>,
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
        let Parts { catalog, driver, blobs, clock, entropy, meter, logs, identity, headroom, config } = parts;
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
            driver,
            templates: Templates::new(blobs, cache, pythons, nodejs),
            clock: clock.clone(),
            entropy: entropy.clone(),
            identity,
            logs,
            network: config.network,
            platform,
            tasks: TaskTracker::new(),
        });
        let bounds = Bounds { places_max: config.instances_max, raising_max: config.raising_max };
        let policy = Arc::from(config.keep_alive.build(config.idle_ttl));
        let pools = Pools::new(forge.clone(), bounds, policy, headroom, clock.clone());
        let reaper = tokio::spawn(reap(Arc::downgrade(&pools), clock.clone(), config.idle_ttl)).abort_handle();
        let admission = Admission::new(config.account_concurrency);
        let runs = TaskTracker::new();
        Ok(Arc::new_cyclic(|this| {
            let this = this.clone();
            Self { catalog, admission, pools, meter, entropy, clock, forge, runs, reaper, this }
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

    /// The path of one call.
    async fn run(&self, call: Invocation) -> Result<Outcome, InvokeError> {
        let routed = self.route(&call.function).await?; // name → alias → version
        let ticket = self.admit(&routed)?; //              may it run now? limits, throttling
        let run = self.place(&routed, &call).await?; //    an instance is found or made; it runs, with a deadline
        drop(ticket);
        self.meter.record(run.usage()).await; //           it is metered, also when it failed
        Ok(run.outcome()) //                               its result goes out
    }

    async fn route(&self, function: &FunctionRef) -> Result<Routed, InvokeError> {
        self.catalog.route(function, self.entropy.u64()).await
    }

    fn admit(&self, routed: &Routed) -> Result<Ticket, InvokeError> {
        if self.runs.is_closed() {
            return Err(stopping());
        }
        self.admission.admit(routed)
    }

    /// Acquires an instance, runs the call on it and gives it back; once more on another if the first one had died
    /// before it had the call.
    async fn place(&self, routed: &Routed, call: &Invocation) -> Result<Run, InvokeError> {
        for last in [false, true] {
            let mut instance = self.pools.acquire(&routed.version).await?;
            if let Ok(run) = instance.run(call, &routed.invoked_arn, last).await {
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
        if self.runs.is_closed() {
            return Err(stopping());
        }
        let Some(this) = self.this.upgrade() else { return Err(stopping()) };
        let task = self.runs.spawn(async move { this.run(call).await });
        match task.await {
            Ok(outcome) => outcome,
            Err(error) => Err(InvokeError::Unavailable(format!("the run was cut off: {error}"))),
        }
    }

    async fn prepare(&self, version: &Version) -> Result<(), PrepareError> {
        self.forge.templates.get(version).await.map(drop)
    }

    async fn retire(&self, scope: &Scope, name: &str, version: &str, keep_revision: Option<&str>) {
        let arn = arn(scope, name);
        self.forge.templates.retire(&arn, version, keep_revision);
        self.pools.retire(&arn, version, keep_revision);
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

    fn runtimes(&self) -> Vec<RuntimeReport> {
        let mut reports = self.forge.templates.interpreters();
        for name in ["provided.al2023", "provided.al2"] {
            reports.push(RuntimeReport { name: name.into(), program: None, note: None });
        }
        reports
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.reaper.abort();
        self.pools.close();
    }
}

fn arn(scope: &Scope, name: &str) -> String {
    Arn::new("lambda", scope.region.as_str(), scope.account.as_str(), format!("function:{name}")).to_string()
}

fn stopping() -> InvokeError {
    InvokeError::Unavailable("the node is stopping".into())
}

/// Ends what has been idle too long, and has made what is to be ready.
async fn reap(pools: Weak<Pools<Arc<Forge>>>, clock: Arc<dyn Clock>, idle_ttl: Duration) {
    let pause = (idle_ttl / 10).clamp(Duration::from_millis(100), Duration::from_secs(1));
    loop {
        clock.sleep(pause).await;
        match pools.upgrade() {
            Some(pools) => pools.sweep(),
            None => return,
        }
    }
}
