//! One sandbox as the launcher sees it: made, mapped, metered and cleared away.

use super::cgroup::Group;
use super::inside::{self, Plan, USER};
use super::sweep::Places;
use super::{Ground, ground, sys};
use crate::protocol::Meter;
use crate::{Error, Exit, Network, Spec, Status};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// The first of the host's users that sandboxes run as: one each while it lives. Far above what hosts give to people,
/// services and subordinate ranges (which end at 600,100,000 by default only where someone was given them all).
const HOST_USER_FIRST: u32 = 2_000_000;

/// How far a sandbox has come.
#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// Making itself; the node waits for the reply, until the deadline (milliseconds of the launcher's clock).
    Raising { deadline: u64 },
    /// The program runs.
    Running,
    /// All processes are gone; the cgroup's removal is being tried, until the deadline.
    Ending { deadline: u64, exit: Exit, reported: bool },
}

#[derive(Debug)]
pub struct Sandbox {
    pub id: String,
    pub slot: u32,
    pub state: State,
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// The socket to its init.
    pub inside: OwnedFd,
    /// Readable when memory ran out (v1).
    pub memory: Option<OwnedFd>,
    pub memory_ran_out: bool,
    pub group: Group,
    tmp: PathBuf,
    /// Read ends for the node: output, frames. Gone once handed over.
    pub pipes: Option<(OwnedFd, OwnedFd)>,
    /// What its init said of the program's end.
    pub status: Option<Status>,
}

fn failed(step: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::Raise { step: step.to_owned(), reason: error.to_string() }
}

/// What exists on the host before the process does; removed unless the sandbox takes it over.
struct Prepared<'a> {
    places: &'a mut Places,
    group: Option<Group>,
    tmp: Option<PathBuf>,
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        if let Some(group) = self.group.take() {
            let _ = group.remove();
        }
        if let Some(tmp) = self.tmp.take() {
            let _ = self.places.drop_tmp(&tmp);
        }
    }
}

impl Sandbox {
    /// Makes what the sandbox needs on the host and forks it; it goes on by itself from there.
    pub fn raise(spec: &Spec, slot: u32, deadline: u64, ground: &Ground, places: &mut Places) -> Result<Self, Error> {
        let root_at = places.root.clone();
        let mut prepared = Prepared { places, group: None, tmp: None };
        let group = ground.hierarchy.group(&spec.id, &spec.limits).map_err(failed("make the cgroup"))?;
        let memory = group.watch_memory();
        let group = prepared.group.insert(group);
        let memory = memory.map_err(failed("watch the memory"))?;
        let tmp = prepared.places.tmp.join(&spec.id);
        fs::DirBuilder::new().mode(0o700).create(&tmp).map_err(failed("make /tmp"))?;
        let tmp = prepared.tmp.insert(tmp);
        let (output, frames) = (pipe().map_err(failed("make a pipe"))?, pipe().map_err(failed("make a pipe"))?);
        if ground.root {
            let user = host_user(slot);
            std::os::unix::fs::chown(&tmp, Some(user), Some(user)).map_err(failed("give /tmp away"))?;
            // So that /dev/stdout can be opened by name.
            for pipe in [&output.1, &frames.1] {
                std::os::unix::fs::fchown(pipe, Some(user), Some(user)).map_err(failed("give a pipe away"))?;
            }
        }
        let (inside, launcher) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|error| failed("make a socket")(error.into()))?;
        let network = if spec.network == Network::Platform { libc::CLONE_NEWNET } else { 0 };
        let user = if ground.root { 0 } else { libc::CLONE_NEWUSER };
        let fork = sys::fork(ground::NAMESPACES | network | user).map_err(failed("make the namespaces"))?;
        let sys::Fork::Parent { pid, pidfd } = fork else {
            inside::live(&Plan {
                spec,
                filters: &ground.filters,
                group,
                root_at: &root_at,
                tmp,
                root: ground.root,
                launcher: launcher.as_fd(),
                output: output.1.as_fd(),
                frames: frames.1.as_fd(),
            })
        };
        let (Some(group), Some(tmp)) = (prepared.group.take(), prepared.tmp.take()) else {
            unreachable!("both were put there above")
        };
        Ok(Self {
            id: spec.id.clone(),
            slot,
            state: State::Raising { deadline },
            pid,
            pidfd,
            inside,
            memory,
            memory_ran_out: false,
            group,
            tmp,
            pipes: Some((output.0, frames.0)),
            status: None,
        })
    }

    /// Writes the maps of its user namespace: one user, one group.
    pub fn map_user(&self, root: bool) -> io::Result<()> {
        let (user, group) = if root {
            (host_user(self.slot), host_user(self.slot))
        } else {
            // Without root the kernel lets a group be mapped only by who cannot leave groups afterwards.
            fs::write(format!("/proc/{}/setgroups", self.pid), "deny")?;
            (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
        };
        fs::write(format!("/proc/{}/uid_map", self.pid), format!("{USER} {user} 1"))?;
        fs::write(format!("/proc/{}/gid_map", self.pid), format!("{USER} {group} 1"))
    }

    pub fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
    }

    /// After its init has ended: reaps it and sums up.
    pub fn sum_up(&self) -> Exit {
        let ended = sys::wait(self.pid).ok();
        let meter = self.group.meter();
        Exit {
            // An init that said nothing was killed, and with it everyone.
            status: self.status.unwrap_or(Status::Signalled(libc::SIGKILL)),
            out_of_memory: self.memory_ran_out || self.group.was_killed_for_memory(),
            memory_bytes_peak: meter.memory_bytes_peak().or(ended.as_ref().map(|e| e.resident_bytes_peak)).unwrap_or(0),
            cpu_us: meter.cpu_us().or(ended.as_ref().map(|e| e.cpu_us)).unwrap_or(0),
        }
    }

    /// Where its use can be read while it lives: without a cgroup, what its program itself has resident.
    pub fn meter(&self) -> Meter {
        let mut meter = self.group.meter();
        if meter.memory_peak.is_none() {
            let pid = self.pid;
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            let program = children.split_whitespace().next();
            meter.memory_peak = program.map(|program| format!("/proc/{program}/status").into());
        }
        meter
    }

    /// Takes its /tmp out of sight.
    pub fn drop_tmp(&self, places: &mut Places) -> io::Result<()> {
        places.drop_tmp(&self.tmp)
    }
}

fn host_user(slot: u32) -> u32 {
    HOST_USER_FIRST + slot
}

/// Read end, write end.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?)
}
