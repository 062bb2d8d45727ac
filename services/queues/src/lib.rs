//! The queues room: SQS, standard and FIFO queues, in the JSON and the query protocol.
//!
//! A message is written once, under its queue's *stock* and its place; what a receive changes is a small record beside
//! it (`store.rs`). Which message comes next is known in memory (`shelf.rs`, rebuilt from the store in `stock.rs`), so
//! that senders and receivers never contend for a record. `send.rs`, `receive.rs`, `settle.rs` and `moves.rs` are what
//! happens to messages, `live.rs` the queues in use and who waits for them, `work.rs` what is swept. `model/` holds SQS's
//! rules, `api/` the operations. Other rooms send here through [`base::port::Target`] (`events.rs`) and read through
//! [`base::port::QueueReader`] (`reader.rs`). Why it is so: docs/decisions/0016-queues.md. What it has and lacks:
//! docs/services/queues.md.

mod api;
mod attempts;
mod error;
mod events;
mod live;
mod model;
mod moves;
mod reader;
mod receive;
mod send;
mod settle;
mod shelf;
mod stock;
mod store;
mod tasks;
mod work;

pub use error::Error;

use base::port::{Clock, Entropy};
use live::Lives;
use shelf::Budget;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the room is made of.
pub struct Parts {
    pub store: ::store::Store,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub config: Config,
}

#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of messages kept in memory beside the store, over all queues.
    pub kept_bytes_max: usize,
    /// Receives that may wait for messages at once; further ones are answered at once.
    pub waiting_max: usize,
    /// Messages known ahead of a standard queue's receivers.
    pub window_max: usize,
    /// Of a FIFO queue: how far a receive looks for groups that are not blocked. AWS: 120,000.
    pub fifo_window_max: usize,
    /// From one sweep to the next.
    pub sweep_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kept_bytes_max: 32 << 20,
            waiting_max: 20_000,
            window_max: 2000,
            fifo_window_max: 120_000,
            sweep_interval: Duration::from_secs(60),
        }
    }
}

/// The room.
pub struct Queues {
    store: ::store::Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    config: Config,
    lives: Lives,
    budget: Budget,
    waiting: AtomicUsize,
    /// What goes on when whoever asked for it has gone, and the move tasks.
    running: TaskTracker,
    stopping: CancellationToken,
    this: Weak<Queues>,
}

impl Queues {
    /// Opens the room. [`Queues::work`] is to be run beside it.
    pub fn open(parts: Parts) -> Arc<Self> {
        let Parts { store, clock, entropy, config } = parts;
        Arc::new_cyclic(|this| Self {
            store,
            clock,
            entropy,
            lives: Lives::default(),
            budget: Budget::new(config.kept_bytes_max),
            waiting: AtomicUsize::new(0),
            running: TaskTracker::new(),
            stopping: CancellationToken::new(),
            this: this.clone(),
            config,
        })
    }

    fn now(&self) -> u64 {
        self.clock.now().millis()
    }

    /// Runs to its end what must not stop halfway, also when whoever waits for it goes away.
    async fn whole<T, F>(&self, work: impl FnOnce(Arc<Self>) -> F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let stopped = || Error::Store(::store::Error::Unavailable("the node is stopping".into()));
        let this = self.this.upgrade().ok_or_else(stopped)?;
        self.running.spawn(work(this)).await.unwrap_or_else(|_| Err(stopped()))
    }
}

/// The room with its operations, for the gate.
pub fn room(queues: Arc<Queues>) -> room::TableRoom<Queues> {
    api::table().room(queues)
}

#[cfg(test)]
mod tests;
