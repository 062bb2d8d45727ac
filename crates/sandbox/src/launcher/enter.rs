//! A copy of another sandbox's program instead of an executed one: this sandbox's init hands its namespaces to that
//! program, which forks; the child enters them, gives up its rights and goes on inside.
//!
//! What the init asks for is one packet on the program's socket (its descriptor 4): JSON, with descriptors beside it
//! that `descriptors` names in their order. What comes back comes on the `leash`, a socket of this sandbox alone:
//! `in <pid>` from the child once it is inside, or `no <reason>`; and `end <raw wait status>` from the parent when the
//! child has ended. A template's program is the function's own code: nothing that it says is believed beyond what
//! harms its own copies alone. In particular the end is seen by the child's pidfd.

use super::inside::{Plan, Step, USER, step};
use super::landlock;
use crate::{Network, Role, protocol};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How long the copied program may take to tell how its copy ended.
const STATUS_MS_MAX: i64 = 200;

/// What the program is asked to do.
#[derive(Serialize)]
struct Ask<'a> {
    role: Role,
    env: &'a BTreeMap<String, String>,
    cwd: &'a str,
    user: u32,
    open_files: u64,
    file_bytes: u64,
    descriptors: Vec<&'static str>,
    /// For a base's copies, which have none yet: the system call filters, in hex, to be installed in this order.
    filters: Vec<String>,
}

/// A copy that is inside.
pub struct Copied {
    pub pidfd: OwnedFd,
    pub leash: OwnedFd,
}

/// Has the program behind `origin` copied into this sandbox. `user` is this sandbox's user namespace, for copies of a
/// base; `doors` move the copy into this sandbox's groups.
pub fn enter(plan: &Plan<'_>, origin: BorrowedFd<'_>, namespaces: &Namespaces, doors: &[OwnedFd]) -> Step<Copied> {
    let (leash, its) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(step("make a leash"))?;
    let mut named = vec![("leash", its.as_fd()), ("output", plan.output), ("frames", plan.frames)];
    named.extend(namespaces.0.iter().map(|(name, fd)| (*name, fd.as_fd())));
    named.extend(doors.iter().map(|door| ("door", door.as_fd())));
    named.extend(plan.seed.map(|seed| ("seed", seed)));
    let spec = plan.spec;
    let is_from_base = namespaces.0.iter().any(|(name, _)| *name == "user");
    // As with the filters, a template's copies have theirs already.
    let domain = if is_from_base { landlock::domain() } else { None };
    named.extend(domain.as_ref().map(|domain| ("landlock", domain.as_fd())));
    let ask = Ask {
        role: spec.role,
        env: &spec.env,
        cwd: &spec.cwd,
        user: USER,
        open_files: spec.limits.open_files,
        file_bytes: spec.limits.file_bytes,
        descriptors: named.iter().map(|(name, _)| *name).collect(),
        filters: if is_from_base { plan.filters.in_hex(spec.role) } else { Vec::new() },
    };
    let packet = protocol::packet(&ask).map_err(|reason| ("ask for a copy".to_owned(), io::Error::other(reason)))?;
    let descriptors: Vec<_> = named.iter().map(|(_, fd)| *fd).collect();
    protocol::send(origin, &packet, &descriptors, SendFlags::empty()).map_err(step("ask for a copy"))?;
    drop(its);
    let pid = hear(&leash).map_err(|error| ("enter".to_owned(), error))?;
    let valid = Pid::from_raw(pid).ok_or(io::Error::from(io::ErrorKind::InvalidData));
    let pidfd = valid.and_then(|pid| Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?));
    Ok(Copied { pidfd: pidfd.map_err(|error| ("find the copy".to_owned(), error))?, leash })
}

/// Waits for the first word on the leash; the launcher ends a sandbox that waits too long.
fn hear(leash: &OwnedFd) -> io::Result<i32> {
    let mut buffer = [0; 512];
    let (length, _) = protocol::receive(leash, &mut buffer, RecvFlags::empty())?;
    let text = String::from_utf8_lossy(&buffer[..length]);
    match text.split_once(' ') {
        Some(("in", pid)) => pid.parse().map_err(io::Error::other),
        Some(("no", reason)) => Err(io::Error::other(reason.to_owned())),
        _ => Err(io::Error::other("the program that was to be copied ended")),
    }
}

impl Copied {
    /// The raw wait status, after the pidfd has told of the end: what the copied program says, else killed.
    pub fn status(&self) -> i32 {
        let within = Timespec { tv_sec: 0, tv_nsec: STATUS_MS_MAX * 1_000_000 };
        let mut polled = [PollFd::new(&self.leash, PollFlags::IN)];
        let mut buffer = [0; 512];
        match rustix::event::poll(&mut polled, Some(&within)) {
            Ok(1..) => {
                let heard = protocol::receive(&self.leash, &mut buffer, RecvFlags::DONTWAIT);
                let text = heard.map(|(length, _)| String::from_utf8_lossy(&buffer[..length]).into_owned());
                let status = text.ok().and_then(|text| text.strip_prefix("end ")?.parse().ok());
                status.unwrap_or(libc::SIGKILL)
            }
            _ => libc::SIGKILL,
        }
    }
}

/// This process's namespaces, opened to be entered by another.
pub struct Namespaces(Vec<(&'static str, OwnedFd)>);

impl Namespaces {
    /// With `user` for a copy of a base, which is in the host's, and in a network of its own; with `clock` where this
    /// sandbox has one of its own.
    pub fn open(network: &Network, user: bool, clock: bool) -> io::Result<Self> {
        let net = (user || *network != Network::Host).then_some("net");
        let user = user.then_some("user");
        let names = ["pid", "mnt", "ipc", "uts", "cgroup"].into_iter().chain(net).chain(user);
        let open = |name, file| Ok((name, std::fs::File::open(format!("/proc/self/ns/{file}"))?.into()));
        // This process itself stays in its maker's time; those it forks are in the new one.
        let clock = clock.then(|| open("time", "time_for_children"));
        Ok(Self(names.map(|name| open(name, name)).chain(clock).collect::<io::Result<_>>()?))
    }
}
