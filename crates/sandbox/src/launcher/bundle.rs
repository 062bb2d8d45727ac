//! A program that an OCI runtime runs: the sandbox is made as for any other, and in it, in the place of the program, the
//! runtime makes a container of the root that was built.
//!
//! The runtime sees the sandbox's own namespaces alone: its processes, its mounts, its network, and control groups that
//! it cannot write, for the sandbox is in its group already. So all that it makes, its state included, ends with the
//! sandbox, whatever becomes of the node or of us.

use super::inside::{self, Executed, HOSTNAME, Plan, Step, USER, step};
use super::root::{self, Furniture};
use super::{limits, seccomp, sys};
use crate::{Program, Runtime};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// What lies here on the host is of no use to a runtime: sockets of its services. Every host has it, and all may pass.
const GROUND: &str = "/run";
const GROUPS: &str = "/sys/fs/cgroup";
const ROOT: &str = "/run/root";
const BUNDLE: &str = "/run/bundle";
const LOG: &str = "/run/log";
const PID: &str = "/run/pid";
/// Hosts' users that stand for a container's own root, who may do nothing: beyond those that sandboxes run as.
const CONTAINER_ROOT_OFFSET: u32 = 16_384;
/// Of what a runtime says when it fails, the end.
const REASON_BYTES_MAX: usize = 2048;
/// Runtimes look for little: their own helpers.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LOG_DESCRIPTOR: &str = "_LAMBDA_TELEMETRY_LOG_FD";

/// Has the runtime run the spec's program; gives the pid whose end is the sandbox's.
pub fn run(plan: &Plan<'_>, runtime: &Runtime, furniture: Furniture<'_>) -> Step<i32> {
    if !runtime.shares_kernel {
        open_tmp(plan.tmp).map_err(step("open /tmp"))?;
    }
    root::build(plan.root_at, plan.tmp, &plan.spec.mounts, furniture)?;
    let built = root::detached_root(plan.root_at).map_err(step("detach the root"))?;
    root::small_tmpfs(Path::new(GROUND)).map_err(step("mount a ground"))?;
    for dir in [ROOT, BUNDLE] {
        fs::create_dir(dir).map_err(step("make the bundle"))?;
    }
    root::attach(&built, Path::new(ROOT)).map_err(step("attach the root"))?;
    see_itself().map_err(step("show the sandbox to the runtime"))?;
    let config =
        serde_json::to_vec(&config(plan, runtime)).map_err(io::Error::from).map_err(step("make the bundle"))?;
    fs::write(Path::new(BUNDLE).join("config.json"), config).map_err(step("make the bundle"))?;
    inside::be_alone()?;
    start(plan, runtime)
}

/// /proc and the control groups as they are from in here. The whole of /proc: the kernel lets a container in a user
/// namespace have one only where such a one is.
fn see_itself() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", "/proc", "proc", flags, None)?;
    // Where the host has groups of v2 alone they are this same file system, which the kernel mounts on itself for nobody.
    match rustix::mount::unmount(GROUPS, UnmountFlags::DETACH) {
        Err(Errno::INVAL) | Ok(()) => {}
        Err(error) => return Err(error.into()),
    }
    rustix::mount::mount("cgroup2", GROUPS, "cgroup2", flags | MountFlags::RDONLY, None)?;
    Ok(())
}

