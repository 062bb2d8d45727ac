//! Where instances are made: a template, keys, a log stream, a sandbox or a cell to make it of.

use crate::bases::Bases;
use crate::cells::{Cell, Cells, Class};
use crate::environment::{self, AGE_MAX, KEYS_LAST, environment};
use crate::failure::Failure;
use crate::live::{Ends, Live, Writer};
use crate::log::Log;
use crate::relay::Platform;
use crate::template::{Component, Template};
use crate::templates::Templates;
use crate::wasm::worker;
use crate::way::{self, Way, own_listeners, ports};
use crate::{PrepareError, Version};
use base::Scope;
use base::network::Networks;
use base::port::{Clock, Entropy, Identity, LogSink, TemporaryKeys};
use bytes::Bytes;
use sandbox::{Driver, Limits, Program, Raised, Role, Spec};
use std::collections::BTreeMap;
use std::fmt;
use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::TaskTracker;

const CWD: &str = "/var/task";
/// As on AWS.
const PROCESSES_MAX: u64 = 1024;
const OPEN_FILES_MAX: u64 = 1024;
/// AWS gives a function one core's worth of processor time at this much memory.
const MEMORY_MB_PER_CORE: u64 = 1769;

pub(crate) struct Forge {
    pub driver: Arc<dyn Driver>,
    pub templates: Templates,
    pub bases: Bases,
    pub cells: Cells,
    /// Whether instances are copied from zygotes, or made of cells, where SnapStart does not say.
    pub copies: bool,
    /// Why this machine copies nothing and begins nothing beforehand, once that is known.
    pub plain: OnceLock<String>,
    /// Instances are held to their share of a core once they are initialised.
    pub cpu_quota: bool,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub identity: Arc<dyn Identity>,
    pub logs: Arc<dyn LogSink>,
    pub networks: Arc<Networks>,
    pub platform: Platform,
    /// Watchers of sandboxes and shippers of logs; they end by themselves when their sandbox has.
    pub tasks: TaskTracker,
}

/// What an instance's or a zygote's process comes of.
pub(crate) enum Seed {
    /// The version's own program, started.
    Program,
    /// The base in the sandbox of this id; with `zygote` to be the version's.
    Base { id: String, zygote: bool },
    /// The version's zygote in the sandbox of this id, in whose mounts the copy stays.
    Zygote(String),
}

impl Seed {
    /// Zygotes run nothing.
    pub(crate) fn is_for_calls(&self) -> bool {
        !matches!(self, Self::Base { zygote: true, .. })
    }
}

/// Why there is no sandbox.
pub(crate) enum RaiseError {
    /// The function's fault: what it brings cannot be executed.
    Function(Failure),
    /// Ours.
    Node(String),
}

