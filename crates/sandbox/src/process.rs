//! The process driver: the node's side of the launcher.

use crate::{Driver, Error, Promise, Raised, Spec};
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::Arc;

/// How to start the launcher.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Our own binary, which calls [`crate::launcher_main`] when its first argument is [`crate::LAUNCHER_ARG`].
    pub program: PathBuf,
    /// A directory of the driver's own (absolute, made if missing) on a disk with room for what functions put in /tmp.
    pub state_dir: PathBuf,
}

/// The process driver. Dropping it ends the launcher and so every sandbox.
pub struct Process {}

impl Process {
    /// Starts the launcher and waits (at most ten seconds) until it is ready; it sweeps what earlier, dead launchers
    /// left behind in `state_dir` and in the cgroups.
    pub fn start(config: ProcessConfig) -> Result<Arc<Self>, Error> {
        let _ = config;
        Err(Error::Start("not there yet".into()))
    }
}

#[async_trait]
impl Driver for Process {
    async fn raise(&self, spec: Spec) -> Result<Raised, Error> {
        let _ = spec;
        Err(Error::LauncherGone)
    }

    fn promises(&self) -> Vec<Promise> {
        Vec::new()
    }
}
