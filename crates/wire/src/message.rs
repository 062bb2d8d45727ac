//! Requests and replies on their way between HTTP and a room.

use crate::EventStream;
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::fmt;

/// A request, taken apart by its protocol and found to keep the model's constraints.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// Members by their model names, but for a blob that is the whole HTTP body.
    pub input: Value,
    /// The HTTP body, where the model says that a blob member is the payload; else empty.
    pub payload: Bytes,
}

/// A reply before its protocol has put it together.
#[derive(Debug, Default)]
pub struct Encoded {
    /// Members by their model names, but for a blob that is the whole HTTP body.
    pub output: Value,
    /// The HTTP body, where the model says that a blob member is the payload.
    pub payload: Option<Bytes>,
    /// The HTTP body, where the model says that it is an event stream.
    pub events: Option<EventStream>,
    /// Replaces the model's status (`Invoke`: 200, 202 or 204 by kind).
    pub status: Option<u16>,
}

/// A generated request structure. `set_payload` is a no-op unless the model has a blob payload.
pub trait Input: DeserializeOwned + Send + 'static {
    fn set_payload(&mut self, _payload: Bytes) {}
}

/// A generated reply structure.
pub trait Output: Serialize + Send + 'static {
    fn take_payload(&mut self) -> Option<Bytes> {
        None
    }
    /// `None` unless the model has an event stream.
    fn take_events(&mut self) -> Option<EventStream> {
        None
    }
    /// A reply member bound to the HTTP status code (`statusCode` location), if the model has one.
    fn status(&self) -> Option<u16> {
        None
    }
}

/// The input or output of an operation that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

impl Input for Empty {}
impl Output for Empty {}

/// An error as a client sees it, in any protocol: code, status, message, further members of the error shape. The inner
/// cause is kept apart for the log and never sent.
#[derive(Debug)]
pub struct Fault {
    /// The error's code, e.g. `ResourceNotFoundException`.
    pub code: String,
    pub status: u16,
    pub message: String,
    /// Further members, e.g. `Reason`, `Type`, `retryAfterSeconds`.
    pub members: Map<String, Value>,
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Fault {
    pub fn new(code: impl Into<String>, status: u16, message: impl Into<String>) -> Self {
        Self { code: code.into(), status, message: message.into(), members: Map::new(), cause: None }
    }

    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.status, self.message)
    }
}

impl std::error::Error for Fault {}
