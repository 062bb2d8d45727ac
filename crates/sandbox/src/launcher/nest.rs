//! A template's init makes the sandboxes of its copies: nested in its own, so that a template's program can enter them
//! with the little right that it has, and so that all end with it.
//!
//! The launcher orders one with a packet: the spec, and beside it in this order the new sandbox's socket to the
//! launcher, its output and its frames, its /tmp, the socket to the template's program, and the doors of its groups.

use super::enter::{self, Copied, Namespaces};
use super::filter::Filters;
use super::inside::{self, Plan, Program, Step, Word, step};
use super::{ground, root, sys};
use crate::{Network, Spec, protocol};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::PidfdFlags;
use std::fs::File;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Orders a sandbox from a template's init.
pub fn order(init: BorrowedFd<'_>, spec: &Spec, with: &[BorrowedFd<'_>]) -> io::Result<()> {
    let packet = protocol::packet(spec).map_err(io::Error::other)?;
    // Never waits for a template: one whose queue is full has more to do than it can.
    Ok(protocol::send(init, &packet, with, SendFlags::DONTWAIT)?)
}

/// The life of a template's init: makes sandboxes as ordered until its program ends; everything ends with it.
pub fn serve(plan: &Plan<'_>, program: &Copied) -> ! {
    let mut buffer = vec![0; protocol::PACKET_BYTES_MAX];
    let mut ahead = if plan.spec.network == Network::Host { Ahead::Unneeded } else { Ahead::Missing };
    loop {
        let mut polled =
            [PollFd::new(&program.pidfd, PollFlags::IN), PollFd::from_borrowed_fd(plan.launcher, PollFlags::IN)];
        let within = (ahead == Ahead::Missing).then_some(NOW);
        match rustix::event::poll(&mut polled, within.as_ref()) {
            Err(_) => continue,
            Ok(0) => {
                ahead.make();
                continue;
            }
            Ok(_) => {}
        }
        if !polled[0].revents().is_empty() {
            inside::tell(plan.launcher, &Word::Ended(program.status()), &[]);
            sys::end(0)
        }
        match protocol::receive(plan.launcher, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => sys::end(0),
            Ok((length, with)) => take(plan.filters, &buffer[..length], with, &mut ahead),
            Err(_) => {}
        }
    }
}

/// The network of the next copy, which this init is in when it forks the copy's: making one takes long, so it is made when
/// there is nothing else to do.
#[derive(PartialEq)]
enum Ahead {
    /// Copies are in the host's network.
    Unneeded,
    Missing,
    /// It could not be made. That is tried again when it is needed, and told then.
    Failed,
    Made,
}

impl Ahead {
    fn make(&mut self) {
        *self = if fresh_network().is_ok() { Self::Made } else { Self::Failed };
    }

    /// Is in a network that nobody else has been in, if one is needed. It is the next copy's alone from then on.
    fn take(&mut self) -> io::Result<()> {
        match std::mem::replace(self, Self::Missing) {
            Self::Unneeded => *self = Self::Unneeded,
            Self::Missing | Self::Failed => fresh_network()?,
            Self::Made => {}
        }
        Ok(())
    }
}

fn fresh_network() -> io::Result<()> {
    sys::unshare(libc::CLONE_NEWNET)?;
    sys::loopback_up()
}

/// Forks one sandbox's init, which tells the launcher itself; what fails before is told on that sandbox's own socket.
fn take(filters: &Filters, packet: &[u8], with: Vec<OwnedFd>, ahead: &mut Ahead) {
    let mut with = with.into_iter();
    let (Some(launcher), Some(output), Some(frames), Some(tmp), Some(seed)) =
        (with.next(), with.next(), with.next(), with.next(), with.next())
    else {
        return;
    };
    let doors: Vec<OwnedFd> = with.collect();
    let made = serde_json::from_slice::<Spec>(packet).map_err(io::Error::other).and_then(|spec| {
        ahead.take()?;
        match sys::fork(ground::namespaces(&spec, true))? {
            sys::Fork::Parent { .. } => Ok(()),
            sys::Fork::Child => {
                let plan = Plan {
                    spec: &spec,
                    filters,
                    group: None,
                    root_at: Path::new("/"),
                    in_shell: false,
                    tmp: Path::new("/tmp"),
                    root: true,
                    user: 0,
                    launcher: launcher.as_fd(),
                    output: output.as_fd(),
                    frames: frames.as_fd(),
                    origin: Some(seed.as_fd()),
                    seed: None,
                    network: None,
                    resolves: false,
                };
                live(&plan, &tmp, &doors)
            }
        }
    });
    if let Err(error) = made {
        let word = Word::Failed { step: "make the namespaces".into(), reason: error.to_string() };
        inside::tell(launcher.as_fd(), &word, &[]);
    }
}

/// The nested init's whole life.
fn live(plan: &Plan<'_>, tmp: &OwnedFd, doors: &[OwnedFd]) -> ! {
    let kept = [plan.launcher, plan.output, plan.frames].into_iter().chain(plan.origin).chain([tmp.as_fd()]);
    let mut kept: Vec<_> = kept.chain(doors.iter().map(AsFd::as_fd)).map(|fd| fd.as_raw_fd()).collect();
    kept.sort_unstable();
    sys::close_all_but(&kept);
    // Its own first word, so that the launcher can hold it before it hears anything else of it.
    match rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()) {
        Ok(own) => inside::tell(plan.launcher, &Word::Here, &[own.as_fd()]),
        Err(_) => sys::end(1),
    }
    inside::go_on(plan, prepare(plan, tmp, doors))
}

/// From the template's sandbox to one of its own: groups, network, /tmp and /proc; then no rights are left.
fn prepare(plan: &Plan<'_>, tmp: &OwnedFd, doors: &[OwnedFd]) -> Step<(Vec<TcpListener>, Program)> {
    for door in doors {
        let door = door.try_clone().map(File::from);
        door.and_then(|mut door| door.write_all(b"0")).map_err(step("join the cgroups"))?;
    }
    let _ = sys::unshare(libc::CLONE_NEWCGROUP);
    let leads_out = matches!(plan.spec.network, Network::Out(_));
    if leads_out {
        let network = File::open("/proc/self/ns/net").map_err(step("find the network"))?;
        inside::tell(plan.launcher, &Word::LeadMeOut, &[network.as_fd()]);
    }
    let listeners = inside::listen(plan.spec).map_err(step("listen"))?;
    root::nest(tmp)?;
    let namespaces = Namespaces::open(&plan.spec.network, false, false).map_err(step("open the namespaces"))?;
    if leads_out {
        inside::answer(plan, "wait to be led out")?;
    }
    inside::renounce(plan)?;
    let origin = plan.origin.ok_or_else(|| ("find the template".to_owned(), io::ErrorKind::NotFound.into()))?;
    let copied = enter::enter(plan, origin, &namespaces, doors)?;
    Ok((listeners, Program::Copied(copied)))
}
