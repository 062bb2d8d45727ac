//! The verbs, one file each.

pub mod demo;
pub mod deploy;
pub mod doctor;
pub mod invoke;
pub mod list;
pub mod logs;
pub mod up;
pub mod usage;

use crate::args::{Cli, Verb};
use crate::client::Client;
use crate::error::Result;

pub async fn run(cli: Cli) -> Result<()> {
    let Cli { shared, verb } = cli;
    match verb {
        Verb::Up(up) => up::run(*up).await,
        Verb::Deploy(deploy) => deploy::run(*deploy, &Client::new(&shared)?, shared.json).await,
        Verb::Invoke(invoke) => invoke::run(invoke, &Client::new(&shared)?, shared.json).await,
        Verb::Logs(logs) => logs::run(logs, &Client::new(&shared)?, shared.json).await,
        Verb::List(_) => list::run(&Client::new(&shared)?, shared.json).await,
        Verb::Usage(usage) => usage::run(usage, &Client::new(&shared)?, shared.json).await,
        Verb::Doctor(doctor) => doctor::run(doctor, &Client::new(&shared)?, shared.json).await,
        Verb::Demo(demo) => demo::run(demo, Client::new(&shared)?, shared.json, shared.endpoint.is_some()).await,
    }
}

/// Milliseconds since the epoch, now.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// So long ago, in milliseconds since the epoch; the beginning of time for `None`.
fn since_ms(ago: Option<std::time::Duration>) -> u64 {
    ago.map_or(0, |ago| now_ms().saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)))
}
