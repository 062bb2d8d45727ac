//! Where instances are made: a template, keys, a log stream, a sandbox.

use crate::environment::{self, environment};
use crate::failure::Failure;
use crate::instance::Instance;
use crate::live::{Live, Writer};
use crate::log::Log;
use crate::pool::Maker;
use crate::relay::Platform;
use crate::template::{Template, Templates};
use crate::{PrepareError, Version};
use base::InvokeError;
use base::port::{Clock, Entropy, Identity, LogSink};
use sandbox::{Driver, Limits, Network, Spec};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::TaskTracker;

/// The ports an instance finds on its loopback when it has a network of its own.
pub(crate) const RUNTIME_API_PORT: u16 = 9001;
pub(crate) const PLATFORM_PORT: u16 = 4566;
/// How long an instance's keys last; it is not used for longer than [`AGE_MAX`], so they outlive every run.
pub(crate) const KEYS_LAST: Duration = Duration::from_secs(12 * 3600);
pub(crate) const AGE_MAX: Duration = Duration::from_secs(8 * 3600);
/// As on AWS.
const PROCESSES_MAX: u64 = 1024;
const OPEN_FILES_MAX: u64 = 1024;
/// AWS gives a function one core's worth of processor time at this much memory.
const MEMORY_MB_PER_CORE: u64 = 1769;

pub(crate) struct Forge {
    pub driver: Arc<dyn Driver>,
    pub templates: Templates,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub identity: Arc<dyn Identity>,
    pub logs: Arc<dyn LogSink>,
    pub network: Network,
    pub platform: Platform,
    /// Watchers of sandboxes and shippers of logs; they end by themselves when their sandbox has.
    pub tasks: TaskTracker,
}

/// Why there is no sandbox.
pub(crate) enum RaiseError {
    /// The function's fault: what it brings cannot be executed.
    Function(Failure),
    /// Ours.
    Node(String),
}

impl Maker for Arc<Forge> {
    type Made = Instance;

    async fn make(&self, version: Arc<Version>, place: OwnedSemaphorePermit) -> Result<Instance, InvokeError> {
        let template = self.templates.get(&version).await.map_err(not_ready)?;
        let id = self.hex::<16>();
        let log = self.log(&version, &id);
        Instance::start(self.clone(), version, template, id, log, place).await
    }
}

impl Forge {
    pub(crate) fn log(&self, version: &Version, id: &str) -> Arc<Writer> {
        let (year, month, day, ..) = self.clock.now().civil();
        let stream = format!("{year:04}/{month:02}/{day:02}/[{}]{id}", version.version);
        let log = Log::new(version.scope.clone(), version.log_group.clone(), stream, self.clock.clone());
        let log = Arc::new(log);
        self.tasks.spawn(log.clone().ship(self.logs.clone()));
        Arc::new(Writer(log))
    }

    /// Random bytes in lower-case hex.
    pub(crate) fn hex<const N: usize>(&self) -> String {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        hex::encode(bytes)
    }

    /// Raises a sandbox for an instance; its runtime starts at once.
    pub(crate) async fn raise(
        &self,
        version: &Version,
        template: &Template,
        id: &str,
        writer: &Arc<Writer>,
        place: &Arc<OwnedSemaphorePermit>,
    ) -> Result<Live, RaiseError> {
        if let Some(reason) = &template.broken {
            return Err(RaiseError::Function(Failure::Entrypoint(reason.clone())));
        }
        let node = |e: std::io::Error| RaiseError::Node(format!("an instance could not be started: {e}"));
        let own = match self.network {
            Network::Platform => None,
            Network::Host => Some([listen().map_err(node)?, listen().map_err(node)?]),
        };
        let spec = self.spec(version, template, id, writer, own.as_ref()).map_err(node)?;
        let mut raised = self.driver.raise(spec).await.map_err(raise_error)?;
        let inside = std::mem::take(&mut raised.listeners);
        let listeners = match own {
            Some(own) => own,
            None => inside.try_into().map_err(|_| RaiseError::Node("the sandbox came without its listeners".into()))?,
        };
        let (writer, place, platform) = (writer.clone(), place.clone(), self.platform.clone());
        Live::new(raised, listeners, writer, place, platform, self.clock.clone(), &self.tasks).map_err(node)
    }

    fn spec(
        &self,
        version: &Version,
        template: &Template,
        id: &str,
        writer: &Writer,
        own: Option<&[TcpListener; 2]>,
    ) -> std::io::Result<Spec> {
        let [runtime_api_port, platform_port] = match own {
            Some([runtime, outward]) => [runtime.local_addr()?.port(), outward.local_addr()?.port()],
            None => [RUNTIME_API_PORT, PLATFORM_PORT],
        };
        let keys = self.identity.issue(&version.scope.account, &version.role, &version.name, KEYS_LAST);
        let instance = environment::Instance {
            log_stream: writer.0.stream(),
            keys: &keys,
            runtime_api_port,
            platform_port,
            interpreter_bin: template.interpreter.as_ref().and_then(|i| i.program.parent()),
        };
        let memory_mb = u64::from(version.memory_mb);
        Ok(Spec {
            id: id.to_owned(),
            argv: template.argv.clone(),
            env: environment(version, &instance),
            cwd: "/var/task".into(),
            mounts: template.mounts.clone(),
            limits: Limits {
                memory_bytes: memory_mb << 20,
                pids: PROCESSES_MAX,
                open_files: OPEN_FILES_MAX,
                file_bytes: u64::from(version.ephemeral_mb) << 20,
                cpu_weight: (memory_mb * 1024 / MEMORY_MB_PER_CORE).max(1),
            },
            network: self.network,
            listen: if own.is_some() { Vec::new() } else { vec![runtime_api_port, platform_port] },
        })
    }
}

fn listen() -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn raise_error(error: sandbox::Error) -> RaiseError {
    match error {
        sandbox::Error::Raise { step, reason } if step.starts_with("execute ") => {
            let program = step.trim_start_matches("execute ");
            RaiseError::Function(Failure::Entrypoint(format!("fork/exec {program}: {reason}")))
        }
        error => RaiseError::Node(error.to_string()),
    }
}

/// A version that cannot be prepared at its first call: AWS would not have let it become active.
pub(crate) fn not_ready(error: PrepareError) -> InvokeError {
    match error.code {
        "InternalError" => InvokeError::Unavailable(error.message),
        _ => InvokeError::NotReady(error.message),
    }
}
