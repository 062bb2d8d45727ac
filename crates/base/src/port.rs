//! The traits by which parts of Wadi meet. Only `node` knows who implements which.

use crate::{Arn, Caller, Event, FunctionActivity, Scope, Source, Timestamp, UsageRecord, Verdict, log::LogBatch};
use crate::{QueueError, QueueFacts, QueuedMessage};
use async_trait::async_trait;
use bytes::Bytes;
use std::time::Duration;

/// Time comes in through here, so that a test can hold it still or run a day in a millisecond.
#[async_trait]
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary start that never goes back.
    fn elapsed(&self) -> Duration;
    async fn sleep(&self, for_: Duration);
}

/// Randomness comes in through here, so that a run can be repeated from a seed.
pub trait Entropy: Send + Sync {
    fn fill(&self, into: &mut [u8]);

    fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A random (version 4) UUID in its usual lower-case form.
    fn uuid(&self) -> String {
        let mut b = [0; 16];
        self.fill(&mut b);
        b[6] = b[6] & 0x0f | 0x40;
        b[8] = b[8] & 0x3f | 0x80;
        let hex: String = b.iter().map(|x| format!("{x:02x}")).collect();
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

/// How much memory the machine has for more function instances.
pub trait Headroom: Send + Sync {
    /// Bytes, beyond what the node keeps for itself and the machine; `None` is no bound that can be seen.
    fn bytes(&self) -> Option<u64>;
}

/// A secret key and whose it is.
#[derive(Clone)]
pub struct Credential {
    pub secret_key: String,
    pub account: crate::AccountId,
    /// The identity's ARN.
    pub principal: String,
}

/// Keys handed to a function instance.
#[derive(Clone)]
pub struct TemporaryKeys {
    pub access_key: String,
    pub secret_key: String,
    pub session_token: String,
    pub expires: Timestamp,
}

/// What a request wants to do to what, in IAM's words: `lambda:CreateFunction` on an ARN (or `*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    pub action: String,
    pub resource: String,
}

/// The caller may not; the text says who wanted what, as AWS words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);

/// Who is behind an access key, and what they may do. The gate asks before any room runs.
#[async_trait]
pub trait Identity: Send + Sync {
    /// The secret of an access key (with the session token the request carried, if any), or `None` if there is no such
    /// key, it has expired, or the token is not its own.
    async fn credential(&self, access_key: &str, session_token: Option<&str>) -> Option<Credential>;
    async fn authorise(&self, caller: &Caller, access: &Access) -> Result<(), Denied>;
    /// Short-lived keys for a function instance running as `role`.
    fn issue(&self, account: &crate::AccountId, role: &str, session: &str, lifetime: Duration) -> TemporaryKeys;
}

/// Where log lines go. Waits when the room is behind, so that a flood slows its writer and is never lost silently.
#[async_trait]
pub trait LogSink: Send + Sync {
    async fn append(&self, batch: LogBatch);
}

/// Where usage goes. Waits when the room is behind.
#[async_trait]
pub trait Meter: Send + Sync {
    async fn record(&self, usage: UsageRecord);
}

/// What functions do at the moment. Cheap: people ask for it once a second.
pub trait Activity: Send + Sync {
    /// The functions of a scope that have an instance, wait for one or were called within the last minute.
    fn of(&self, scope: &Scope) -> Vec<FunctionActivity>;
}

/// Something events can be sent to. One implementation a service; [`Targets`] finds it by the ARN.
#[async_trait]
pub trait Target: Send + Sync {
    /// Does the target exist and does its resource policy let `from` send to it? The text says why not, as AWS words it.
    async fn accepts(&self, target: &Arn, from: &Source) -> Result<(), Denied>;
    /// One attempt; `attempt` counts from 1.
    async fn deliver(&self, event: &Event, attempt: u32) -> Verdict;
    /// Does the target itself decide how often and how long an event is tried, as functions do? Else the event's terms
    /// hold.
    fn patient(&self, _target: &Arn) -> bool {
        false
    }
}

/// All targets, by the service in an ARN. Filled by `node` once, after the rooms exist.
pub trait Targets: Send + Sync {
    fn find(&self, target: &Arn) -> Option<&dyn Target>;
}

/// Reads queues for other rooms (messages for a function).
#[async_trait]
pub trait QueueReader: Send + Sync {
    async fn facts(&self, queue: &Arn) -> Result<QueueFacts, QueueError>;
    /// Up to `max` messages (at most 10), which are then in flight; waits for the first up to `wait`, or (`None`) for as
    /// long as it takes. A wait costs nothing. Safe to cancel: what was received then comes back in its time.
    async fn receive(&self, queue: &Arn, max: usize, wait: Option<Duration>) -> Result<Vec<QueuedMessage>, QueueError>;
    /// Deletes messages in flight; one that no longer is stays as it is.
    async fn delete(&self, queue: &Arn, handles: Vec<String>) -> Result<(), QueueError>;
    /// Makes messages in flight visible again `after` now; one that no longer is in flight stays as it is.
    async fn give_back(&self, queue: &Arn, handles: Vec<String>, after: Duration) -> Result<(), QueueError>;
}

/// Why an object could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("The specified bucket does not exist")]
    NoSuchBucket,
    #[error("The specified key does not exist.")]
    NoSuchKey,
    #[error("the object is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("{0}")]
    Unavailable(String),
}

/// Reads whole objects for other rooms (a function's code from a bucket).
#[async_trait]
pub trait ObjectReader: Send + Sync {
    /// The object's bytes; refuses one larger than `limit`.
    async fn read(&self, account: &crate::AccountId, bucket: &str, key: &str, limit: u64) -> Result<Bytes, ReadError>;
}

/// Why an HTTP request had no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("{0} may not be reached from this node")]
    Forbidden(String),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("{0}")]
    Failed(String),
}

/// Sends HTTP for rooms (API destinations, webhooks, subscriptions).
#[async_trait]
pub trait Courier: Send + Sync {
    /// The answer, whatever its status, with the first 64 KiB of its body. The URI is absolute, `http` or `https`;
    /// `timeout` is for all of it. Redirects are not followed.
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Bytes>, SendError>;
}
