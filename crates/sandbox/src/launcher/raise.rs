//! One sandbox as the launcher sees it: made, mapped, metered and cleared away.

use super::census::{self, Counted, Processes};
use super::cgroup::Group;
use super::inside::{self, Plan, USER};
use super::network::{self, Wire};
use super::sweep::Places;
use super::{Ground, cell, ground, nest, root, sys};
use crate::protocol::Meter;
use crate::{Error, Exit, Limits, Mount, Network, Role, Spec, Status};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// The first of the host's users that sandboxes run as: one each while it lives. Far above what hosts give to people,
/// services and subordinate ranges (which end at 600,100,000 by default only where someone was given them all).
const HOST_USER_FIRST: u32 = 2_000_000;

/// What a template's group has room for at first.
const COPIES_MIN: u64 = 16;

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
    role: Role,
    pub slot: u32,
    /// A template's copies use the template's.
    pub owns_slot: bool,
    pub state: State,
    /// Its init, where that is a child of ours: a template's copies are not.
    pid: Option<i32>,
    /// `None` until the template's init has forked it.
    pub pidfd: Option<OwnedFd>,
    killed: bool,
    /// The socket to its init.
    pub inside: OwnedFd,
    /// The socket to a program that can be copied.
    seed: Option<OwnedFd>,
    /// Readable when memory ran out (v1).
    pub memory: Option<OwnedFd>,
    pub memory_ran_out: bool,
    pub group: Group,
    /// The copies that its group has room for, of a template.
    bears: u64,
    limits: Limits,
    pub network: Network,
    /// Its way out, until the node has its counts.
    pub wire: Option<Wire>,
    tmp: PathBuf,
    /// Read ends for the node: output, frames. Gone once handed over.
    pub pipes: Option<(OwnedFd, OwnedFd)>,
    /// What its init said of the program's end.
    pub status: Option<Status>,
    /// The request that made it an instance, until that is answered.
    pub specialising: Option<u64>,
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

/// The living sandbox whose program is copied.
pub struct Origin<'a> {
    pub role: Role,
    slot: u32,
    /// The socket to its init, and the one to its program.
    init: BorrowedFd<'a>,
    seed: BorrowedFd<'a>,
}

/// What the launcher gives a sandbox that it raises.
pub struct Given<'a> {
    pub origin: Option<Origin<'a>>,
    pub slot: u32,
    pub deadline: u64,
    /// Its network, where that is made for it.
    pub network: Option<network::Network>,
    /// Whether it finds a resolver.
    pub resolves: bool,
}

impl Sandbox {
    /// Makes what the sandbox needs on the host and forks it, or has the template's init fork it; it goes on by itself
    /// from there.
    pub fn raise(spec: &Spec, given: Given<'_>, ground: &Ground, places: &mut Places) -> Result<Self, Error> {
        let Given { origin, slot, deadline, network, resolves } = given;
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
        // A template's copies are its user on the host as well: they are one function's.
        let within = origin.as_ref().filter(|origin| origin.role == Role::Template);
        let slot = within.map_or(slot, |template| template.slot);
        if ground.root {
            let user = host_user(slot);
            std::os::unix::fs::chown(&tmp, Some(user), Some(user)).map_err(failed("give /tmp away"))?;
            // So that /dev/stdout can be opened by name.
            for pipe in [&output.1, &frames.1] {
                std::os::unix::fs::fchown(pipe, Some(user), Some(user)).map_err(failed("give a pipe away"))?;
            }
        }
        let (inside, launcher) = sockets().map_err(failed("make a socket"))?;
        let (pid, pidfd, seed) = match within {
            Some(template) => {
                let tree = root::detached_tmp(tmp).map_err(failed("bind /tmp"))?;
                let doors = group.doors().map_err(failed("open the cgroup"))?;
                let mut with = vec![launcher.as_fd(), output.1.as_fd(), frames.1.as_fd(), tree.as_fd(), template.seed];
                with.extend(doors.iter().map(AsFd::as_fd));
                nest::order(template.init, spec, &with).map_err(failed("ask the template"))?;
                (None, None, None)
            }
            None => {
                let seed = match spec.role {
                    Role::Instance | Role::Cell => None,
                    Role::Template | Role::Base => Some(sockets().map_err(failed("make a socket"))?),
                };
                let forked = sys::fork(ground::namespaces(spec, ground.root)).map_err(failed("make the namespaces"))?;
                let sys::Fork::Parent { pid, pidfd } = forked else {
                    inside::live(&Plan {
                        spec,
                        filters: &ground.filters,
                        group: Some(group),
                        root_at: &root_at,
                        in_shell: ground.shell.is_some(),
                        tmp,
                        root: ground.root,
                        user: host_user(slot),
                        launcher: launcher.as_fd(),
                        output: output.1.as_fd(),
                        frames: frames.1.as_fd(),
                        origin: origin.as_ref().map(|base| base.seed),
                        seed: seed.as_ref().map(|(_, its)| its.as_fd()),
                        network: network.as_ref().map(|network| network.namespace.as_fd()),
                        resolves,
                    })
                };
                (Some(pid), Some(pidfd), seed.map(|(ours, _)| ours))
            }
        };
        let (Some(group), Some(tmp)) = (prepared.group.take(), prepared.tmp.take()) else {
            unreachable!("both were put there above")
        };
        Ok(Self {
            id: spec.id.clone(),
            role: spec.role,
            slot,
            owns_slot: within.is_none(),
            state: State::Raising { deadline },
            pid,
            pidfd,
            killed: false,
            inside,
            seed,
            memory,
            memory_ran_out: false,
            group,
            bears: 0,
            limits: spec.limits.clone(),
            network: spec.network.clone(),
            wire: network.and_then(|network| network.wire),
            tmp,
            pipes: Some((output.0, frames.0)),
            status: None,
            specialising: None,
        })
    }

