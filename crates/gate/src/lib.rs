//! The only listener: listen → parse → authenticate → authorise → dispatch → reply.
//!
//! Read `path.rs` first: the way of one request is its `answer`. Around it: `listen.rs` accepts connections and drains
//! them when the node stops, `transport.rs` and `body.rs` bound what a slow or greedy client can hold, `destination.rs`
//! finds the room or door a request is for, `call.rs` runs an operation of a room, `reply.rs` words the gate's own
//! refusals. The gate keeps no state between requests and holds no lock over them.

mod body;
mod call;
mod destination;
mod health;
mod listen;
mod path;
mod reply;
mod transport;

pub use body::BodyFailure;

use base::port::{Clock, Entropy, Identity};
use room::{Door, Room};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What the gate is made of.
pub struct Parts {
    /// Services with an operation table, each found by the name its requests are signed for.
    pub rooms: Vec<Arc<dyn Room>>,
    /// Services that speak HTTP themselves, asked in this order; the one that takes unsigned requests is the last.
    pub doors: Vec<Arc<dyn Door>>,
    pub identity: Arc<dyn Identity>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub config: Config,
}

/// The bounds on what clients can hold. Each has a default that suits a node on one machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// From the first byte of a request head, or the opening of a connection, to the head's last byte.
    pub header_timeout: Duration,
    /// For every 64 KiB of a request body that the client keeps us waiting for; and for any progress of a reply.
    pub body_stall_timeout: Duration,
    /// Connections open at once; further ones wait in the kernel's backlog.
    pub connections_max: usize,
    /// After `stop`: how long requests in flight may take before they are cut off.
    pub drain_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(20),
            body_stall_timeout: Duration::from_secs(20),
            connections_max: 10_000,
            drain_timeout: Duration::from_secs(20),
        }
    }
}

/// The gate. [`Gate::serve`] may run on several listeners at once.
pub struct Gate {
    rooms: Vec<Arc<dyn Room>>,
    doors: Vec<Arc<dyn Door>>,
    /// Their names, sorted.
    services: Vec<&'static str>,
    identity: Arc<dyn Identity>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    config: Config,
    /// In KiB: what large request bodies may take in memory together.
    buffers: Semaphore,
}

impl Gate {
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { rooms, doors, identity, clock, entropy, config } = parts;
        let mut services: Vec<_> = rooms.iter().map(|r| r.service().name).collect();
        services.extend(doors.iter().filter_map(|d| d.service()));
        services.sort_unstable();
        let health: Arc<dyn Door> = Arc::new(health::Health::new(services.clone(), clock.clone()));
        let doors = std::iter::once(health).chain(doors).collect();
        let buffers = Semaphore::new(call::BUFFERED_BYTES_MAX >> 10);
        Arc::new(Self { rooms, doors, services, identity, clock, entropy, config, buffers })
    }
}

#[cfg(test)]
mod tests;
