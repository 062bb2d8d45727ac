//! What a sender is told of an event that has left the outbox, where it asked to be told.

use base::{Event, Fate, Terms, Timestamp};
use serde_json::Map;
use serde_json::value::to_raw_value;
use store::outbox::Waiting;

/// The receipt of an event, if one was asked for; `failure` is why its target did not take it. It has none itself.
pub(crate) fn receipt(
    id: String,
    waiting: &Waiting,
    (tried, now): (Timestamp, Timestamp),
    failure: Option<&str>,
) -> Option<Event> {
    let event = &waiting.event;
    let wanted = event.terms.receipt.as_ref()?;
    if !(if failure.is_some() { wanted.failed } else { wanted.taken }) {
        return None;
    }
    let failure = failure.map(str::to_owned);
    let fate = Fate { event: event.id.clone(), attempts: waiting.attempts + 1, tried, failure };
    Some(Event {
        id,
        target: wanted.to.clone(),
        source: event.source.clone(),
        created: now,
        payload: to_raw_value(&wanted.about).ok()?,
        attributes: Map::from_iter([("receipt".to_owned(), serde_json::to_value(fate).ok()?)]),
        terms: Terms {
            origin: Some(event.terms.origin.clone().unwrap_or_else(|| event.id.clone())),
            rule: event.terms.rule.clone(),
            ..Terms::default()
        },
    })
}
