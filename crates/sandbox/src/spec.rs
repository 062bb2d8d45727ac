//! What to isolate and how it ended.

use crate::{Error, Runtime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Ports in [`Spec::listen`], at most.
pub(crate) const LISTEN_MAX: usize = 8;
const MOUNTS_MAX: usize = 32;
/// Arguments, environment and paths together; the kernel's own bound on one of them is 128 KiB.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Less does not hold an interpreter, nor our own init.
const MEMORY_BYTES_MIN: u64 = 4 << 20;

/// A process to raise in a sandbox of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Unique on this node while it lives; `[a-z0-9-]{1,64}`. Names the cgroup and the host's side of /tmp.
    pub id: String,
    pub role: Role,
    pub program: Program,
    /// The whole environment; nothing is inherited.
    pub env: BTreeMap<String, String>,
    pub cwd: String,
    /// Besides the system directories that every sandbox has read-only (/usr, /lib, …, a minimal /etc and /dev, /proc).
    pub mounts: Vec<Mount>,
    pub limits: Limits,
    pub network: Network,
    /// Ports on 127.0.0.1 inside the sandbox's network on which the *node* listens, in this order in the reply. With
    /// [`Network::Host`] the ports are ephemeral and only the order counts.
    pub listen: Vec<u16>,
    /// An unpacked image to be seen as the root, read-only, in place of the host's programs and libraries. It has the
    /// directories [`IMAGE_DIRECTORIES`].
    #[serde(default)]
    pub image: Option<PathBuf>,
    /// The OCI runtime through which the program is run; `None`: our own init runs it.
    #[serde(default)]
    pub runtime: Option<Runtime>,
}

/// Where something is mounted in every image.
pub const IMAGE_DIRECTORIES: [&str; 3] = ["dev", "proc", "tmp"];

/// What a sandbox is for, and so what the processes in it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs a function, with no right whatever.
    Instance,
    /// Initialises a function and is copied from then on: its program may enter the sandboxes that are made for its
    /// copies, and has no other right.
    Template,
    /// Runs a runtime's own code, never a function's; its copies enter whatever sandbox they are made for.
    Base,
    /// Has started a runtime and waits to be told what function it is to run: [`crate::Driver::specialise`] makes it an
    /// instance, once. Its program has no right whatever from the start.
    Cell,
}

/// Where the program comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// It is executed: its path (absolute inside the sandbox) and its arguments.
    Exec(Vec<String>),
    /// A copy of the program that runs in the living sandbox of this id, a base or a template, goes on in here. A
    /// template's copy is an instance and sees the template's mounts; it has none of its own but /tmp.
    Copy { of: String },
}

/// A directory or file of the host, seen inside, where nothing of it can be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: PathBuf,
    /// Absolute; parents are made.
    pub target: PathBuf,
}

impl Mount {
    pub fn new(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), target: target.into() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    pub open_files: u64,
    /// The largest file, and so the bound on what one file in /tmp can take.
    pub file_bytes: u64,
    /// Relative weight under contention: 1,024 for one core's worth.
    pub cpu_weight: u64,
    /// Whether it may be held to its weight's share of a core also where nobody else wants the rest: from
    /// [`crate::Handle::hold_cpu`] on.
    #[serde(default)]
    pub cpu_quota: bool,
}

/// What the sandbox can reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// A network of its own with loopback only: it reaches what the node listens on inside it, and nothing else.
    Own,
    /// The same, and what the driver's policy of this name lets it reach.
    Out(String),
    /// The host's network, for development with functions that call the internet.
    Host,
}

/// How a sandbox's main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Exited(i32),
    Signalled(i32),
}

/// The end of a sandbox; its processes, mounts and cgroup are gone when this is reported, and its /tmp is out of sight
/// (removing a large one goes on behind).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub status: Status,
    /// The kernel killed a process of it for passing its memory limit.
    pub out_of_memory: bool,
    /// Peak memory of the whole sandbox, page cache included; where no cgroup counts it, that of its largest process.
    pub memory_bytes_peak: u64,
    pub cpu_us: u64,
}

impl Exit {
    /// SIGKILL, and not for its memory: somebody ended it, or its launcher.
    pub fn was_killed(&self) -> bool {
        self.status == Status::Signalled(rustix::process::Signal::KILL.as_raw()) && !self.out_of_memory
    }
}

