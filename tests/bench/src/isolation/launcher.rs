//! The reference of what hardening adds: a launcher that gives a program the namespaces and the root that our sandboxes have, by
//! the same forks, and nothing else: no control groups, limits, masks, Landlock, filters, loss of rights, output or watch over
//! its end. It can leave the namespaces out as well: then it forks and executes, and that is all.
//!
//! A process of its own with one thread, as our launcher is. It is told what to do on standard input, a line each, and answers
//! with a line, a process id or why not; it ends what it started when its input ends.

use super::forks;
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::LinkNameSpaceType;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{BufRead, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(clap::Args)]
pub struct Args {
    /// An empty directory
    at: PathBuf,
    /// What programs see: `SOURCE=TARGET`, the target below /var or where the source is
    mounts: Vec<String>,
}

/// What is to be done.
#[derive(Serialize, Deserialize)]
pub enum Order {
    Start {
        argv: Vec<String>,
        env: BTreeMap<String, String>,
        /// The network namespace to be in, a path; with it come the other namespaces and a root of its own.
        network: Option<PathBuf>,
    },
    /// What was started under this id.
    End(i32),
}

/// The user inside our sandboxes, and which user of the host that is here.
const USER: u32 = 993;
const HOST_USER: u32 = 2_000_000;
/// As functions have it.
pub const CWD_OF_PROGRAMS: &str = "/var/task";
const SYSTEM: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix"];
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

pub fn serve(args: &Args) -> Result<()> {
    let mut places = Vec::new();
    for mount in &args.mounts {
        let (source, target) = mount.split_once('=').context("a mount is SOURCE=TARGET")?;
        places.push((PathBuf::from(source), PathBuf::from(target)));
    }
    show(&places).context("show the mounts")?;
    let mut running = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?)? {
            Order::Start { argv, env, network } => start(args, &places, &argv, &env, network.as_deref()),
            Order::End(pid) => end(&mut running, pid),
        };
        running.extend(answer.as_ref().ok().filter(|pid| **pid > 0));
        let said = answer.map_or_else(|error| format!("{error:#}").replace('\n', " "), |pid| pid.to_string());
        println!("{said}");
        std::io::stdout().flush()?;
    }
    running.clone().into_iter().try_for_each(|pid| end(&mut running, pid).map(drop))
}

/// Ends one of those that run; 0 when it has gone.
fn end(running: &mut Vec<i32>, pid: i32) -> Result<i32> {
    let at = running.iter().position(|running| *running == pid).context("it runs")?;
    let pid = Pid::from_raw(running.swap_remove(at)).context("a process")?;
    // It has not been waited for, so the id is its own still.
    rustix::process::kill_process(pid, Signal::KILL)?;
    rustix::process::waitpid(Some(pid), WaitOptions::empty())?;
    Ok(0)
}

/// In a mount namespace of this launcher's own: what programs look for below /var is there, on a host that has none of it.
fn show(places: &[(PathBuf, PathBuf)]) -> Result<()> {
    forks::unshare(libc::CLONE_NEWNS)?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let trees: Vec<_> = places.iter().map(|(source, target)| Ok((tree(source)?, target))).collect::<Result<_>>()?;
    rustix::mount::mount("tmpfs", "/var", "tmpfs", MountFlags::empty(), None)?;
    for (tree, target) in trees.iter().filter(|(_, target)| target.starts_with("/var")) {
        attach(tree, target)?;
    }
    Ok(())
}

fn tree(source: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(CWD, source, flags).with_context(|| source.display().to_string())
}

