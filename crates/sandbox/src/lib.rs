//! The isolation contract, and the process driver that keeps it: a single-threaded launcher process that raises sandboxes.
//!
//! The node never forks from its own threads. It starts its binary again as the launcher and asks it over a Unix socket.

mod spec;

pub use spec::{Exit, Limits, Mount, Network, Spec, Status};
