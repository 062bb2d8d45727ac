//! One run of a function: what is asked ([`Invocation`]) and what came of it ([`Outcome`]).

use crate::{Scope, Timestamp};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A function as a caller names it: `qualifier` is a version number, `$LATEST` or an alias; `None` means `$LATEST`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionRef {
    pub scope: Scope,
    pub name: String,
    pub qualifier: Option<String>,
}

/// How the caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// The caller waits for the outcome (`RequestResponse`).
    Wait,
    /// An event, already durable, that delivery runs (`Event`).
    Event,
}

/// A request to run a function once.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub function: FunctionRef,
    /// A UUID; also the request id the handler sees.
    pub request_id: String,
    /// JSON text, at most 6 MB (`Wait`) or 1 MB (`Event`); checked by who accepts it.
    pub payload: Bytes,
    pub mode: Mode,
    /// The raw `X-Amz-Client-Context` JSON, decoded from base64.
    pub client_context: Option<String>,
    /// An `X-Amzn-Trace-Id` to hand on.
    pub trace_id: Option<String>,
}

/// How the run came by its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// It had to be made first.
    Cold,
    /// It was ready, and had never run: a spare, or one of provisioned concurrency.
    Parked,
    /// It had run before.
    Warm,
}

/// The function's own failure, with the JSON body AWS documents for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    /// What `X-Amz-Function-Error` says: AWS's `Unhandled` (its managed runtimes report every error so).
    pub kind: &'static str,
    /// The `errorType`, e.g. `Sandbox.Timedout`, `Runtime.ExitError`, `KeyError`.
    pub error_type: String,
    /// `{"errorMessage":…,"errorType":…,…}`
    pub body: Bytes,
}

/// What came of a run that took place, well or badly.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub request_id: String,
    /// The version that ran, after aliases and weights: `$LATEST` or a number.
    pub executed_version: String,
    /// Which instance ran it (its log stream's id).
    pub instance: String,
    pub result: Result<Bytes, FunctionError>,
    /// The last 4 KB of this run's log.
    pub log_tail: Bytes,
    pub start: Start,
    pub started: Timestamp,
    pub duration_us: u64,
    pub billed_ms: u64,
}

/// The run did not take place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// No such function, version or alias; the text is the resource's ARN.
    #[error("Function not found: {0}")]
    NotFound(String),
    /// Of a function that runs what was published of it, nothing was.
    #[error("The function has no published versions available.")]
    Unpublished,
    /// Over a concurrency limit; `reason` is AWS's `Reason` (`ReservedFunctionConcurrentInvocationLimitExceeded`, …).
    #[error("Rate Exceeded.")]
    Throttled { reason: &'static str },
    /// The function is not in a state to be invoked (`Pending`, `Failed`), with AWS's message.
    #[error("{0}")]
    NotReady(String),
    /// The node is stopping or something of ours failed; safe to try again.
    #[error("{0}")]
    Unavailable(String),
}