    /// As what its program is copied; `None` when it is not up to it.
    pub fn origin(&self) -> Option<Origin<'_>> {
        let seed = self.seed.as_ref().filter(|_| self.state == State::Running && !self.killed)?;
        Some(Origin { role: self.role, slot: self.slot, init: self.inside.as_fd(), seed: seed.as_fd() })
    }

    /// Has room in a template's group for so many copies, and some more so that this is seldom done.
    pub fn bear(&mut self, copies: u64) -> io::Result<()> {
        if self.role != Role::Template || copies <= self.bears {
            return Ok(());
        }
        self.bears = copies.next_power_of_two().max(COPIES_MIN);
        self.group.bear(&self.limits, self.bears)
    }

    /// Begins to make an instance of a cell that waits; `request` is to be answered when that is done.
    pub fn specialise(&mut self, request: u64, mounts: &[Mount]) -> Result<(), Error> {
        if self.role != Role::Cell || self.state != State::Running || self.killed {
            return Err(Error::NoCell(self.id.clone()));
        }
        // Whatever comes of it: it is a cell no more.
        self.role = Role::Instance;
        cell::order(self.inside.as_fd(), mounts).map_err(|(step, error)| {
            self.kill();
            Error::Raise { step, reason: error.to_string() }
        })?;
        self.specialising = Some(request);
        Ok(())
    }

    /// Writes the maps of its user namespace: one user, one group.
    pub fn map_user(&self, root: bool) -> io::Result<()> {
        let Some(pid) = self.pid else { return Err(io::ErrorKind::Unsupported.into()) };
        let (user, group) = if root {
            (host_user(self.slot), host_user(self.slot))
        } else {
            // Without root the kernel lets a group be mapped only by who cannot leave groups afterwards.
            fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
            (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
        };
        fs::write(format!("/proc/{pid}/uid_map"), format!("{USER} {user} 1"))?;
        fs::write(format!("/proc/{pid}/gid_map"), format!("{USER} {group} 1"))
    }

    /// Ends it: now, or when we hear of a process that is still being made.
    pub fn kill(&mut self) {
        self.killed = true;
        if let Some(pidfd) = &self.pidfd {
            let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
        }
    }

    /// The template's init has forked its init.
    pub fn is_here(&mut self, pidfd: OwnedFd) -> &OwnedFd {
        let killed = self.killed;
        self.pidfd = Some(pidfd);
        if killed {
            self.kill();
        }
        self.pidfd.as_ref().expect("it was put there above")
    }

    /// After its init has ended: reaps it and sums up.
    pub fn sum_up(&self) -> Exit {
        // A template's copy is a child of the template's init, and buried there.
        let ended = self.pid.and_then(|pid| sys::wait(pid).ok());
        let meter = self.group.meter(&self.limits);
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
        let mut meter = self.group.meter(&self.limits);
        if let (None, Some(pid)) = (&meter.memory_peak, self.pid) {
            meter.memory_peak = census::children(pid).first().map(|program| format!("/proc/{program}/status").into());
        }
        meter
    }

    /// What there is to count of it, while it runs. A base has no code to fear.
    pub fn counted(&self, seq: u64) -> Option<Counted> {
        let processes = self.group.pids().map(Processes::All).or(self.pid.map(Processes::Below))?;
        let counts = self.state == State::Running && self.role != Role::Base && !self.killed;
        counts.then(|| Counted { seq, tmp: self.tmp.clone(), bytes_max: self.limits.file_bytes, processes })
    }

    /// Takes its /tmp out of sight.
    pub fn drop_tmp(&self, places: &mut Places) -> io::Result<()> {
        places.drop_tmp(&self.tmp)
    }
}

fn host_user(slot: u32) -> u32 {
    HOST_USER_FIRST + slot
}

fn sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Read end, write end.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?)
}