impl Spec {
    /// Checks the bounds and shapes that the fields' docs state.
    pub fn check(&self) -> Result<(), Error> {
        let invalid = |text: String| Err(Error::Invalid(text));
        let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.id.is_empty() || self.id.len() > 64 || !self.id.bytes().all(lower) {
            return invalid("id: not [a-z0-9-]{1,64}".into());
        }
        let argv = match &self.program {
            Program::Exec(argv) if argv.first().is_some_and(|program| Path::new(program).is_absolute()) => &argv[..],
            // Found on the image's own PATH, as images mean it.
            Program::Exec(argv) if self.image.is_some() && argv.first().is_some_and(|program| !program.is_empty()) => {
                &argv[..]
            }
            Program::Exec(_) => return invalid("program: not an absolute path".into()),
            Program::Copy { .. } if matches!(self.role, Role::Base | Role::Cell) => {
                return invalid("program: a base or a cell is executed".into());
            }
            Program::Copy { .. } => &[],
        };
        if self.role == Role::Template && !argv.is_empty() {
            return invalid("program: a template is a copy of a base".into());
        }
        if (self.runtime.is_some() || self.image.is_some()) && (self.role != Role::Instance || argv.is_empty()) {
            return invalid("image or runtime: only a program of an instance has one".into());
        }
        if self.image.as_ref().is_some_and(|image| !image.is_absolute()) {
            return invalid("image: not an absolute path".into());
        }
        if self.runtime.as_ref().is_some_and(|runtime| !runtime.program.is_absolute()) {
            return invalid("runtime: not an absolute path".into());
        }
        if self.env.keys().any(|name| name.is_empty() || name.contains('=')) {
            return invalid("env: a name is empty or has an equals sign".into());
        }
        let texts = || argv.iter().chain(self.env.keys()).chain(self.env.values()).chain([&self.cwd]);
        if texts().any(|text| text.contains('\0')) {
            return invalid("program, env or cwd: a NUL byte".into());
        }
        if texts().map(String::len).sum::<usize>() > TEXT_BYTES_MAX {
            return invalid(format!("program, env and cwd: more than {TEXT_BYTES_MAX} bytes together"));
        }
        if !is_plain(Path::new(&self.cwd)) {
            return invalid("cwd: not absolute, or with dots".into());
        }
        check_mounts(&self.mounts)?;
        let limits = &self.limits;
        if limits.memory_bytes < MEMORY_BYTES_MIN
            || limits.pids == 0
            || limits.open_files < 16
            || limits.cpu_weight == 0
        {
            return invalid(format!("limits: memory under {MEMORY_BYTES_MIN}, no pids, under 16 files, or no weight"));
        }
        if self.listen.len() > LISTEN_MAX {
            return invalid(format!("listen: more than {LISTEN_MAX} ports"));
        }
        if self.network != Network::Host && self.listen.contains(&0) {
            return invalid("listen: port 0".into());
        }
        Ok(())
    }
}

/// Checks the bounds and shapes of mounts.
pub(crate) fn check_mounts(mounts: &[Mount]) -> Result<(), Error> {
    if mounts.len() > MOUNTS_MAX {
        return Err(Error::Invalid(format!("mounts: more than {MOUNTS_MAX}")));
    }
    match mounts.iter().find(|m| !m.source.is_absolute() || !is_plain(&m.target) || m.target == Path::new("/")) {
        Some(mount) => Err(Error::Invalid(format!("mounts: {} at {}", mount.source.display(), mount.target.display()))),
        None => Ok(()),
    }
}

/// Absolute and without `.` or `..`.
fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec {
            id: "a-1".into(),
            role: Role::Instance,
            program: Program::Exec(vec!["/bin/true".into()]),
            env: BTreeMap::new(),
            cwd: "/".into(),
            mounts: Vec::new(),
            limits: Limits {
                memory_bytes: 64 << 20,
                pids: 8,
                open_files: 64,
                file_bytes: 1 << 20,
                cpu_weight: 1024,
                cpu_quota: false,
            },
            network: Network::Own,
            listen: vec![9001],
            image: None,
            runtime: None,
        }
    }

    #[test]
    fn refuses_what_breaks_a_bound() {
        spec().check().expect("valid");
        type Break<'a> = &'a dyn Fn(&mut Spec);
        let exec = |argv: &[&str]| Program::Exec(argv.iter().map(|arg| (*arg).to_owned()).collect());
        let long = "x".repeat(70_000);
        let broken: [(&str, Break<'_>); 19] = [
            ("id", &|s| s.id = "../x".into()),
            ("id", &|s| s.id = String::new()),
            ("program", &|s| s.program = exec(&["true"])),
            ("program", &|s| s.program = exec(&[])),
            ("program", &|s| s.program = exec(&["/bin/true", "a\0b"])),
            ("program", &|s| s.program = exec(&["/bin/true", &long])),
            ("program", &|s| s.role = Role::Template),
            ("program", &|s| (s.role, s.program) = (Role::Base, Program::Copy { of: "b".into() })),
            ("program", &|s| (s.role, s.program) = (Role::Cell, Program::Copy { of: "b".into() })),
            ("env", &|s| drop(s.env.insert("A=B".into(), String::new()))),
            ("cwd", &|s| s.cwd = "/tmp/../etc".into()),
            ("mounts", &|s| s.mounts.push(Mount::new("/a", "/a/../b"))),
            ("mounts", &|s| s.mounts.push(Mount::new("a", "/a"))),
            ("limits", &|s| s.limits.memory_bytes = 1),
            ("listen", &|s| s.listen = vec![0]),
            ("image:", &|s| s.image = Some("rootfs".into())),
            ("runtime:", &|s| s.runtime = Some(Runtime::at("runc".into()))),
            ("image or", &|s| (s.role, s.image) = (Role::Cell, Some("/i".into()))),
            ("image or", &|s| {
                (s.program, s.runtime) = (Program::Copy { of: "b".into() }, Some(Runtime::at("/r".into())))
            }),
        ];
        for (field, break_it) in broken {
            let mut spec = spec();
            break_it(&mut spec);
            match spec.check() {
                Err(Error::Invalid(text)) => assert!(text.starts_with(field), "{field}: {text}"),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
