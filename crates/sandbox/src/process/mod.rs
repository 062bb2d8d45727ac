//! The process driver: the node's side of the launcher.
//!
//! A thread of its own starts the launcher, talks to it, and outlives it: the kernel ends the launcher when the thread
//! that started it ends, so that thread must be no passing worker of a runtime. Calls leave a packet in a queue and
//! wait for the reply.

mod link;
mod names;

use crate::{Driver, Error, Mount, Promise, Raised, Spec, protocol};
use async_trait::async_trait;
use base::network::Policy;
use base::port::Entropy;
use link::Shared;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the launcher may take to be ready.
const READY_MAX: Duration = Duration::from_secs(10);

/// How often a sandbox is tried that somebody kills while it is made, or whose launcher dies. Nothing of the last try is
/// left then; one that ends every launcher must not do so for ever.
const RAISES_MAX: usize = 3;

/// How to start the launcher.
#[derive(Clone)]
pub struct ProcessConfig {
    /// Our own binary, which calls [`crate::launcher_main`] when its first argument is [`crate::LAUNCHER_ARG`].
    pub program: PathBuf,
    /// A directory of the driver's own (absolute, made if missing, one node's at a time) on a disk with room for what
    /// functions put in /tmp.
    pub state_dir: PathBuf,
    /// `None` where no sandbox is to be led out of its network; with it what makes questions for names hard to guess.
    pub egress: Option<(Egress, Arc<dyn Entropy>)>,
}

/// The networks that lead out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Egress {
    /// The program `nft`, if this machine has it.
    pub nft: Option<PathBuf>,
    /// By the names of [`crate::Network::Out`].
    pub networks: BTreeMap<String, Policy>,
}

/// The process driver. Dropping it is [`Process::stop`].
pub struct Process {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Process {
    /// Starts the launcher and waits (at most ten seconds) until it is ready; it sweeps what earlier, dead launchers
    /// left behind in `state_dir` and in the cgroups. Blocks.
    pub fn start(config: ProcessConfig) -> Result<Arc<Self>, Error> {
        let refused = |error: &dyn std::fmt::Display| Error::Start(error.to_string());
        let shared = Arc::new(Shared::new().map_err(|error| refused(&error))?);
        let (ready, first) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("sandbox-launcher".into()).spawn({
            let shared = shared.clone();
            move || link::run(&shared, &config, &ready)
        });
        let process = Self { shared, thread: Mutex::new(Some(thread.map_err(|error| refused(&error))?)) };
        match first.recv_timeout(READY_MAX) {
            Ok(result) => result.map(|()| Arc::new(process)),
            Err(_) => Err(Error::Start(format!("not ready after {} seconds", READY_MAX.as_secs()))),
        }
    }
}

impl Process {
    /// Ends the launcher and so every sandbox, and waits until both have cleared away what they had. Blocks, for seconds
    /// at most; calls after it are refused.
    pub fn stop(&self) {
        self.shared.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Process {
    async fn raise_once(&self, id: &str, spec: Spec) -> Result<Raised, Error> {
        spec.check()?;
        let reply = self.shared.ask(id, spec.listen.len(), |seq| {
            protocol::packet(&protocol::Request::Raise { seq, spec }).map_err(Error::Invalid)
        })?;
        reply.await.map_err(|_| Error::LauncherGone)?
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

#[async_trait]
impl Driver for Process {
    async fn raise(&self, spec: Spec) -> Result<Raised, Error> {
        let id = spec.id.clone();
        let mut tried = 1;
        loop {
            // What is left of the last try may still be on its way out under its id.
            let spec = match tried {
                1 => spec.clone(),
                _ => Spec { id: format!("{id}-{tried}"), ..spec.clone() },
            };
            match self.raise_once(&id, spec).await {
                Err(error) if tried < RAISES_MAX && error.may_pass() && !self.shared.is_stopping() => tried += 1,
                other => return other,
            }
        }
    }

    async fn specialise(&self, cell: &str, mounts: Vec<Mount>) -> Result<(), Error> {
        let request = |seq| protocol::Request::Specialise { seq, cell: cell.to_owned(), mounts };
        let reply = self.shared.specialise(|seq| protocol::packet(&request(seq)).map_err(Error::Invalid))?;
        reply.await.map_err(|_| Error::LauncherGone)?
    }

    fn leads_out(&self) -> Result<(), String> {
        self.shared.leads_out()
    }

    fn promises(&self) -> Vec<Promise> {
        self.shared.promises()
    }
}