fn start(plan: &Plan<'_>, runtime: &Runtime) -> Step<i32> {
    let mut argv = vec![runtime.program.display().to_string(), "--root=/run/state".into(), format!("--log={LOG}")];
    argv.extend(runtime.options.iter().cloned());
    argv.push("run".into());
    if runtime.detaches {
        argv.extend(["--detach".into(), format!("--pid-file={PID}")]);
    }
    if runtime.shares_kernel {
        // Descriptor 3.
        argv.push("--preserve-fds=1".into());
    }
    argv.extend([format!("--bundle={BUNDLE}"), plan.spec.id.clone()]);
    // Not /dev/null: a runtime may give its input to the container's user, and that is the host's.
    let (input, _) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(step("make a pipe"))?;
    let env = [("PATH".to_owned(), PATH.to_owned())].into();
    let what = Executed { argv: &argv, env: &env, cwd: "/", stdin: Some(input.as_fd()) };
    let failed = |(_, error): root::Failure| (format!("run {}", argv[0]), error);
    let pid = inside::execute_forked(plan, &what).map_err(failed)?;
    if !runtime.detaches {
        return Ok(pid);
    }
    let ended = sys::wait(pid).map_err(step("wait for the runtime"))?;
    if ended.status != 0 {
        return Err(why(plan));
    }
    let text = fs::read_to_string(PID).map_err(step("read the container's pid"))?;
    text.trim().parse().map_err(|_| ("read the container's pid".to_owned(), io::ErrorKind::InvalidData.into()))
}

/// What the runtime said when it failed. The program's own fault is told as for programs without one.
fn why(plan: &Plan<'_>) -> root::Failure {
    let said = fs::read(LOG).unwrap_or_default();
    let said = String::from_utf8_lossy(&said[said.len().saturating_sub(REASON_BYTES_MAX)..]).trim().replace('\n', "; ");
    let program = match &plan.spec.program {
        Program::Exec(argv) => argv.first().map_or("", String::as_str),
        Program::Copy { .. } => "",
    };
    let of_the_program = said.contains("exec: ") || said.contains("executable file") || said.contains("chdir");
    let step = if of_the_program { format!("execute {program}") } else { "make the container".to_owned() };
    let reason = if said.is_empty() { "the runtime does not say why".to_owned() } else { said };
    (step, io::Error::other(reason))
}

/// The runtime's configuration: what our own init does to a program, in its words.
fn config(plan: &Plan<'_>, runtime: &Runtime) -> Value {
    let spec = plan.spec;
    let argv = match &spec.program {
        Program::Exec(argv) => argv.as_slice(),
        Program::Copy { .. } => &[],
    };
    let has_frames = runtime.shares_kernel;
    let env = spec.env.iter().filter(|(name, _)| has_frames || *name != LOG_DESCRIPTOR);
    let env: Vec<String> = env.map(|(name, value)| format!("{name}={value}")).collect();
    let rlimits: Vec<Value> =
        limits::by_name(plan).map(|(name, to)| json!({"type": name, "soft": to, "hard": to})).collect();
    let mut namespaces =
        vec![json!({"type": "pid"}), json!({"type": "mount"}), json!({"type": "ipc"}), json!({"type": "uts"})];
    let mut linux = json!({ "maskedPaths": root::masked() });
    if runtime.shares_kernel {
        namespaces.push(json!({"type": "user"}));
        let maps = json!([
            {"containerID": USER, "hostID": plan.user, "size": 1},
            {"containerID": 0, "hostID": plan.user + CONTAINER_ROOT_OFFSET, "size": 1},
        ]);
        (linux["uidMappings"], linux["gidMappings"]) = (maps.clone(), maps);
        linux["seccomp"] = seccomp::profile();
    }
    linux["namespaces"] = namespaces.into();
    let none: [&str; 0] = [];
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": ROOT, "readonly": true},
        "hostname": HOSTNAME,
        "process": {
            "terminal": false,
            "user": {"uid": USER, "gid": USER, "umask": 0o022},
            "args": argv,
            "env": env,
            "cwd": spec.cwd,
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": none, "effective": none, "permitted": none, "inheritable": none, "ambient": none,
            },
            "rlimits": rlimits,
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "nodev", "noexec", "ro"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "noexec", "mode=755", "size=64k"]},
            {"destination": "/tmp", "type": "bind", "source": format!("{ROOT}/tmp"), "options": ["rbind", "rw", "nosuid", "nodev"]},
        ],
        "linux": linux,
    })
}

/// For a user of the sandbox whose kernel is another: /tmp is not known to be its own there.
fn open_tmp(tmp: &Path) -> io::Result<()> {
    fs::set_permissions(tmp, std::os::unix::fs::PermissionsExt::from_mode(Mode::from_raw_mode(0o1777).bits()))
}
