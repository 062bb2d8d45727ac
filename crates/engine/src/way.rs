//! A function's way into the network: which of the node's networks it is in, and what it finds there.

use base::network::{Networks, Policy, Reach};
use sandbox::{Driver, Network};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

/// The ports an instance finds on its loopback when it has a network of its own.
pub(crate) const RUNTIME_API_PORT: u16 = 9001;
pub(crate) const PLATFORM_PORT: u16 = 4566;

/// Of one version, as the node's networks are now.
#[derive(Clone)]
pub(crate) struct Way {
    pub network: Network,
    /// Whether the platform is there.
    pub platform: bool,
    /// `None` in the host's network.
    pub policy: Option<Arc<Policy>>,
}

impl Way {
    /// The ports on which the node listens in a network of the sandbox's own.
    pub(crate) fn ports(&self) -> Vec<u16> {
        match (&self.network, self.platform) {
            (Network::Host, _) => Vec::new(),
            (_, true) => vec![RUNTIME_API_PORT, PLATFORM_PORT],
            (_, false) => vec![RUNTIME_API_PORT],
        }
    }
}

/// The way that a name stands for, or the usual one.
///
/// # Errors
/// There is no such network, or this machine cannot give it: the text says which there are, or what to do.
pub(crate) fn way(networks: &Networks, driver: &dyn Driver, name: Option<&str>) -> Result<Way, String> {
    let Some((name, reach)) = networks.get(name) else {
        let known: Vec<_> = networks.names().collect();
        let name = name.unwrap_or_default();
        return Err(format!("the network {name:?} is none of this node's: {}", known.join(", ")));
    };
    let policy = match reach {
        Reach::Host => return Ok(Way { network: Network::Host, platform: true, policy: None }),
        Reach::Policy(policy) => policy,
    };
    let network = match policy.leads_out() {
        false => Network::Own,
        true => {
            let out = driver.leads_out();
            out.map_err(|reason| format!("the network {name:?} leads out, which this node cannot give: {reason}"))?;
            Network::Out(name.to_owned())
        }
    };
    Ok(Way { network, platform: policy.platform, policy: Some(Arc::new(policy.clone())) })
}

/// The Runtime API's and the platform's, on the instance's loopback.
pub(crate) fn ports(way: &Way, own: Option<&[TcpListener; 2]>) -> std::io::Result<(u16, Option<u16>)> {
    Ok(match own {
        Some([runtime, outward]) => (runtime.local_addr()?.port(), Some(outward.local_addr()?.port())),
        None => (RUNTIME_API_PORT, way.platform.then_some(PLATFORM_PORT)),
    })
}

/// Where the node listens for a sandbox that has no network of its own.
pub(crate) fn own_listeners(way: &Way) -> std::io::Result<Option<[TcpListener; 2]>> {
    Ok(match way.network {
        Network::Own | Network::Out(_) => None,
        Network::Host => Some([listen()?, listen()?]),
    })
}

fn listen() -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
