//! Lines of log on their way to the logs room.

use crate::{Scope, Timestamp};
use serde::{Deserialize, Serialize};

/// One log event: at most 256 KiB of text (CloudWatch Logs' limit less its overhead); longer lines are split by who
/// writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub at: Timestamp,
    pub message: String,
}

/// Lines of one stream, in the order they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogBatch {
    pub scope: Scope,
    /// `/aws/lambda/<name>`; made if it is not there.
    pub group: String,
    /// `2026/11/23/[$LATEST]<32 hex>`; made if it is not there.
    pub stream: String,
    pub lines: Vec<LogLine>,
}
