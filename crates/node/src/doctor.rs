//! What this machine and this node can promise, and what to do about what they cannot.

use crate::settings::{Credentials, Network, Settings};
use crate::{Fallback, pythons};
use delivery::Delivery;
use engine::{Engine, Runner};
use sandbox::{Driver, Kept, Promise};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Free space below which the doctor warns.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    /// `ok`, `weaker` or `missing`.
    pub status: &'static str,
    pub detail: String,
    pub remedy: Option<String>,
}

impl Check {
    fn ok(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.into(), status: "ok", detail: detail.into(), remedy: None }
    }

    fn weaker(name: &str, detail: impl Into<String>, remedy: &str) -> Self {
        Self { name: name.into(), status: "weaker", detail: detail.into(), remedy: Some(remedy.into()) }
    }

    fn missing(name: &str, detail: impl Into<String>, remedy: &str) -> Self {
        Self { name: name.into(), status: "missing", detail: detail.into(), remedy: Some(remedy.into()) }
    }
}

/// Looks at the machine without a node: raises the launcher for a moment to ask what it can keep.
pub fn doctor(settings: &Settings) -> Vec<Check> {
    let mut checks = vec![Check::missing("node", "no node answers", "start one with `wadi up`")];
    checks.extend(of_settings(settings));
    let pythons = pythons::of_machine(&settings.runtimes);
    if pythons.is_empty() {
        checks.push(Check::missing("python", "no interpreter found", "install Python 3.9 or newer, or name one under [runtimes] in wadi.toml"));
    }
    checks.extend(pythons.iter().map(|(minor, path)| Check::ok(&format!("python3.{minor}"), path.display().to_string())));
    let state_dir = std::env::temp_dir().join(format!("wadi-doctor-{}", std::process::id()));
    let program = std::env::current_exe().unwrap_or_default();
    match sandbox::Process::start(sandbox::ProcessConfig { program, state_dir: state_dir.clone() }) {
        Ok(driver) => checks.extend(driver.promises().into_iter().map(of_promise)),
        Err(error) => checks.push(Check::missing("sandbox", error.to_string(), "run as root, or allow unprivileged user namespaces")),
    }
    let _ = std::fs::remove_dir_all(state_dir);
    checks
}

fn of_promise(promise: Promise) -> Check {
    let name = format!("sandbox: {}", promise.name);
    let (status, detail) = match promise.kept {
        Kept::Yes => ("ok", "kept".to_owned()),
        Kept::Weaker(why) => ("weaker", why),
        Kept::No(why) => ("missing", why),
    };
    Check { name, status, detail, remedy: promise.remedy }
}

fn of_settings(settings: &Settings) -> Vec<Check> {
    let mut checks = vec![Check::ok("listen", settings.listen.to_string()), disk(&settings.data_dir)];
    checks.push(match settings.credentials {
        Credentials::Development => Check::ok("credentials", "development (test/test); loopback only"),
        Credentials::Root => Check::ok("credentials", format!("root key in {}", settings.data_dir.join("root-key.json").display())),
    });
    checks.push(match settings.network {
        Network::Platform => Check::ok("function network", "the platform only: no internet, no host, no neighbours"),
        Network::Host => Check::weaker(
            "function network",
            "functions share the host's network",
            "use --network platform for code you do not trust",
        ),
    });
    if settings.runtime_fallback == Fallback::Nearest {
        checks.push(Check::weaker(
            "runtime fallback",
            "a Python that is missing is replaced by the nearest one",
            "install the versions your functions name, and drop --runtime-fallback",
        ));
    }
    checks
}

fn disk(data_dir: &Path) -> Check {
    let shown = data_dir.display();
    match rustix::fs::statvfs(data_dir) {
        Ok(fs) => {
            let free = fs.f_bavail.saturating_mul(fs.f_frsize);
            let detail = format!("{shown}: {:.1} GiB free", free as f64 / (1u64 << 30) as f64);
            if free < FREE_BYTES_MIN {
                Check::weaker("data directory", detail, "make room: writes are refused when the disk is full")
            } else {
                Check::ok("data directory", detail)
            }
        }
        Err(_) => Check::ok("data directory", format!("{shown}: made at first start")),
    }
}

/// The running node's own account of itself.
pub struct Report {
    settings: Settings,
    driver: Arc<dyn Driver>,
    parts: OnceLock<(Arc<Engine>, Arc<Delivery>)>,
}

impl Report {
    pub fn new(settings: Settings, driver: Arc<dyn Driver>) -> Self {
        Self { settings, driver, parts: OnceLock::new() }
    }

    /// Tells the report of the parts that are made after it.
    pub fn wire(&self, engine: Arc<Engine>, delivery: Arc<Delivery>) {
        let _ = self.parts.set((engine, delivery));
    }

    async fn checks(&self) -> Vec<Check> {
        let mut checks = of_settings(&self.settings);
        if let Some((engine, delivery)) = self.parts.get() {
            for runtime in engine.runtimes() {
                let program = runtime.program.map(|p| p.display().to_string()).unwrap_or_default();
                let note = runtime.note.unwrap_or_default();
                checks.push(Check::ok(&runtime.name, format!("{program} {note}").trim()));
            }
            checks.push(Check::ok("instances", format!("{} alive", engine.instances())));
            checks.push(match delivery.status().await {
                Ok(s) if s.dead == 0 => Check::ok("events", format!("{} waiting, {} in flight", s.waiting, s.in_flight)),
                Ok(s) => Check::weaker(
                    "events",
                    format!("{} waiting, {} in flight, {} dead", s.waiting, s.in_flight, s.dead),
                    "look at the dead ones: GET /_wadi/api/events/dead says why each was given up",
                ),
                Err(error) => Check::missing("events", error.to_string(), "look at the node's log"),
            });
        }
        checks.extend(self.driver.promises().into_iter().map(of_promise));
        checks
    }
}
