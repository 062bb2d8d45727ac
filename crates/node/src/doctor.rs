//! What this machine and this node can promise, and what to do about what they cannot.

use crate::machine::{self, Machine};
use crate::settings::{Credentials, Settings};
use crate::{Fallback, keyring, networks, nodejs, pythons, tiers};
use async_trait::async_trait;
use base::network::Ceiling;
use base::port::Activity;
use base::{FunctionActivity, Scope};
use delivery::Delivery;
use engine::{Engine, Isolation, Runner};
use sandbox::{Driver, Kept, Promise};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use usage::{Check, Doctor, Examination};

/// Free space below which the doctor warns.
const FREE_BYTES_MIN: u64 = 1 << 30;

fn check(name: &str, status: &str, detail: impl Into<String>, remedy: Option<&str>) -> Check {
    Check { name: name.into(), status: status.into(), detail: detail.into(), remedy: remedy.map(str::to_owned) }
}

fn ok(name: &str, detail: impl Into<String>) -> Check {
    check(name, "ok", detail, None)
}

fn weaker(name: &str, detail: impl Into<String>, remedy: &str) -> Check {
    check(name, "weaker", detail, Some(remedy))
}

fn missing(name: &str, detail: impl Into<String>, remedy: &str) -> Check {
    check(name, "missing", detail, Some(remedy))
}

/// Looks at the machine without a node: raises the launcher for a moment to ask what it can keep.
pub fn doctor(settings: &Settings) -> Vec<Check> {
    let mut checks = vec![missing("node", "no node answers", "start one with `wadi up`")];
    checks.extend(of_settings(settings));
    machine::raise_open_files();
    checks.push(of_machine(&Machine::look(), None));
    let pythons = pythons::of_machine(&settings.runtimes);
    if pythons.is_empty() {
        checks.push(missing(
            "python",
            "no interpreter found",
            "install Python 3.9 or newer, or name one under [runtimes] in wadi.toml",
        ));
    }
    checks.extend(pythons.iter().map(|(minor, path)| ok(&format!("python3.{minor}"), path.display().to_string())));
    let nodes = nodejs::of_machine(&settings.runtimes);
    checks.extend(nodes.iter().map(|(major, path)| ok(&format!("nodejs{major}.x"), path.display().to_string())));
    let state_dir = std::env::temp_dir().join(format!("wadi-doctor-{}", std::process::id()));
    let program = std::env::current_exe().unwrap_or_default();
    let egress = networks::egress(settings);
    match sandbox::Process::start(sandbox::ProcessConfig { program, state_dir: state_dir.clone(), egress }) {
        Ok(driver) => {
            checks.push(of_network(settings, driver.as_ref()));
            checks.extend(of_sandboxes(settings, driver.promises()));
        }
        Err(error) => {
            checks.push(missing("sandbox", error.to_string(), "run as root, or allow unprivileged user namespaces"))
        }
    }
    let _ = std::fs::remove_dir_all(state_dir);
    checks.extend(of_tiers(settings));
    checks
}

/// The walls beyond our own sandbox.
fn of_tiers(settings: &Settings) -> Vec<Check> {
    let tiers = tiers::of_machine(settings);
    let row = |isolation: Isolation, install: &str| {
        let name = format!("isolation: {}", isolation.name());
        let default = if settings.isolation == isolation { " (the default)" } else { "" };
        match tiers.runtimes.get(&isolation) {
            Some(_) if !rustix::process::geteuid().is_root() => {
                weaker(&name, format!("containers are made by root alone{default}"), "run the node as root")
            }
            Some(runtime) => ok(&name, format!("{}{default}", runtime.program.display())),
            None if settings.isolation == isolation => missing(&name, "no OCI runtime, and it is the default", install),
            None => check(&name, "ok", "not here: functions that ask for it are refused", Some(install)),
        }
    };
    vec![
        row(Isolation::Container, "install crun or runc, or name one: [oci] container in wadi.toml"),
        row(Isolation::Gvisor, "install runsc, or name it: [oci] gvisor in wadi.toml"),
        of_components(settings, tiers.worker.is_some()),
    ]
}

