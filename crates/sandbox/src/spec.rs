//! What to isolate and how it ended.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A process to raise in a sandbox of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Unique on this node while it lives; `[a-z0-9-]{1,64}`. Names the cgroup and the host's side of /tmp.
    pub id: String,
    /// Program (absolute inside the sandbox) and arguments.
    pub argv: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: BTreeMap<String, String>,
    pub cwd: String,
    /// Besides the system directories that every sandbox has read-only (/usr, /lib, …, a minimal /etc and /dev, /proc).
    pub mounts: Vec<Mount>,
    pub limits: Limits,
    pub network: Network,
    /// Ports on 127.0.0.1 inside the sandbox's network on which the *node* listens, in this order in the reply. With
    /// [`Network::Host`] the ports are ephemeral and only the order counts.
    pub listen: Vec<u16>,
}

/// A directory or file of the host, seen inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: PathBuf,
    /// Absolute; parents are made.
    pub target: PathBuf,
    pub writable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    pub open_files: u64,
    /// The largest file, and so the bound on what one file in /tmp can take.
    pub file_bytes: u64,
    /// Relative weight under contention: 1,024 for one core's worth.
    pub cpu_weight: u64,
}

/// What the sandbox can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// A network of its own with loopback only: it reaches what the node listens on inside it, and nothing else.
    Platform,
    /// The host's network, for development with functions that call the internet.
    Host,
}

/// How a sandbox's main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Exited(i32),
    Signalled(i32),
}

/// The end of a sandbox; everything it had (processes, mounts, cgroup) is gone when this is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub status: Status,
    /// The kernel killed a process of it for passing its memory limit.
    pub out_of_memory: bool,
    /// Peak memory of the whole sandbox.
    pub memory_bytes_peak: u64,
    pub cpu_us: u64,
}
