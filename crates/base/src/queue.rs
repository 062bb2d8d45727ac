//! Messages of queues, as those who read a queue for others see them.

use std::collections::BTreeMap;
use std::time::Duration;

/// A message that was received and is now in flight.
#[derive(Clone, Debug, PartialEq)]
pub struct QueuedMessage {
    pub id: String,
    /// By which it is deleted or given back.
    pub handle: String,
    pub body: String,
    pub body_md5: String,
    /// `SentTimestamp`, `ApproximateReceiveCount`, …
    pub attributes: BTreeMap<String, String>,
    /// The sender's own, each as a function's event has it: `stringValue` or `binaryValue` (base64), `dataType`, ….
    pub message_attributes: serde_json::Map<String, serde_json::Value>,
    pub message_attributes_md5: Option<String>,
}

/// What a reader has to know of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFacts {
    pub fifo: bool,
    /// How long received messages are invisible.
    pub visibility: Duration,
    /// Has it a dead-letter queue of its own, for what was received too often?
    pub redrives: bool,
}

/// Why a queue could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    #[error("The specified queue does not exist.")]
    NoSuchQueue,
    /// Safe to try again.
    #[error("{0}")]
    Unavailable(String),
}
