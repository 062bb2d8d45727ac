//! The isolation contract, and the process driver that keeps it: a single-threaded launcher that raises sandboxes.
//!
//! The node never forks from its own threads. [`Process`] starts our own binary again as the launcher
//! ([`launcher_main`]) and asks it over a Unix socket; descriptors (output, listeners, a pidfd) come with the reply.
//! Everything the launcher raised dies with it, and it dies with the node.
//!
//! What strangers made is taken apart by processes of our own as well, which are no sandboxes: `errands`.
//!
//! `driver` is the contract (other drivers implement it too), `component` that for WebAssembly, which another crate keeps;
//! `process` is the node's side; `protocol` what the two sides say to each other; `launcher` the other side, where all the
//! privileged work happens.

mod component;
mod driver;
pub mod errands;
mod error;
mod launcher;
mod process;
mod protocol;
mod runtime;
mod spec;

pub use component::{
    Beyond, Component, ComponentError, ComponentRun, Components, Ended, Fault, HttpBody, Inside, MachineCode, Output,
    World,
};
pub use driver::{Control, Driver, Handle, Kept, Promise, Raised};
pub use error::Error;
pub use launcher::launcher_main;
pub use process::{Egress, Process, ProcessConfig};
pub use runtime::Runtime;
pub use spec::{Exit, IMAGE_DIRECTORIES, Limits, Mount, Network, Program, Role, Spec, Status};

/// The first argument that makes our binary the launcher instead of anything else.
pub const LAUNCHER_ARG: &str = "sandbox-launcher";