fn of_sandboxes(settings: &Settings, promises: Vec<Promise>) -> Vec<Check> {
    let whole = of_programs(settings, &promises);
    promises.into_iter().map(of_promise).chain([whole]).collect()
}

/// Whether the node runs programs as things are here.
fn of_programs(settings: &Settings, promises: &[Promise]) -> Check {
    let name = "isolation: process";
    let default = if settings.isolation == Isolation::Process { " (the default)" } else { "" };
    let lacking = tiers::lacking(promises);
    let remedy = "do what is said of each of these";
    match tiers::refused(settings, promises) {
        _ if lacking.is_empty() => ok(name, format!("the sandbox alone{default}")),
        None if settings.listen.ip().is_loopback() => {
            weaker(name, format!("{lacking}: a node that others reach would run no programs{default}"), remedy)
        }
        None => weaker(name, format!("accepted by --weaker-isolation: {lacking}{default}"), remedy),
        Some(_) => missing(
            name,
            format!("no programs run, for want of: {lacking}{default}"),
            "do what is said of each of these, or have it accepted: `wadi up --weaker-isolation accept`",
        ),
    }
}

/// Where WebAssembly components run that do not say.
fn of_components(settings: &Settings, has_worker: bool) -> Check {
    let name = "isolation: components";
    match settings.component_isolation() {
        Isolation::Wasm if settings.listen.ip().is_loopback() => {
            ok(name, "wasm: in the node's process; wasm-process where a function says so")
        }
        Isolation::Wasm => weaker(
            name,
            "wasm: strangers' components run in the node's process",
            "leave component_isolation out, or set it to wasm-process",
        ),
        _ if has_worker => {
            ok(name, "wasm-process: in a process in the sandbox; a function that asks for wasm is refused")
        }
        _ => missing(name, "this program cannot be found, and is the worker", "start the node from a file that stays"),
    }
}

fn of_promise(promise: Promise) -> Check {
    let name = format!("sandbox: {}", promise.name);
    let (status, detail): (&str, String) = match promise.kept {
        Kept::Yes => ("ok", "kept".to_owned()),
        Kept::Weaker(why) => ("weaker", why),
        Kept::No(why) => ("missing", why),
    };
    check(&name, status, detail, promise.remedy.as_deref())
}

/// Fewer than this at once is less than what a small demonstration needs.
const INSTANCES_MIN: usize = 16;

fn of_machine(machine: &Machine, alive: Option<usize>) -> Check {
    let alive = alive.map(|n| format!("{n} alive; ")).unwrap_or_default();
    let detail = format!("{alive}{}", machine.describe());
    if machine.instances_max().0 >= INSTANCES_MIN {
        return ok("instances", detail);
    }
    weaker("instances", detail, "give the node more of what bounds it (memory, `ulimit -n`, `ulimit -u`)")
}

fn of_settings(settings: &Settings) -> Vec<Check> {
    let mut checks = vec![ok("listen", settings.listen.to_string()), disk(&settings.data_dir)];
    checks.push(match settings.credentials {
        Credentials::Development => ok("credentials", "development (test/test); loopback only"),
        Credentials::Root => {
            ok("credentials", format!("root key in {}", settings.data_dir.join("root-key.json").display()))
        }
    });
    checks.push(ok(
        "secrets",
        match &settings.secrets.key_command {
            Some(_) => "sealed with the master key that the key command prints".to_owned(),
            None => format!("sealed with the master key in {}", keyring::file(settings).display()),
        },
    ));
    if settings.runtime_fallback == Fallback::Nearest {
        checks.push(weaker(
            "runtime fallback",
            "an interpreter that is missing is replaced by the nearest one",
            "install the versions your functions name, and drop --runtime-fallback",
        ));
    }
    checks
}

