//! Settings: what a node is told, from defaults, `wadi.toml`, `WADI_*` variables and flags; later ones win.

use anyhow::{Context, Result, bail};
use base::network::{Ceiling, Listed, Networks, Policy};
use engine::Isolation;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Which credentials a node accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Credentials {
    /// `test` / `test`, account 000000000000. Loopback only.
    Development,
    /// A root access key made at first start and kept in the data directory.
    Root,
}

/// A network that functions can name, `[networks.NAME]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// The node's own endpoint [default: true].
    platform: Option<bool>,
    /// The internet [default: false].
    #[serde(default)]
    internet: bool,
    /// Whether names are resolved [default: as internet].
    resolver: Option<bool>,
    /// `ADDRESS[/BITS] [tcp|udp [PORT[-PORT]]]`, or with a name, or `*.NAME`, for the address
    #[serde(default)]
    allow: Vec<Listed>,
}

impl From<Listing> for Policy {
    fn from(listing: Listing) -> Self {
        let Listing { platform, internet, resolver, allow } = listing;
        Self { platform: platform.unwrap_or(true), internet, resolver: resolver.unwrap_or(internet), allow }
    }
}

/// What to do when a version of Python or Node.js is not on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// Refuse the function.
    None,
    /// Run it on the nearest version that is there, and say so.
    Nearest,
}

/// How long what is idle is kept. See `docs/decisions/0008-keep-alive.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepAlive {
    /// `idle_seconds`, whatever the function.
    Fixed,
    /// By a histogram of each function's idle times (ATC'20).
    Hybrid,
    /// By what holding costs and what a miss costs, function by function.
    Cost,
}

/// How instances start where their function does not say (SnapStart's ApplyOn).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Starts {
    /// From what was initialised or begun beforehand, where that can be.
    Template,
    /// Each by itself.
    Plain,
}

/// How secrets are kept: `[secrets]` in wadi.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// For `sh -c`: prints the master keys, 64 hexadecimal digits a line, the current one first. Without, they are in the
    /// file `master-key` in the data directory.
    #[serde(alias = "key-command")]
    pub key_command: Option<String>,
}

/// Where container images may come from: `[images]` in wadi.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// Registries (`registry.example:5000`), or `*` for any. Any, where only this machine reaches the node; else none.
    pub registries: Option<Vec<String>>,
    /// Directories in which OCI layouts and their archives may lie. Anywhere, where only this machine reaches the node; else
    /// nowhere.
    pub layouts: Option<Vec<PathBuf>>,
    /// A file of certificates in PEM: authorities whose registries are trusted beside those of the machine's store.
    pub ca: Option<PathBuf>,
    /// The file of logins for registries, in the form of docker's config.json. Without, it is looked for where docker, podman and
    /// skopeo keep them for the node's user.
    pub credentials: Option<PathBuf>,
}

/// What a function's share of the processor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cpu {
    /// All that it gets, once it is initialised, as on AWS.
    Quota,
    /// What it gets where others want the processor too.
    Weight,
}

/// How limits are meant: `[limits]` in wadi.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// `weight`, where only this machine reaches the node; else `quota`.
    pub cpu: Option<Cpu>,
}

/// OCI runtimes by path: `[oci]` in wadi.toml. Without, crun, runc and runsc are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oci {
    /// For the isolation `container`.
    pub container: Option<PathBuf>,
    /// For the isolation `gvisor`.
    pub gvisor: Option<PathBuf>,
}

/// What a node that others reach does about code that this machine cannot isolate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeakerIsolation {
    /// Runs none of it.
    Refuse,
    /// Runs it nonetheless.
    Accept,
}

