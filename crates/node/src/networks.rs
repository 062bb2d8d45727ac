//! What this machine can give of the networks that the settings ask for.

use crate::settings::Settings;
use crate::system::SystemEntropy;
use anyhow::{Result, bail};
use base::network::{Ceiling, Networks, Policy};
use base::port::Entropy;
use sandbox::{Driver, Egress};
use std::path::PathBuf;
use std::sync::Arc;

const REMEDY: &str = "or choose `--network platform`";

/// What the launcher needs to lead sandboxes out; `None` where none is to be.
pub fn egress(settings: &Settings) -> Option<(Egress, Arc<dyn Entropy>)> {
    let networks = settings.networks(settings.ceiling()).ok()?.leading_out();
    (!networks.is_empty()).then(|| (Egress { nft: nft(), networks }, Arc::new(SystemEntropy) as Arc<dyn Entropy>))
}

/// What a function has that names no network: as the settings say, or where they do not, what this machine can give.
pub fn usual(settings: &Settings, driver: &dyn Driver) -> Ceiling {
    match (settings.network, settings.ceiling()) {
        (None, Ceiling::Internet) if driver.leads_out().is_err() => Ceiling::Platform,
        (_, ceiling) => ceiling,
    }
}

/// The node's networks.
///
/// # Errors
/// The settings ask for the internet, and this machine cannot give it.
pub fn of_node(settings: &Settings, driver: &dyn Driver) -> Result<Networks> {
    let ceiling = usual(settings, driver);
    if let (Ceiling::Internet, Err(reason)) = (ceiling, driver.leads_out()) {
        bail!("functions cannot be given the internet: {reason}; {REMEDY}");
    }
    settings.networks(ceiling).map_err(anyhow::Error::msg)
}

/// The program `nft`, which is often where only root's PATH leads.
fn nft() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    places.filter(|place| place.is_absolute()).map(|place| place.join("nft")).find(|program| program.is_file())
}

/// Where HTTP deliveries go: what `[networks.webhooks]` says; without it, anywhere from a node that this machine alone can
/// reach, and to the internet from one that strangers may use.
pub fn of_courier(settings: &Settings) -> courier::Reach {
    match settings.networks.get("webhooks") {
        Some(policy) => courier::Reach::Within(policy.clone()),
        None if settings.listen.ip().is_loopback() => courier::Reach::Anywhere,
        None => courier::Reach::Within(Policy::INTERNET),
    }
}
