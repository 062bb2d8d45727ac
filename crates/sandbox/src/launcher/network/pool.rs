//! Network namespaces made ahead: making one takes the kernel most of a millisecond, and a cable to it about as much again.

use super::router::{Router, Wire};
use super::{enter, own};
use crate::launcher::sys;
use std::io;
use std::os::fd::OwnedFd;

/// So many are made ahead, of each kind.
const READY_MAX: usize = 4;

/// A sandbox's network. It is given to one sandbox and to no other after it.
#[derive(Debug)]
pub struct Network {
    pub namespace: OwnedFd,
    pub wire: Option<Wire>,
}

#[derive(Default)]
pub struct Pool {
    bare: Vec<OwnedFd>,
    wired: Vec<Network>,
}

impl Pool {
    /// A network with a loopback alone, or with `policy` one that leads out as that says.
    pub fn take(&mut self, out: Option<(&mut Router, &str)>) -> io::Result<Network> {
        match out {
            None => Ok(Network { namespace: self.bare.pop().map_or_else(fresh, Ok)?, wire: None }),
            Some((router, policy)) => {
                let network = self.wired.pop().map_or_else(|| wired(router), Ok)?;
                network.wire.iter().try_for_each(|wire| router.open(wire, policy))?;
                Ok(network)
            }
        }
    }

    /// Makes one more if one is missing; `false` when none is, or none can be made. Takes a millisecond or two.
    pub fn refill(&mut self, router: Option<&mut Router>) -> bool {
        if self.bare.len() < READY_MAX {
            return fresh().map(|bare| self.bare.push(bare)).is_ok();
        }
        match router.filter(|_| self.wired.len() < READY_MAX).map(wired) {
            Some(Ok(network)) => {
                self.wired.push(network);
                true
            }
            _ => false,
        }
    }
}

fn wired(router: &mut Router) -> io::Result<Network> {
    let namespace = fresh()?;
    let wire = router.wire(&namespace)?;
    Ok(Network { namespace, wire: Some(wire) })
}

/// A new network with its loopback up.
pub fn fresh() -> io::Result<OwnedFd> {
    let home = own()?;
    sys::unshare(libc::CLONE_NEWNET)?;
    let made = sys::loopback_up().and_then(|()| own());
    enter(&home).expect("the network that this process came from can be entered");
    made
}