/// The settings of a node, complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub credentials: Credentials,
    /// What functions reach that name no network, and the most that they may name of the node's own; by default `internet`
    /// on loopback, where this machine can give it, and `platform` elsewhere.
    pub network: Option<Ceiling>,
    /// The operator's own networks.
    pub networks: BTreeMap<String, Policy>,
    pub runtime_fallback: Fallback,
    /// Multiplies the waits between retries of asynchronous invocations: 1 is AWS's pace, 0.001 a test's.
    pub retry_time_scale: f64,
    /// Invocations at once over the whole account and region.
    pub account_concurrency: u32,
    pub starts: Starts,
    pub keep_alive: KeepAlive,
    /// Seconds that an idle instance is kept, at most.
    pub idle_seconds: u64,
    /// Seconds that work in flight may take to finish when the node stops.
    pub drain_seconds: u64,
    /// Interpreters by name (`python3.12`, `nodejs22.x`), before those found on PATH and where version managers keep them.
    pub runtimes: BTreeMap<String, PathBuf>,
    pub secrets: Secrets,
    pub images: Images,
    /// The wall of functions whose tag `wadi:isolation` does not say.
    pub isolation: Isolation,
    /// Of no consequence where only this machine reaches the node.
    pub weaker_isolation: WeakerIsolation,
    /// That of WebAssembly components, and the least that they may ask for; by default the node's process on loopback and one
    /// of their own elsewhere.
    pub component_isolation: Option<Isolation>,
    pub oci: Oci,
    pub limits: Limits,
}

/// One source of settings: everything is optional. `wadi.toml` has the same names.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flags {
    /// The settings file; `wadi.toml` in the working directory if there is one.
    #[serde(skip)]
    pub config: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    pub data_dir: Option<PathBuf>,
    pub credentials: Option<Credentials>,
    pub network: Option<Ceiling>,
    #[serde(default)]
    pub networks: BTreeMap<String, Listing>,
    pub runtime_fallback: Option<Fallback>,
    pub retry_time_scale: Option<f64>,
    pub account_concurrency: Option<u32>,
    pub starts: Option<Starts>,
    pub keep_alive: Option<KeepAlive>,
    pub idle_seconds: Option<u64>,
    pub drain_seconds: Option<u64>,
    #[serde(default)]
    pub runtimes: BTreeMap<String, PathBuf>,
    pub secrets: Option<Secrets>,
    pub images: Option<Images>,
    pub isolation: Option<Isolation>,
    pub weaker_isolation: Option<WeakerIsolation>,
    pub component_isolation: Option<Isolation>,
    pub oci: Option<Oci>,
    pub limits: Option<Limits>,
}