fn attach(tree: &OwnedFd, at: &Path) -> Result<()> {
    fs::create_dir_all(at)?;
    rustix::mount::move_mount(tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .with_context(|| at.display().to_string())
}

fn start(
    args: &Args,
    places: &[(PathBuf, PathBuf)],
    argv: &[String],
    env: &BTreeMap<String, String>,
    network: Option<&Path>,
) -> Result<i32> {
    let Some(network) = network else {
        return match forks::fork(0)? {
            None => died(execute(argv, env)),
            Some(pid) => Ok(pid),
        };
    };
    let network = File::open(network).context("its network")?;
    let ((mut hears, mut tells), (mut hears_of_map, mut tells_of_map)) = (std::io::pipe()?, std::io::pipe()?);
    let namespaces = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    match forks::fork(namespaces)? {
        None => died(isolated(args, places, (argv, env), &network, (&mut tells, &mut hears_of_map))),
        Some(pid) => {
            drop(tells);
            ensure!(hears.read(&mut [0])? == 1, "it failed, as it has said");
            fs::write(format!("/proc/{pid}/uid_map"), format!("{USER} {HOST_USER} 1"))?;
            fs::write(format!("/proc/{pid}/gid_map"), format!("{USER} {HOST_USER} 1"))?;
            tells_of_map.write_all(b"m")?;
            Ok(pid)
        }
    }
}

/// A forked child goes no further than here.
fn died(why: Result<Infallible>) -> ! {
    let Err(error) = why;
    eprintln!("the reference's launcher: {error:#}");
    std::process::exit(1)
}

/// The first process of the namespaces, whose child is the program.
fn isolated(
    args: &Args,
    places: &[(PathBuf, PathBuf)],
    (argv, env): (&[String], &BTreeMap<String, String>),
    network: &File,
    (tells, hears): (&mut PipeWriter, &mut PipeReader),
) -> Result<Infallible> {
    rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(network), Some(LinkNameSpaceType::Network))?;
    forks::unshare(libc::CLONE_NEWCGROUP | libc::CLONE_NEWTIME)?;
    rustix::system::sethostname(b"bare")?;
    enter_root(&args.at, places)?;
    forks::unshare(libc::CLONE_NEWUSER)?;
    tells.write_all(b"u")?;
    ensure!(hears.read(&mut [0])? == 1, "the launcher has gone");
    let (user, group) = (rustix::fs::Uid::from_raw(USER), rustix::fs::Gid::from_raw(USER));
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    match forks::fork(0)? {
        None => execute(argv, env),
        Some(_) => {
            rustix::process::wait(WaitOptions::empty())?;
            bail!("{} ended", argv.join(" "))
        }
    }
}

/// The host's programs, devices, processes of its own, a /tmp, and what is to be seen beyond.
fn enter_root(at: &Path, places: &[(PathBuf, PathBuf)]) -> Result<()> {
    rustix::mount::mount("tmpfs", at, "tmpfs", MountFlags::empty(), None)?;
    for name in SYSTEM {
        let (host, inside) = (Path::new("/").join(name), at.join(name));
        match fs::symlink_metadata(&host) {
            Err(_) => {}
            Ok(found) if found.is_symlink() => symlink(fs::read_link(&host)?, inside)?,
            Ok(_) => attach(&tree(&host)?, &inside)?,
        }
    }
    for dir in ["etc", "dev", "proc", "tmp"] {
        fs::create_dir(at.join(dir))?;
    }
    for file in ["etc/ld.so.cache"].into_iter().map(PathBuf::from).chain(DEVICES.map(|d| Path::new("dev").join(d))) {
        File::create(at.join(&file))?;
        rustix::mount::mount_bind(Path::new("/").join(&file), at.join(&file))?;
    }
    rustix::mount::mount("proc", at.join("proc"), "proc", MountFlags::empty(), None)?;
    rustix::mount::mount("tmpfs", at.join("tmp"), "tmpfs", MountFlags::empty(), None)?;
    for (source, target) in places {
        // Those below /var are there already, in this launcher's own view.
        let source = if target.starts_with("/var") { target } else { source };
        attach(&tree(source)?, &at.join(target.strip_prefix("/")?))?;
    }
    rustix::process::chdir(at)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

fn execute(argv: &[String], env: &BTreeMap<String, String>) -> Result<Infallible> {
    let (program, arguments) = argv.split_first().context("a program")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(env)
        .current_dir(CWD_OF_PROGRAMS)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Err(command.exec()).with_context(|| program.clone())
}
