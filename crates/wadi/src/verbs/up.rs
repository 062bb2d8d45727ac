//! `wadi up`: runs a node until it is told to stop.

use crate::error::{Error, Result};
use crate::values::pair;
use node::{Ceiling, Credentials, Fallback, Flags, KeepAlive, Node, Settings, Starts, Wall, WeakerIsolation};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  wadi up
  wadi up --listen 127.0.0.1:0 --data-dir /tmp/w      a free port, data of its own
  wadi up --listen 0.0.0.0:4566 --credentials root    for other machines: a key of its own, made at first start
  WADI_NETWORK=host wadi up                           every flag is also a WADI_* variable

wadi.toml says the same things: `listen = \"127.0.0.1:4566\"`, `data_dir = \"…\"`, `[runtimes] \"python3.12\" = \"…\"`,
the networks that functions may name: `[networks.db] allow = [\"10.0.5.0/24 tcp 5432\"]`, and container images'
registries, logins and authorities: `[images] registries = [\"registry.example\"]`, `credentials = \"…\"`, `ca = \"…\"`.
Flags win over variables, variables over the file. Stop it with Ctrl-C or SIGTERM: work in flight is finished first.";

/// Run a node
#[derive(Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Up {
    /// Where to listen [default: 127.0.0.1:4566]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where everything is kept [default: $XDG_DATA_HOME/wadi or ~/.local/share/wadi]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The settings file [default: wadi.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Whose keys are good: `development` (test/test, loopback only) or `root` (made at first start)
    #[arg(long, value_name = "WHICH")]
    credentials: Option<Credentials>,
    /// What functions reach that name no network, and the most they may name: `none`, `platform` (this node only),
    /// `internet` (not the host, nor what is near) or `host` (the host's network) [default: internet where this machine
    /// can, on loopback; else platform]
    #[arg(long, value_name = "WHICH")]
    network: Option<Ceiling>,
    /// How strong a wall functions have whose tag `wadi:isolation` does not say: `process` (our own sandbox), `container` (crun,
    /// runc) or `gvisor` (runsc) [default: process]
    #[arg(long, value_name = "WHICH")]
    isolation: Option<Wall>,
    /// Programs that this machine cannot isolate in full, on a node that listens beyond loopback: `refuse` them, or `accept` that
    /// functions can starve, stop or see each other (`wadi doctor` says what is weaker, and the remedy) [default: refuse]
    #[arg(long, value_name = "WHICH")]
    weaker_isolation: Option<WeakerIsolation>,
    /// How strong a wall WebAssembly components have at the least: `wasm` (their own, in the node's process) or `wasm-process`
    /// (in a process in our own sandbox as well) [default: wasm on loopback; else wasm-process]
    #[arg(long, value_name = "WHICH")]
    component_isolation: Option<Wall>,
    /// When a version of Python or Node.js is not here: `none` (refuse) or `nearest` (use the nearest, and say so)
    #[arg(long, value_name = "WHICH")]
    runtime_fallback: Option<Fallback>,
    /// Multiplies the waits between retries of asynchronous invocations [default: 1]
    #[arg(long, value_name = "FACTOR")]
    retry_time_scale: Option<f64>,
    /// Invocations at once over the account [default: 1000]
    #[arg(long, value_name = "N")]
    account_concurrency: Option<u32>,
    /// How instances start where their function does not say (SnapStart): `template` (from what was initialised or begun
    /// beforehand, where that can be) or `plain` (each by itself) [default: template]
    #[arg(long, value_name = "HOW")]
    starts: Option<Starts>,
    /// How long what is idle is kept: `cost` (by what a start costs against the memory held, and by when calls come),
    /// `hybrid` (by a histogram of each function's idle times) or `fixed` (--idle-seconds) [default: cost]
    #[arg(long, value_name = "POLICY")]
    keep_alive: Option<KeepAlive>,
    /// Seconds an idle instance is kept, at most [default: 600]
    #[arg(long, value_name = "SECONDS")]
    idle_seconds: Option<u64>,
    /// Seconds that work in flight gets when the node stops [default: 20]
    #[arg(long, value_name = "SECONDS")]
    drain_seconds: Option<u64>,
    /// An interpreter to use, e.g. python3.12=/opt/python/bin/python3.12 (may be given again)
    #[arg(long = "runtime", value_name = "NAME=PATH", value_parser = pair)]
    runtimes: Vec<(String, String)>,
}

impl From<Up> for Flags {
    fn from(up: Up) -> Self {
        Self {
            config: up.config,
            listen: up.listen,
            data_dir: up.data_dir,
            credentials: up.credentials,
            network: up.network,
            networks: Default::default(),
            runtime_fallback: up.runtime_fallback,
            retry_time_scale: up.retry_time_scale,
            account_concurrency: up.account_concurrency,
            starts: up.starts,
            keep_alive: up.keep_alive,
            idle_seconds: up.idle_seconds,
            drain_seconds: up.drain_seconds,
            secrets: None,
            images: None,
            isolation: up.isolation.map(|wall| wall.0),
            weaker_isolation: up.weaker_isolation,
            component_isolation: up.component_isolation.map(|wall| wall.0),
            oci: None,
            limits: None,
            runtimes: up.runtimes.into_iter().map(|(name, path)| (name, path.into())).collect(),
        }
    }
}

pub async fn run(up: Up) -> Result<()> {
    let began = Instant::now();
    let settings = Settings::load(up.into()).map_err(|e| Error::Usage { message: format!("{e:#}"), help: None })?;
    let data_dir = settings.data_dir.clone();
    // Signals are caught before the node starts, so that one sent meanwhile is not lost.
    let no_signals = |e: std::io::Error| Error::bare(format!("cannot catch signals: {e}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let node = Node::start(settings).await.map_err(|e| {
        Error::told(format!("the node did not start: {e:#}"), "`wadi doctor` looks at what the machine offers")
    })?;
    let ready = began.elapsed().as_secs_f64();
    crate::show::line(format!(
        "wadi: ready on http://{} (data in {}, {ready:.2} s)",
        node.address(),
        data_dir.display()
    ));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    eprintln!("wadi: stopping; work in flight is finished first (again to stop at once)");
    tokio::select! {
        _ = node.stop() => Ok(()),
        _ = terminate.recv() => Err(Error::Shown),
        _ = interrupt.recv() => Err(Error::Shown),
    }
}
