//! The contract between the engine and whatever isolates: a driver raises a sandbox and hands over its ends.

use crate::{Error, Exit, Mount, Spec};
use async_trait::async_trait;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Raises sandboxes.
#[async_trait]
pub trait Driver: Send + Sync {
    /// Raises one and returns once its program has been executed. Dropping the future gives the sandbox up.
    async fn raise(&self, spec: Spec) -> Result<Raised, Error>;

    /// Makes an instance of a waiting cell: it sees these mounts too, at places that are there in it, and nothing in it has
    /// any right from then on. Its limits stay what they are. One that fails here is of no use and ends.
    async fn specialise(&self, _cell: &str, _mounts: Vec<Mount>) -> Result<(), Error> {
        Err(Error::NoCopies)
    }

    /// Whether sandboxes can be led out of their own network here; if not, the text says why, and what to do.
    fn leads_out(&self) -> Result<(), String> {
        Err("this driver has no way to".into())
    }

    /// What this machine lets the driver promise, for `wadi doctor` and for the check of a node that others can reach.
    fn promises(&self) -> Vec<Promise>;
}

/// One thing a sandbox is meant to guarantee, and whether it does here.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Promise {
    /// What is promised, in a few words: `memory limit`, `a user of its own`.
    pub name: String,
    pub kept: Kept,
    /// Whether code of strangers needs it: without, one function can see, stop or starve another, or the node.
    pub vital: bool,
    /// What the operator can do to have it kept in full.
    pub remedy: Option<String>,
}

/// Whether a promise is kept on this machine.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    Yes,
    /// In part; the text says what is missing.
    Weaker(String),
    /// Not at all; the text says why.
    No(String),
}

/// A living sandbox. Dropping this does not end it: [`Handle::kill`] does.
#[derive(Debug)]
pub struct Raised {
    pub id: String,
    /// Read end of the pipe that is both standard output and standard error inside. Blocking.
    pub output: OwnedFd,
    /// Read end of a pipe whose write end is descriptor 3 inside (Lambda's `_LAMBDA_TELEMETRY_LOG_FD`). Blocking.
    pub frames: OwnedFd,
    /// In the order of [`Spec::listen`]; non-blocking.
    pub listeners: Vec<std::net::TcpListener>,
    /// Resolves once, when the sandbox has ended and all it had is gone, also when the driver itself fails.
    pub exit: tokio::sync::oneshot::Receiver<Exit>,
    pub handle: Handle,
}

/// What a driver lets others do to one sandbox while it lives. None of these blocks for long.
pub trait Control: Send + Sync {
    /// SIGKILL to the whole sandbox; nothing happens when it has ended.
    fn kill(&self);
    /// The most memory it has used up to now; 0 where that cannot be known.
    fn memory_bytes_peak(&self) -> u64;
    /// Processor time of all its processes up to now; 0 where that cannot be known.
    fn cpu_us(&self) -> u64;
    /// Holds it to its share of a core from now on, where its limits say that it may be.
    fn hold_cpu(&self) {}
    /// Bytes that it has sent out of its own network and received from there, as packets; 0 where it has no way out.
    fn network_bytes(&self) -> u64 {
        0
    }
}

/// A hold on one sandbox that can be copied.
#[derive(Clone)]
pub struct Handle(Arc<dyn Control>);

impl Handle {
    /// For drivers: how their sandboxes are held.
    pub fn new(control: Arc<dyn Control>) -> Self {
        Self(control)
    }

    /// Ends the whole sandbox at once (SIGKILL to all in it). Idempotent; [`Raised::exit`] tells when it is done.
    pub fn kill(&self) {
        self.0.kill();
    }

    /// The most memory the sandbox has used up to now, in bytes; after its end the final figure.
    pub fn memory_bytes_peak(&self) -> u64 {
        self.0.memory_bytes_peak()
    }

    /// Processor time of the sandbox up to now, in microseconds; after its end the final figure.
    pub fn cpu_us(&self) -> u64 {
        self.0.cpu_us()
    }

    /// Holds the sandbox to its share of a core from now on, where its [`crate::Limits`] say that it may be: AWS does so when the
    /// initialisation is over.
    pub fn hold_cpu(&self) {
        self.0.hold_cpu();
    }

    /// Bytes that have gone between the sandbox and the world outside up to now, both ways, the packets' own included;
    /// after its end the final figure.
    pub fn network_bytes(&self) -> u64 {
        self.0.network_bytes()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}