impl fmt::Display for RaiseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(failure) => f.write_str(failure.error_type()),
            Self::Node(reason) => f.write_str(reason),
        }
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

    pub(crate) fn way(&self, version: &Version) -> Result<Way, PrepareError> {
        way::way(&self.networks, self.driver.as_ref(), version.network.as_deref())
            .map_err(|message| PrepareError { code: "InvalidConfiguration", message })
    }

    /// Whether this node runs the like. A component in a process of its own is guarded by its own wall as well.
    pub(crate) fn may_run(&self, template: &Template) -> Result<(), PrepareError> {
        if template.component.is_some() { Ok(()) } else { self.templates.tiers.check_program() }
    }

    /// The base that the version's processes can be copied from, if it is there.
    pub(crate) fn base(&self, template: &Template) -> Option<String> {
        self.bases.get(template.base?)
    }

    /// The cells that the version's instances can be made of.
    pub(crate) fn class(&self, version: &Version, template: &Template) -> Option<Class> {
        template.class.as_ref().ok().filter(|_| self.may_be_copied(version)).cloned()
    }

    /// The functions of this scope whose instances are made of a zygote or a cell that is there, and why those of others
    /// cannot be; once for each version.
    pub(crate) fn made_ahead(&self, scope: &Scope) -> Vec<(String, Result<(), String>)> {
        let may = |copies: Option<bool>| copies.unwrap_or(self.copies);
        let plain = |copies| self.plain.get().filter(|_| may(copies)).cloned();
        self.templates.made_ahead(scope, |class, copies| may(copies) && self.cells.has(class), plain)
    }

    /// Has a cell of the version's class there for its next instance. `in_use`: there was one already, or a call for one.
    pub(crate) async fn raise_cell(&self, version: &Version, template: &Template, in_use: bool) {
        let Some(class) = self.class(version, template) else { return };
        let Some(turn) = self.cells.turn(class, in_use, self.clock.elapsed()) else { return };
        let id = turn.id(&self.hex::<8>());
        let Ok(way) = self.way(version) else { return };
        let spec =
            own_listeners(&way).and_then(|own| Ok((self.cell_spec(version, template, id, &way, own.as_ref())?, own)));
        match spec {
            Ok((spec, own)) => turn.raise(spec, own).await.unwrap_or_else(|error| self.not_ahead(error)),
            Err(error) => tracing::info!(%error, "a cell could not be raised"),
        }
    }

    fn cell_spec(
        &self,
        version: &Version,
        template: &Template,
        id: String,
        way: &Way,
        own: Option<&[TcpListener; 2]>,
    ) -> std::io::Result<Spec> {
        let (runtime_api_port, platform_port) = ports(way, own)?;
        let keys = &TemporaryKeys {
            access_key: String::new(),
            secret_key: String::new(),
            session_token: String::new(),
            expires: self.clock.now(),
        };
        let interpreter = template.interpreter.as_ref();
        let interpreter_bin = interpreter.and_then(|i| i.program.parent());
        let instance = environment::Instance { log_stream: "", keys, runtime_api_port, platform_port, interpreter_bin };
        Ok(Spec {
            id,
            role: Role::Cell,
            program: Program::Exec(template.argv.clone()),
            env: environment::of_cell(version, &instance),
            cwd: "/".into(),
            mounts: interpreter.map(|interpreter| interpreter.mounts()).unwrap_or_default(),
            limits: self.limits(version),
            network: way.network.clone(),
            listen: way.ports(),
            image: None,
            runtime: None,
        })
    }

    /// Whether the version may have a zygote or cells. A runtime with several calls at once is started.
    pub(crate) fn may_be_copied(&self, version: &Version) -> bool {
        version.per_instance.is_none() && version.copies.unwrap_or(self.copies)
    }

    /// Whether keys that were given at `born` outlive another run.
    pub(crate) fn is_young(&self, born: Duration, now: Duration) -> bool {
        now.saturating_sub(born) < AGE_MAX
    }

    /// Has the version's base there, where it can be. Without one its instances start by themselves.
    pub(crate) async fn raise_base(&self, template: &Template) {
        if let (Some(kind), Some(interpreter), None) = (template.base, &template.interpreter, self.plain.get())
            && let Err(error) = self.bases.raise(kind, interpreter).await
        {
            self.not_ahead(error);
        }
    }

    /// Instances are started when they are needed. Where that is the machine's doing, it is told once.
    fn not_ahead(&self, error: sandbox::Error) {
        if error != sandbox::Error::NoCopies || self.plain.set(error.to_string()).is_ok() {
            tracing::info!(%error, "instances are started when they are needed, not copied or begun beforehand");
        }
    }

    /// Random bytes in lower-case hex.
    pub(crate) fn hex<const N: usize>(&self) -> String {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        hex::encode(bytes)
    }

    /// Raises a sandbox for an instance or a zygote; its runtime starts at once.
    pub(crate) async fn raise(
        &self,
        version: &Version,
        template: &Template,
        id: &str,
        seed: Seed,
        writer: &Arc<Writer>,
        place: Option<&Arc<OwnedSemaphorePermit>>,
    ) -> Result<Live, RaiseError> {
        if let Some(reason) = &template.broken {
            return Err(RaiseError::Function(Failure::Entrypoint(reason.clone())));
        }
        let way = self.way(version).map_err(|error| RaiseError::Node(error.message))?;
        let own = own_listeners(&way).map_err(not_started)?;
        let spec = self.spec(version, template, id, seed, writer, (&way, own.as_ref())).map_err(not_started)?;
        let raised = self.driver.raise(spec).await.map_err(raise_error)?;
        self.take_over(raised, own, None, template, writer, place)
    }

    /// Makes a sandbox for an instance of a cell, whose runtime goes on at once.
    pub(crate) async fn specialise(
        &self,
        version: &Version,
        template: &Template,
        mut cell: Cell,
        writer: &Arc<Writer>,
        place: &Arc<OwnedSemaphorePermit>,
    ) -> Result<Live, RaiseError> {
        let way = self.way(version).map_err(|error| RaiseError::Node(error.message))?;
        let own = cell.listeners.take();
        let env = self.environment(version, template, writer, (&way, own.as_ref())).map_err(not_started)?;
        let (compile, compiled) = template.compile();
        let calling = serde_json::json!({ "env": env, "cwd": CWD, "compile": compile }).to_string();
        let mounts = template.mounts.iter().cloned().chain(compiled).collect();
        let raised = self.cells.specialise(cell, mounts).await.map_err(raise_error)?;
        self.take_over(raised, own, Some(calling.into()), template, writer, Some(place))
    }

    fn take_over(
        &self,
        mut raised: Raised,
        own: Option<[TcpListener; 2]>,
        calling: Option<Bytes>,
        template: &Template,
        writer: &Arc<Writer>,
        place: Option<&Arc<OwnedSemaphorePermit>>,
    ) -> Result<Live, RaiseError> {
        let inside = std::mem::take(&mut raised.listeners);
        let mut listeners = own.map_or(inside, Vec::from).into_iter();
        let runtime = listeners.next().ok_or(RaiseError::Node("the sandbox came without its listener".into()))?;
        let ends = Ends { raised, runtime, platform: listeners.next(), calling, calls: template.calls };
        let (writer, place, platform) = (writer.clone(), place.cloned(), self.platform.clone());
        Live::new(ends, writer, place, platform, self.clock.clone(), &self.tasks).map_err(not_started)
    }

    fn environment(
        &self,
        version: &Version,
        template: &Template,
        writer: &Writer,
        (way, own): (&Way, Option<&[TcpListener; 2]>),
    ) -> std::io::Result<BTreeMap<String, String>> {
        let (runtime_api_port, platform_port) = ports(way, own)?;
        let keys = self.identity.issue(&version.scope.account, &version.role, &version.name, KEYS_LAST);
        let instance = environment::Instance {
            log_stream: writer.0.stream(),
            keys: &keys,
            runtime_api_port,
            platform_port,
            interpreter_bin: template.interpreter.as_ref().and_then(|i| i.program.parent()),
        };
        let own = template.image.as_ref().map_or(&[][..], |image| &image.env);
        let env = environment(version, own, &instance);
        Ok(match template.component {
            Some(Component::InWorkers { has_more }) => worker::environment(version, env, way, platform_port, has_more),
            _ => env,
        })
    }

    fn spec(
        &self,
        version: &Version,
        template: &Template,
        id: &str,
        seed: Seed,
        writer: &Writer,
        (way, own): (&Way, Option<&[TcpListener; 2]>),
    ) -> std::io::Result<Spec> {
        let role = if seed.is_for_calls() { Role::Instance } else { Role::Template };
        let (program, mounts) = match seed {
            Seed::Program => (Program::Exec(template.argv.clone()), template.all_mounts()),
            Seed::Base { id, .. } => (Program::Copy { of: id }, template.all_mounts()),
            Seed::Zygote(id) => (Program::Copy { of: id }, Vec::new()),
        };
        Ok(Spec {
            id: id.to_owned(),
            env: self.environment(version, template, writer, (way, own))?,
            cwd: template.image.as_ref().map_or_else(|| CWD.to_owned(), |image| image.directory.clone()),
            mounts,
            role,
            program,
            limits: self.limits_in(version, template),
            network: way.network.clone(),
            listen: way.ports(),
            image: template.image.as_ref().map(|image| image.path.clone()),
            runtime: template.runtime.clone(),
        })
    }

    /// A component's memory is its own; its worker has more for itself.
    fn limits_in(&self, version: &Version, template: &Template) -> Limits {
        let mut limits = self.limits(version);
        if let Some(Component::InWorkers { .. }) = template.component {
            limits.memory_bytes += worker::OWN_BYTES;
        }
        limits
    }

    fn limits(&self, version: &Version) -> Limits {
        let memory_mb = u64::from(version.memory_mb);
        Limits {
            memory_bytes: memory_mb << 20,
            pids: PROCESSES_MAX,
            open_files: OPEN_FILES_MAX,
            file_bytes: u64::from(version.ephemeral_mb) << 20,
            cpu_weight: (memory_mb * 1024 / MEMORY_MB_PER_CORE).max(1),
            cpu_quota: self.cpu_quota,
        }
    }
}

fn not_started(error: std::io::Error) -> RaiseError {
    RaiseError::Node(format!("an instance could not be started: {error}"))
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
