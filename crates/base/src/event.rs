//! Events on their way: what a room commits together with the change that caused it.

use crate::{Arn, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;

/// Where an event comes from, in the terms a resource policy speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The AWS service principal, e.g. `s3.amazonaws.com`; `None` when an identity invoked the target itself, in which
    /// case the gate has already authorised it.
    pub service: Option<String>,
    /// `aws:SourceArn`, e.g. the bucket's ARN.
    pub arn: Option<Arn>,
    /// `aws:SourceAccount`.
    pub account: String,
}

/// A fact on its way to one target. Committed by `Tx::emit`; gone only after its target said [`Verdict::Done`] or
/// [`Verdict::Dead`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// A UUID; for a function target also the request id of every attempt.
    pub id: String,
    pub target: Arn,
    pub source: Source,
    pub created: Timestamp,
    /// What the target receives: JSON, at most 1 MB.
    pub payload: Box<RawValue>,
    /// Extra facts the target's own room put there (client context, trace header), never interpreted on the way.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub attributes: serde_json::Map<String, serde_json::Value>,
}

/// What a target says of one delivery attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Done,
    /// Try again no sooner than `after`, measured before `time_scale` is applied.
    Retry {
        after: Duration,
        reason: String,
    },
    /// Never try again; the event goes to the dead letters with this reason.
    Dead {
        reason: String,
    },
}
