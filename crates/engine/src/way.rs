//! A function's way into the network: which of the node's networks it is in, and what it finds there.

use crate::forge::{Forge, PLATFORM_PORT, RUNTIME_API_PORT};
use crate::{PrepareError, Version};
use base::network::{Networks, Policy, Reach};
use sandbox::{Driver, Network};
use std::sync::Arc;

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

impl Forge {
    pub(crate) fn way(&self, version: &Version) -> Result<Way, PrepareError> {
        way(&self.networks, self.driver.as_ref(), version.network.as_deref())
            .map_err(|message| PrepareError { code: "InvalidConfiguration", message })
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