/// What functions reach that name no network.
fn of_network(settings: &Settings, driver: &dyn Driver) -> Check {
    let name = "function network";
    match (networks::usual(settings, driver), driver.leads_out()) {
        (Ceiling::None, _) => ok(name, "none: nothing at all, unless a function names another"),
        (Ceiling::Host, _) => weaker(
            name,
            "host: functions share the host's network",
            "use --network internet or platform for code you do not trust",
        ),
        (Ceiling::Internet, Ok(())) => ok(name, "internet: no host, no private ranges, no neighbours"),
        (Ceiling::Internet, Err(reason)) => {
            missing(name, reason, "install nftables and run as root, or use --network platform")
        }
        (Ceiling::Platform, Err(reason)) if settings.ceiling() == Ceiling::Internet => weaker(
            name,
            format!("platform only, for want of a way out: {reason}"),
            "install nftables and run the node as root",
        ),
        (Ceiling::Platform, _) => ok(name, "platform: no internet, no host, no neighbours"),
    }
}

fn disk(data_dir: &Path) -> Check {
    let shown = data_dir.display();
    match rustix::fs::statvfs(data_dir) {
        Ok(fs) => {
            let free = fs.f_bavail.saturating_mul(fs.f_frsize);
            let detail = format!("{shown}: {:.1} GiB free", free as f64 / (1u64 << 30) as f64);
            if free < FREE_BYTES_MIN {
                weaker("data directory", detail, "make room: writes are refused when the disk is full")
            } else {
                ok("data directory", detail)
            }
        }
        Err(_) => {
            let above = data_dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
            match rustix::fs::access(above, rustix::fs::Access::WRITE_OK) {
                Ok(()) => ok("data directory", format!("{shown}: made at first start")),
                Err(error) => missing(
                    "data directory",
                    format!("{shown} cannot be made: {}: {error}", above.display()),
                    "choose another with --data-dir or WADI_DATA_DIR",
                ),
            }
        }
    }
}

/// The running node's own account of itself.
pub struct Report {
    settings: Settings,
    machine: Machine,
    driver: Arc<dyn Driver>,
    parts: OnceLock<(Arc<Engine>, Arc<Delivery>)>,
}

impl Report {
    pub fn new(settings: Settings, machine: Machine, driver: Arc<dyn Driver>) -> Self {
        Self { settings, machine, driver, parts: OnceLock::new() }
    }

    /// Tells the report of the parts that are made after it.
    pub fn wire(&self, engine: Arc<Engine>, delivery: Arc<Delivery>) {
        let _ = self.parts.set((engine, delivery));
    }
}

impl Activity for Report {
    fn of(&self, scope: &Scope) -> Vec<FunctionActivity> {
        self.parts.get().map(|(engine, _)| engine.of(scope)).unwrap_or_default()
    }
}

#[async_trait]
impl Doctor for Report {
    async fn examine(&self) -> Examination {
        let mut checks = of_settings(&self.settings);
        checks.push(of_network(&self.settings, self.driver.as_ref()));
        if let Some((engine, delivery)) = self.parts.get() {
            for runtime in engine.runtimes() {
                let program = runtime.program.map(|p| p.display().to_string()).unwrap_or_default();
                let note = runtime.note.unwrap_or_default();
                checks.push(ok(&runtime.name, format!("{program} {note}").trim()));
            }
            checks.push(of_machine(&self.machine, Some(engine.instances())));
            checks.push(match delivery.status().await {
                Ok(s) if s.dead == 0 => ok("events", format!("{} waiting, {} in flight", s.waiting, s.in_flight)),
                Ok(s) => weaker(
                    "events",
                    format!("{} waiting, {} in flight, {} dead", s.waiting, s.in_flight, s.dead),
                    "look at the dead ones: GET /_wadi/api/events/dead says why each was given up",
                ),
                Err(error) => missing("events", error.to_string(), "look at the node's log"),
            });
        }
        checks.extend(of_sandboxes(&self.settings, self.driver.promises()));
        checks.extend(of_tiers(&self.settings));
        Examination {
            checks,
            version: env!("CARGO_PKG_VERSION").into(),
            listen: self.settings.listen.to_string(),
            data_dir: self.settings.data_dir.display().to_string(),
        }
    }
}
