//! Dead letters that are sent on: the event as its target would have had it, and why it had not, in message attributes
//! as EventBridge writes them ("Using dead-letter queues to process undelivered events").

use base::{Arn, Event, Terms, Timestamp};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use store::outbox::Waiting;

/// What ended an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The target will not take it.
    Refused,
    /// It had as many attempts as its sender allows.
    Attempts,
    /// It is too old.
    Age,
}

impl Ended {
    /// The reason, for those who read it here.
    pub(crate) fn told(self, attempts: u32, reason: &str) -> String {
        match self {
            Ended::Refused => reason.to_owned(),
            Ended::Attempts => format!("tried {attempts} times; the last: {reason}"),
            Ended::Age => format!("too old after {attempts} attempts; the last: {reason}"),
        }
    }

    fn condition(self) -> Option<&'static str> {
        match self {
            Ended::Refused => None,
            Ended::Attempts => Some("MaximumRetryAttempts"),
            Ended::Age => Some("MaximumEventAgeInSeconds"),
        }
    }
}

/// How an event died.
pub(crate) struct Death<'a> {
    pub reason: &'a str,
    pub ended: Ended,
    /// The target does not exist, or does not let the sender send to it.
    pub denied: bool,
}

/// The letter, for the queue or topic `to`. It has no dead-letter target of its own.
pub(crate) fn letter(id: String, to: &Arn, now: Timestamp, waiting: &Waiting, death: &Death<'_>) -> Event {
    let event = &waiting.event;
    let (payload, attributes) = match event.attributes.get("letter").and_then(Value::as_object) {
        Some(given) => own(event, given.clone()),
        None => (event.payload.clone(), Map::from_iter([("MessageAttributes".into(), told(waiting, death))])),
    };
    Event {
        id,
        target: to.clone(),
        source: event.source.clone(),
        created: now,
        payload,
        attributes,
        terms: Terms {
            origin: Some(event.terms.origin.clone().unwrap_or_else(|| event.id.clone())),
            rule: event.terms.rule.clone(),
            order: event.terms.order.clone(),
            ..Terms::default()
        },
    }
}

/// What the sender wants its letter to be.
fn own(event: &Event, mut attributes: Map<String, Value>) -> (Box<RawValue>, Map<String, Value>) {
    let body = attributes.remove("body").and_then(|body| RawValue::from_string(body.to_string()).ok());
    if body.is_some() {
        attributes.insert("RawBody".into(), true.into());
    }
    (body.unwrap_or_else(|| event.payload.clone()), attributes)
}

/// Why it died, as message attributes.
fn told(waiting: &Waiting, death: &Death<'_>) -> Value {
    let event = &waiting.event;
    let code = match (death.ended, death.denied) {
        (Ended::Refused, true) => "NO_PERMISSIONS",
        (Ended::Refused, false) => "INVALID_TARGET",
        _ => "SDK_CLIENT_ERROR",
    };
    let mut attributes = Map::new();
    let mut say = |name: &str, kind: &str, value: String| {
        attributes.insert(name.to_owned(), json!({"DataType": kind, "StringValue": value}));
    };
    if let Some(rule) = &event.terms.rule {
        say("RULE_ARN", "String", rule.clone());
    }
    say("TARGET_ARN", "String", event.target.to_string());
    say("ERROR_CODE", "String", code.to_owned());
    say("ERROR_MESSAGE", "String", death.reason.to_owned());
    if let Some(condition) = death.ended.condition() {
        say("EXHAUSTED_RETRY_CONDITION", "String", condition.to_owned());
    }
    say("RETRY_ATTEMPTS", "Number", waiting.attempts.to_string());
    Value::Object(attributes)
}
