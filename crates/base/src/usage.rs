//! What a run cost: one record an invocation, from which every bill is made.

use crate::{FunctionRef, Start, Timestamp};
use serde::{Deserialize, Serialize};

/// The usage of one invocation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageRecord {
    pub request_id: String,
    /// `qualifier` is the executed version.
    pub function: FunctionRef,
    pub at: Timestamp,
    /// Handler time, microseconds.
    pub duration_us: u64,
    /// Initialisation time, microseconds; 0 for a warm run.
    pub init_us: u64,
    /// Handler and initialisation time rounded up to the millisecond (AWS bills INIT since 2025-08-01).
    pub billed_ms: u64,
    pub memory_mb: u32,
    /// The instance's peak so far.
    pub max_memory_mb: u32,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Bytes of packets that went between its instance and the world beyond the platform, both ways, since the run before it;
    /// 0 where its network leads nowhere.
    #[serde(default)]
    pub network_bytes: u64,
    pub start: Start,
    /// The `errorType`, when the run failed.
    pub error: Option<String>,
}

impl UsageRecord {
    /// Billed gigabyte-seconds: configured memory times billed duration.
    pub fn gb_seconds(&self) -> f64 {
        f64::from(self.memory_mb) / 1024.0 * self.billed_ms as f64 / 1000.0
    }
}