macro_rules! from_words {
    ($type:ty, $($word:literal => $value:expr),+) => {
        impl FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)+
                    other => Err(format!("{other:?} is not one of: {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}
from_words!(Credentials, "development" => Credentials::Development, "root" => Credentials::Root);
from_words!(WeakerIsolation, "refuse" => WeakerIsolation::Refuse, "accept" => WeakerIsolation::Accept);
from_words!(Starts, "template" => Starts::Template, "plain" => Starts::Plain);
from_words!(KeepAlive, "fixed" => KeepAlive::Fixed, "hybrid" => KeepAlive::Hybrid, "cost" => KeepAlive::Cost);
from_words!(Fallback, "none" => Fallback::None, "nearest" => Fallback::Nearest);

/// An isolation as flags and variables give it.
#[derive(Clone, Copy, Debug)]
pub struct Wall(pub Isolation);

impl FromStr for Wall {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Isolation::ALL.into_iter().find(|isolation| isolation.name() == text);
        found
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not one of: {}", Isolation::ALL.map(Isolation::name).join(", ")))
    }
}

impl Settings {
    /// What functions may name as their image.
    pub fn images_allowed(&self) -> images::Allowed {
        let alone = self.listen.ip().is_loopback();
        let registries = self.images.registries.clone().or((!alone).then(Vec::new));
        let layouts = self.images.layouts.clone().or((!alone).then(Vec::new));
        let canonical = |dir: &PathBuf| std::fs::canonicalize(dir).ok();
        images::Allowed {
            registries: registries.filter(|all| !all.iter().any(|one| one == "*")),
            layouts: layouts.map(|dirs| dirs.iter().filter_map(canonical).collect()),
        }
    }

    /// The wall of WebAssembly components that do not say.
    pub fn component_isolation(&self) -> Isolation {
        let usual = if self.listen.ip().is_loopback() { Isolation::Wasm } else { Isolation::WasmProcess };
        self.component_isolation.unwrap_or(usual)
    }

    /// What a function's share of the processor is.
    pub fn cpu(&self) -> Cpu {
        self.limits.cpu.unwrap_or(if self.listen.ip().is_loopback() { Cpu::Weight } else { Cpu::Quota })
    }

    /// Flags over `WADI_*` variables over the settings file over defaults.
    pub fn load(flags: Flags) -> Result<Self> {
        Self::load_with(flags, |name| std::env::var(name).ok())
    }

    fn load_with(flags: Flags, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let file = match flags.config.clone().or_else(|| env("WADI_CONFIG").map(PathBuf::from)) {
            Some(path) => read_file(&path)?,
            None if Path::new("wadi.toml").exists() => read_file(Path::new("wadi.toml"))?,
            None => Flags::default(),
        };
        let layers = [flags, from_env(&env)?, file];
        macro_rules! pick {
            ($field:ident) => {
                layers.iter().find_map(|l| l.$field.clone())
            };
        }
        let settings = Self {
            listen: pick!(listen).unwrap_or(([127, 0, 0, 1], 4566).into()),
            // Absolute: the sandbox launcher works elsewhere.
            data_dir: std::path::absolute(match pick!(data_dir) {
                Some(dir) => dir,
                None => default_data_dir(&env)?,
            })?,
            credentials: pick!(credentials).unwrap_or(Credentials::Development),
            network: pick!(network),
            networks: layers.iter().rev().flat_map(|l| l.networks.clone()).map(|(name, l)| (name, l.into())).collect(),
            runtime_fallback: pick!(runtime_fallback).unwrap_or(Fallback::None),
            retry_time_scale: pick!(retry_time_scale).unwrap_or(1.0),
            account_concurrency: pick!(account_concurrency).unwrap_or(1000),
            starts: pick!(starts).unwrap_or(Starts::Template),
            keep_alive: pick!(keep_alive).unwrap_or(KeepAlive::Cost),
            idle_seconds: pick!(idle_seconds).unwrap_or(600),
            drain_seconds: pick!(drain_seconds).unwrap_or(20),
            runtimes: layers.iter().rev().flat_map(|l| l.runtimes.clone()).collect(),
            secrets: pick!(secrets).unwrap_or_default(),
            images: pick!(images).unwrap_or_default(),
            isolation: pick!(isolation).unwrap_or(Isolation::Process),
            weaker_isolation: pick!(weaker_isolation).unwrap_or(WeakerIsolation::Refuse),
            component_isolation: pick!(component_isolation),
            oci: pick!(oci).unwrap_or_default(),
            limits: pick!(limits).unwrap_or_default(),
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        if !self.listen.ip().is_loopback() && self.credentials == Credentials::Development {
            bail!(
                "{} can be reached from other machines, and the development credentials test/test are known to \
                 everybody. Use `--credentials root` (the key is made at first start and kept in {}), or listen on \
                 127.0.0.1.",
                self.listen,
                self.data_dir.join("root-key.json").display()
            );
        }
        if let Err(reason) = self.networks(self.ceiling()) {
            bail!("{reason}");
        }
        if self.isolation.is_of_components() {
            let name = self.isolation.name();
            bail!("isolation {name:?} is one of WebAssembly components: that is component_isolation");
        }
        if let Some(other) = self.component_isolation.filter(|isolation| !isolation.is_of_components()) {
            bail!("component_isolation {:?} is not one of: wasm, wasm-process", other.name());
        }
        if !(0.0..=1000.0).contains(&self.retry_time_scale) {
            bail!("retry_time_scale {} is not between 0 and 1000", self.retry_time_scale);
        }
        if !(1..=100_000).contains(&self.account_concurrency) {
            bail!("account_concurrency {} is not between 1 and 100000", self.account_concurrency);
        }
        Ok(())
    }
}

impl Settings {
    /// What functions reach that name no network, if this machine can give it.
    pub fn ceiling(&self) -> Ceiling {
        self.network.unwrap_or(if self.listen.ip().is_loopback() { Ceiling::Internet } else { Ceiling::Platform })
    }

    /// The node's networks under a ceiling.
    pub fn networks(&self, ceiling: Ceiling) -> Result<Networks, String> {
        Networks::new(ceiling, self.networks.clone())
    }
}

fn read_file(path: &Path) -> Result<Flags> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not a settings file", path.display()))
}

fn from_env(env: &impl Fn(&str) -> Option<String>) -> Result<Flags> {
    fn parse<T: FromStr>(env: &impl Fn(&str) -> Option<String>, name: &str) -> Result<Option<T>>
    where
        T::Err: std::fmt::Display,
    {
        env(name).map(|text| text.parse().map_err(|e| anyhow::anyhow!("{name}={text}: {e}"))).transpose()
    }
    Ok(Flags {
        config: None,
        listen: parse(env, "WADI_LISTEN")?,
        data_dir: parse(env, "WADI_DATA_DIR")?,
        credentials: parse(env, "WADI_CREDENTIALS")?,
        network: parse(env, "WADI_NETWORK")?,
        networks: BTreeMap::new(),
        runtime_fallback: parse(env, "WADI_RUNTIME_FALLBACK")?,
        retry_time_scale: parse(env, "WADI_RETRY_TIME_SCALE")?,
        account_concurrency: parse(env, "WADI_ACCOUNT_CONCURRENCY")?,
        starts: parse(env, "WADI_STARTS")?,
        keep_alive: parse(env, "WADI_KEEP_ALIVE")?,
        idle_seconds: parse(env, "WADI_IDLE_SECONDS")?,
        drain_seconds: parse(env, "WADI_DRAIN_SECONDS")?,
        runtimes: BTreeMap::new(),
        secrets: None,
        images: None,
        isolation: parse::<Wall>(env, "WADI_ISOLATION")?.map(|wall| wall.0),
        weaker_isolation: parse(env, "WADI_WEAKER_ISOLATION")?,
        component_isolation: parse::<Wall>(env, "WADI_COMPONENT_ISOLATION")?.map(|wall| wall.0),
        oci: None,
        limits: None,
    })
}

/// `$XDG_DATA_HOME/wadi`, else `~/.local/share/wadi`.
fn default_data_dir(env: &impl Fn(&str) -> Option<String>) -> Result<PathBuf> {
    let named = |name: &str| env(name).filter(|v| v.starts_with('/')).map(PathBuf::from);
    named("XDG_DATA_HOME")
        .or_else(|| named("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("wadi"))
        .context("neither HOME nor XDG_DATA_HOME is set: say where data goes with --data-dir")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/home/ada".into()),
            "WADI_LISTEN" => Some("127.0.0.1:7000".into()),
            "WADI_NETWORK" => Some("host".into()),
            _ => None,
        }
    }

    #[test]
    fn later_sources_win() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("w.toml");
        std::fs::write(&file, "listen = \"127.0.0.1:1\"\nidle_seconds = 5\n[runtimes]\n\"python3.12\" = \"/opt/py\"\n")
            .expect("write");
        let flags = Flags { config: Some(file), network: Some(Ceiling::Platform), ..Flags::default() };
        let s = Settings::load_with(flags, env).expect("settings");
        assert_eq!(s.listen.to_string(), "127.0.0.1:7000");
        assert_eq!((s.network, s.idle_seconds), (Some(Ceiling::Platform), 5));
        assert_eq!(s.data_dir, Path::new("/home/ada/.local/share/wadi"));
        assert_eq!(s.runtimes["python3.12"], Path::new("/opt/py"));
        let here = Flags { data_dir: Some("./d".into()), ..Flags::default() };
        let here = Settings::load_with(here, env).expect("settings").data_dir;
        assert_eq!(here, std::env::current_dir().expect("a directory").join("d"));
    }

    #[test]
    fn refuses_development_credentials_beyond_loopback() {
        let open = Flags { listen: Some(([0, 0, 0, 0], 4566).into()), ..Flags::default() };
        let refused = Settings::load_with(open.clone(), env).expect_err("must refuse").to_string();
        assert!(refused.contains("--credentials root"), "{refused}");
        let rooted = Flags { credentials: Some(Credentials::Root), ..open };
        assert!(Settings::load_with(rooted, env).is_ok());
    }

    #[test]
    fn networks_are_the_operators() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("w.toml");
        let load = |text: &str, listen: &str| {
            std::fs::write(&file, text).expect("write");
            let listen = Some(listen.parse().expect("an address"));
            let flags =
                Flags { config: Some(file.clone()), listen, credentials: Some(Credentials::Root), ..Flags::default() };
            Settings::load_with(flags, |name| env(name).filter(|_| name == "HOME")).map_err(|e| format!("{e:#}"))
        };
        let text =
            "[networks.db]\nallow = [\"10.0.5.0/24 tcp 5432\"]\n[networks.web]\ninternet = true\nplatform = false\n";
        let shared = load(text, "0.0.0.0:1").expect("settings");
        assert_eq!(shared.ceiling(), Ceiling::Platform);
        let db = Policy { allow: vec!["10.0.5.0/24 tcp 5432".parse().expect("listed")], ..Policy::PLATFORM };
        let web = Policy { platform: false, ..Policy::INTERNET };
        assert_eq!(shared.networks, BTreeMap::from([("db".to_owned(), db), ("web".to_owned(), web)]));
        assert_eq!(load("", "127.0.0.1:1").expect("settings").ceiling(), Ceiling::Internet);
        for (text, wrong) in [
            ("[networks.internet]\n", "has its meaning already"),
            ("[networks.a]\nallow = [\"*\"]\n", "is no address"),
            ("[networks.a]\nresolver = true\nallow = [\"db.example.com\"]\n", "those alone are resolved"),
            ("[networks.a]\ninernet = true\n", "inernet"),
            ("network = \"moon\"\n", "moon"),
        ] {
            let said = load(text, "127.0.0.1:1").expect_err(text);
            assert!(said.contains(wrong), "{text}: {said}");
        }
    }

    #[test]
    fn images_come_from_anywhere_only_where_nobody_else_reaches_the_node() {
        let load = |listen: [u8; 4], images: Option<Images>| {
            let flags = Flags {
                listen: Some((listen, 1).into()),
                credentials: Some(Credentials::Root),
                images,
                ..Flags::default()
            };
            Settings::load_with(flags, env).expect("settings").images_allowed()
        };
        assert_eq!(load([127, 0, 0, 1], None), images::Allowed::default());
        let none = images::Allowed { registries: Some(Vec::new()), layouts: Some(Vec::new()) };
        assert_eq!(load([0, 0, 0, 0], None), none);
        let any = Images { registries: Some(vec!["*".into()]), ..Images::default() };
        assert_eq!(load([0, 0, 0, 0], Some(any)), images::Allowed { registries: None, ..none });
        let (registries, layouts) = (Some(vec!["r.example".into()]), Some(vec!["/".into()]));
        let one = Images { registries, layouts, ..Images::default() };
        let one = load([127, 0, 0, 1], Some(one));
        assert_eq!((one.registries, one.layouts), (Some(vec!["r.example".into()]), Some(vec!["/".into()])));
    }

    #[test]
    fn components_leave_the_nodes_process_where_others_reach_it() {
        let load = |listen: [u8; 4], isolation, component_isolation| {
            let flags = Flags {
                listen: Some((listen, 1).into()),
                credentials: Some(Credentials::Root),
                isolation,
                component_isolation,
                ..Flags::default()
            };
            Settings::load_with(flags, env).map(|settings| settings.component_isolation()).map_err(|e| e.to_string())
        };
        assert_eq!(load([127, 0, 0, 1], None, None), Ok(Isolation::Wasm));
        assert_eq!(load([0, 0, 0, 0], None, None), Ok(Isolation::WasmProcess));
        assert_eq!(load([127, 0, 0, 1], None, Some(Isolation::WasmProcess)), Ok(Isolation::WasmProcess));
        assert_eq!(load([0, 0, 0, 0], Some(Isolation::Gvisor), Some(Isolation::Wasm)), Ok(Isolation::Wasm));
        let told = load([127, 0, 0, 1], None, Some(Isolation::Gvisor)).expect_err("no wall of components");
        assert_eq!(told, "component_isolation \"gvisor\" is not one of: wasm, wasm-process");
        let told = load([127, 0, 0, 1], Some(Isolation::Wasm), None).expect_err("no wall of packages");
        assert!(told.contains("component_isolation"), "{told}");
    }

    #[test]
    fn unknown_settings_are_named() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("w.toml");
        std::fs::write(&file, "lisen = \"x\"\n").expect("write");
        let flags = Flags { config: Some(file), ..Flags::default() };
        let refused = format!("{:#}", Settings::load_with(flags, env).expect_err("must refuse"));
        assert!(refused.contains("lisen"), "{refused}");
    }
}
