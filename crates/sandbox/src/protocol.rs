//! What the node and the launcher say to each other: one JSON text per packet of a `SOCK_SEQPACKET` Unix socket, with
//! descriptors beside it. Descriptors of [`Reply::Raised`], in order: pidfd, output, frames, the listeners, and the counts of
//! a network that leads out; of [`Reply::Ready`], where networks lead out: what names are resolved with.

use crate::{Egress, Error, Exit, Mount, Promise, Spec};
use rustix::cmsg_space;
use rustix::io::{Errno, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// The largest packet; a spec that needs more is refused. Fits a Unix socket's default send buffer.
pub const PACKET_BYTES_MAX: usize = 128 * 1024;
/// Descriptors in one packet. The most come once, with the greeting: one for the rules and two for each network that lists names
/// and for all others. A program that is copied into a sandbox has eight of its namespaces, five groups, and a few sockets
/// and pipes.
pub const DESCRIPTORS_MAX: usize = 3 + 2 * base::network::NAMING_MAX;

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// First, once. Answered by [`Reply::Ready`] or [`Reply::Unfit`].
    Hello { state_dir: PathBuf, egress: Option<Egress> },
    /// `seq` names the sandbox in all replies about it.
    Raise { seq: u64, spec: Spec },
    /// Makes an instance of the cell of this id.
    Specialise { seq: u64, cell: String, mounts: Vec<Mount> },
    /// Ends a sandbox that the node cannot hold: not all of its descriptors arrived. Others are ended by their pidfd.
    Kill { seq: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    Ready {
        promises: Vec<Promise>,
        /// Whether sandboxes can be led out.
        leads_out: std::result::Result<(), String>,
    },
    /// The launcher cannot work here and ends.
    Unfit(String),
    Raised {
        seq: u64,
        meter: Meter,
    },
    Specialised {
        seq: u64,
    },
    /// The request of this `seq` failed.
    Failed {
        seq: u64,
        error: Error,
    },
    Exited {
        seq: u64,
        exit: Exit,
    },
    /// Something for the node's log, such as a request that could not be read.
    Warning(String),
}

/// Where the use of one sandbox can be read while it lives; `None` where the machine does not count it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Meter {
    pub memory_peak: Option<PathBuf>,
    pub cpu: Option<PathBuf>,
    /// A control group's file, and what written there holds the sandbox to its share of a core; `None` where it is not to be
    /// held.
    #[serde(default)]
    pub hold: Option<(PathBuf, String)>,
}

impl Meter {
    /// Bytes, from a cgroup's file or from a process's `status`; `None` when it is not counted or no longer there.
    pub fn memory_bytes_peak(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.memory_peak.as_ref()?).ok()?;
        match text.trim().parse() {
            Ok(bytes) => Some(bytes),
            Err(_) => {
                let kilobytes =
                    text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?;
                Some(kilobytes.parse::<u64>().ok()? << 10)
            }
        }
    }

    /// Holds it to its share of a core. That the kernel has no bandwidth control was told when it was found out.
    pub fn hold_cpu(&self) {
        if let Some((file, share)) = &self.hold {
            let _ = std::fs::write(file, share);
        }
    }

    /// Microseconds, from v1's `cpuacct.usage` (nanoseconds) or v2's `cpu.stat`.
    pub fn cpu_us(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.cpu.as_ref()?).ok()?;
        match text.trim().parse::<u64>() {
            Ok(nanoseconds) => Some(nanoseconds / 1000),
            Err(_) => text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse().ok()),
        }
    }
}

/// The packet of a message.
pub fn packet(message: &impl Serialize) -> std::result::Result<Vec<u8>, String> {
    let packet = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    if packet.len() > PACKET_BYTES_MAX {
        return Err(format!("it takes {} bytes, and {PACKET_BYTES_MAX} is the most", packet.len()));
    }
    Ok(packet)
}

/// Sends one packet with descriptors. `EAGAIN` only with [`SendFlags::DONTWAIT`].
pub fn send(socket: impl AsFd, packet: &[u8], descriptors: &[BorrowedFd<'_>], flags: SendFlags) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOBIG);
    }
    let flags = flags | SendFlags::NOSIGNAL;
    loop {
        match rustix::net::sendmsg(&socket, &[IoSlice::new(packet)], &mut beside, flags) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Takes one packet into `buffer`: its length, 0 at the end of the stream, and the descriptors beside it. A packet
/// longer than the buffer is `EMSGSIZE`. Descriptors for which this process's table has no room are missing.
pub fn receive(socket: impl AsFd, buffer: &mut [u8], flags: RecvFlags) -> Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let taken = loop {
        match rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut beside, flags) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            descriptors.extend(fds);
        }
    }
    if taken.flags.contains(ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    Ok((taken.bytes, descriptors))
}
