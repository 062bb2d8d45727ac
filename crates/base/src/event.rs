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
    /// Extra facts for the target (client context, trace header, message attributes). On the way two are read:
    /// `undeliverable` (a text: why it is dead before it is tried) and `letter` (an object: its dead letter is the sender's
    /// affair alone, with these attributes, and `body` as a text in place of the payload, if it is there).
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub attributes: serde_json::Map<String, serde_json::Value>,
    #[serde(default, skip_serializing_if = "Terms::say_nothing")]
    pub terms: Terms,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        let parts = |e: &Self| (e.id.clone(), e.target.clone(), e.source.clone(), e.created, e.terms.clone());
        parts(self) == parts(other) && self.payload.get() == other.payload.get() && self.attributes == other.attributes
    }
}

impl Eq for Event {}

/// What whoever sends an event says of its delivery. The bounds on retries hold for targets without rules of their own
/// ([`crate::port::Target::patient`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Attempts after the first; `None` is as many as the age allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries_max: Option<u32>,
    /// Seconds from its creation to the last attempt; `None` is delivery's own bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_max_s: Option<u32>,
    /// Where it goes when it cannot be delivered, with the reason in its attributes; `None` is Wadi's own dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<Arn>,
    /// The ARN of the rule, schedule or subscription that sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The id of the event that this one passes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Events for the same target with the same text here are tried one after the other, in the order of their creation
    /// and, within a millisecond, of their ids; one that has to wait holds up those behind it. No control characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Who is told what became of it; `None` is nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// Who is told what became of an event: once, when it has left the outbox, by an event of its own. That has `about` for its
/// payload and in its attributes `receipt`, a [`Fate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub to: Arn,
    /// Told when the target has taken it.
    pub taken: bool,
    /// Told when it died.
    pub failed: bool,
    /// What the sender wants to be told with it.
    pub about: serde_json::Value,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fate {
    /// The id of the event.
    pub event: String,
    pub attempts: u32,
    /// When the last attempt began.
    pub tried: Timestamp,
    /// Why its target did not get it; `None` if the target took it, whatever it made of it.
    pub failure: Option<String>,
}

impl Terms {
    pub fn say_nothing(&self) -> bool {
        *self == Self::default()
    }
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
    /// The target cannot take it, now or later; the event goes to its dead-letter target, or to the dead letters, with
    /// this reason.
    Dead {
        reason: String,
    },
    /// The target had taken it, and it is over; `then` is committed with its end. A failure that nothing follows lies in
    /// the dead letters with its reason.
    Over {
        failure: Option<String>,
        then: Vec<Event>,
    },
}
