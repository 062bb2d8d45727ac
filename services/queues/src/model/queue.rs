//! What a queue is: its settings and what follows from them.

use super::attributes::Attributes;
use super::name::Named;
use base::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Messages in flight at once: received, not deleted, and invisible.
pub const IN_FLIGHT_MAX: usize = 120_000;
pub const FIFO_IN_FLIGHT_MAX: usize = 20_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    pub id: u64,
    /// Under which its messages lie since it was created or last purged.
    pub stock: u64,
    pub named: Named,
    pub created: Timestamp,
    pub modified: Timestamp,
    pub purged: Option<Timestamp>,
    pub attributes: Attributes,
    /// The resource policy's document.
    pub policy: Option<Value>,
    pub tags: BTreeMap<String, String>,
}

impl Queue {
    pub fn in_flight_max(&self) -> usize {
        if self.attributes.fifo { FIFO_IN_FLIGHT_MAX } else { IN_FLIGHT_MAX }
    }

    /// The delay that applies to messages already sent: a FIFO queue's alone.
    pub fn late_delay_ms(&self) -> u64 {
        if self.attributes.fifo { u64::from(self.attributes.delay_s) * 1000 } else { 0 }
    }

    /// Messages sent before this are past their retention.
    pub fn expired_before(&self, now: u64) -> u64 {
        now.saturating_sub(u64::from(self.attributes.retention_s) * 1000)
    }
}
