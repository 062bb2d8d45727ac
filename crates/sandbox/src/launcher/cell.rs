//! A cell's init keeps the right to mount, in its own user namespace, until it is told what the cell becomes: it attaches
//! the mounts of that, gives up every right, and is from then on the init of an instance. The program beside it never had
//! any right and runs all along.
//!
//! The launcher orders that with one packet: the places, and beside it in their order what is to be attached there, cloned
//! on the host where the init sees nothing.

use super::inside::{self, Plan, Step, Word, step};
use super::{root, sys};
use crate::{Mount, protocol};
use rustix::event::{PollFd, PollFlags};
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Pid, PidfdFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Orders a cell's init to attach mounts and renounce its rights; it answers with [`Word::Specialised`] or
/// [`Word::Failed`].
pub fn order(init: BorrowedFd<'_>, mounts: &[Mount]) -> Step<()> {
    if mounts.len() > protocol::DESCRIPTORS_MAX {
        return Err((format!("mount {}", mounts.len()), io::Error::other("more than fit into a packet")));
    }
    let places: Vec<_> = mounts.iter().map(|mount| &mount.target).collect();
    let trees = mounts.iter().map(root::detached).collect::<Result<Vec<_>, _>>()?;
    let beside: Vec<_> = trees.iter().map(AsFd::as_fd).collect();
    let packet = protocol::packet(&places).map_err(|error| ("write the order".to_owned(), io::Error::other(error)))?;
    protocol::send(init, &packet, &beside, SendFlags::DONTWAIT).map_err(step("ask the cell"))
}

/// Waits until this cell is specialised, or until its program has ended, which [`inside::reap`] tells.
pub fn wait(plan: &Plan<'_>, program: i32) {
    let pid = Pid::from_raw(program).ok_or(rustix::io::Errno::INVAL);
    let Ok(pidfd) = pid.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty())) else { return };
    let mut buffer = vec![0; protocol::PACKET_BYTES_MAX];
    loop {
        let mut polled = [PollFd::new(&pidfd, PollFlags::IN), PollFd::from_borrowed_fd(plan.launcher, PollFlags::IN)];
        if rustix::event::poll(&mut polled, None).is_err() {
            continue;
        }
        if !polled[0].revents().is_empty() {
            return;
        }
        match protocol::receive(plan.launcher, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => sys::end(0),
            Ok((length, trees)) => match become_instance(plan, &buffer[..length], &trees) {
                Ok(()) => return inside::tell(plan.launcher, &Word::Specialised, &[]),
                Err((step, error)) => {
                    inside::tell(plan.launcher, &Word::Failed { step, reason: error.to_string() }, &[]);
                    sys::end(1)
                }
            },
            Err(_) => {}
        }
    }
}

fn become_instance(plan: &Plan<'_>, packet: &[u8], trees: &[OwnedFd]) -> Step<()> {
    let places: Vec<PathBuf> = serde_json::from_slice(packet).map_err(step("read the order"))?;
    if places.len() != trees.len() {
        return Err(("receive the mounts".to_owned(), io::ErrorKind::InvalidData.into()));
    }
    for (place, tree) in places.iter().zip(trees) {
        root::attach(tree, place).map_err(|error| (format!("mount at {}", place.display()), error))?;
    }
    inside::renounce(plan)
}
