//! The networks of sandboxes: namespaces made ahead, and for those that lead out a cable to the node's router.
//!
//! The router is a namespace of the node's own (`router`). Each sandbox that leads out has a veth pair with one end in it;
//! a single pair leads on from it to the host. All rules on what who may reach are the router's, so they go with it, and it
//! goes with this process; in the host there are that one device and one small table (`rules` has the text of both).
//! Why so: `docs/decisions/0013-networks.md`.

mod forwarding;
mod netlink;
mod pool;
mod router;
mod rules;
mod sets;

pub use pool::{Network, Pool};
pub use router::{GATEWAY, Resolvers, Router, Wire};
pub use rules::{naming, set};
pub use sets::Sets;

use rustix::thread::LinkNameSpaceType;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The network namespace that this process is in.
fn own() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

pub fn enter(network: impl AsFd) -> io::Result<()> {
    Ok(rustix::thread::move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// Does something in another network and comes back, which this process cannot go on without.
fn within<T>(network: impl AsFd, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let home = own()?;
    enter(network)?;
    let done = work();
    enter(&home).expect("the network that this process came from can be entered");
    done
}
