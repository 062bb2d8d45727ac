//! Event Grid's rules for events, filters and retries. No IO.

use crate::error::{Error, Result};
use crate::store::{Subscription, Topic};
use base::Timestamp;
use rules::cloudevent::{CloudEvent, Data};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Of a request and of one event.
pub const BYTES_MAX: usize = 1 << 20;
/// Events of a request.
pub const EVENTS_MAX: usize = 5_000;
pub const SUBSCRIPTIONS_MAX: usize = 500;
pub const TOPICS_MAX: usize = 1_000;
const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
/// Seconds before each retry; the last holds for all that follow ("Event Grid message delivery and retry").
const SCHEDULE: [u64; 10] = [10, 30, MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR];

/// The form of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schema {
    #[default]
    EventGridSchema,
    CloudEventSchemaV1_0,
}

/// How long and how often a subscription tries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Retry {
    pub max_delivery_attempts: u32,
    pub event_time_to_live_in_minutes: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_delivery_attempts: 30, event_time_to_live_in_minutes: 1440 }
    }
}

impl Retry {
    pub fn check(&self) -> Result<()> {
        match (self.max_delivery_attempts, self.event_time_to_live_in_minutes) {
            (1..=30, 1..=1440) => Ok(()),
            _ => Err(Error::bad("retryPolicy: maxDeliveryAttempts is 1 to 30, eventTimeToLiveInMinutes is 1 to 1440.")),
        }
    }
}

/// How many events a request has. One: what is retried, and what is dead, is one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Batch {
    pub max_events_per_batch: u32,
    /// Of no consequence for one event.
    pub preferred_batch_size_in_kilobytes: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self { max_events_per_batch: 1, preferred_batch_size_in_kilobytes: 64 }
    }
}

impl Batch {
    pub fn check(&self) -> Result<()> {
        match (self.max_events_per_batch, self.preferred_batch_size_in_kilobytes) {
            (1, 1..=1024) => Ok(()),
            (2..=5000, _) => Err(Error::bad("Wadi does not have output batching: maxEventsPerBatch is 1.")),
            _ => Err(Error::bad("maxEventsPerBatch is 1 to 5000, preferredBatchSizeInKilobytes is 1 to 1024.")),
        }
    }
}

/// How long after `attempt`, which counts from 1, the next follows; no sooner than what the answer's status asks for.
pub fn pause(attempt: u32, status: Option<u16>) -> Duration {
    let scheduled = SCHEDULE[(attempt.max(1) as usize - 1).min(SCHEDULE.len() - 1)];
    let at_least = match status {
        Some(404) => 5 * MINUTE,
        Some(408) => 2 * MINUTE,
        Some(503) => 30,
        _ => 10,
    };
    Duration::from_secs(scheduled.max(at_least))
}

/// "Event Grid doesn't retry" after these.
pub fn is_final(status: u16) -> bool {
    matches!(status, 400 | 401 | 403 | 413)
}

/// Topics' and subscriptions' names.
pub fn check_name(name: &str) -> Result<()> {
    let proper = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match proper && (3..=64).contains(&name.len()) {
        true => Ok(()),
        false => Err(Error::bad(format!("The name {name:?} is not 3 to 64 letters, digits and hyphens."))),
    }
}

/// An event that was published, and its `dataVersion`.
pub struct Published {
    pub event: CloudEvent,
    pub version: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct GridEvent {
    id: String,
    subject: String,
    event_type: String,
    event_time: String,
    #[serde(default)]
    data: Value,
    data_version: Option<String>,
    metadata_version: Option<String>,
    topic: Option<String>,
}

/// Reads one event of the Event Grid schema.
pub fn read(value: Value, topic: &Topic) -> Result<Published> {
    let given: GridEvent = serde_json::from_value(value)
        .map_err(|why| Error::bad(format!("This resource is configured for 'EventGridEvent' schema: {why}.")))?;
    let required = [("id", &given.id), ("subject", &given.subject), ("eventType", &given.event_type)];
    if let Some((name, _)) = required.into_iter().find(|(_, value)| value.is_empty()) {
        return Err(Error::bad(format!("The property {name} of an event is empty.")));
    }
    if given.metadata_version.is_some_and(|version| version != "1") {
        return Err(Error::bad("The metadataVersion of an event is 1, if it is given."));
    }
    if given.topic.is_some_and(|named| !named.is_empty() && named != topic.id) {
        return Err(Error::bad(format!("The topic of an event is {}, if it is given.", topic.id)));
    }
    // A time without a zone, which the schema lets pass, is UTC's.
    let time = [given.event_time.clone(), format!("{}Z", given.event_time)];
    let time = time.into_iter().find(|text| rules::cloudevent::instant(text).is_some());
    let time = time.ok_or_else(|| Error::bad(format!("The eventTime {:?} is not a time.", given.event_time)))?;
    let event = CloudEvent {
        id: given.id,
        source: topic.id.clone(),
        kind: given.event_type,
        subject: Some(given.subject),
        time: Some(time),
        data: if given.data.is_null() { Data::None } else { Data::Json(given.data) },
        ..CloudEvent::default()
    };
    Ok(Published { event, version: given.data_version.unwrap_or_default() })
}

/// The event as a subscription with this schema gets it.
pub fn shaped(published: &Published, topic: &Topic, schema: Schema, now: Timestamp) -> Value {
    let event = &published.event;
    if schema == Schema::CloudEventSchemaV1_0 {
        return event.to_json();
    }
    let data = match &event.data {
        Data::None => Value::Null,
        Data::Json(value) => value.clone(),
        Data::Text(text) | Data::Base64(text) => text.as_str().into(),
    };
    json!({
        "id": event.id,
        "topic": topic.id,
        "subject": event.subject.as_deref().unwrap_or_default(),
        "eventType": event.kind,
        "eventTime": event.time.clone().unwrap_or_else(|| now.iso8601()),
        "data": data,
        "dataVersion": published.version,
        "metadataVersion": "1",
    })
}

/// Why an event was given up, as dead letters say it.
pub struct Death {
    pub reason: &'static str,
    pub outcome: String,
    pub attempts: u32,
}

/// A dead letter: the event with what became of it ("Dead-letter events").
pub fn letter(event: &Value, death: &Death, published: Timestamp, now: Timestamp) -> Value {
    let mut letter: Map<String, Value> = event.as_object().cloned().unwrap_or_default();
    let told = json!({
        "deadLetterReason": death.reason,
        "deliveryAttempts": death.attempts,
        "lastDeliveryOutcome": death.outcome,
        "publishTime": published.iso8601(),
        "lastDeliveryAttemptTime": now.iso8601(),
    });
    letter.extend(told.as_object().cloned().unwrap_or_default());
    json!([letter])
}

/// Where a dead letter lies in its bucket: `<topic>/<subscription>/YYYY/M/D/H/<random UUID>.json`.
pub fn letter_key(topic: &str, subscription: &Subscription, now: Timestamp, id: &str) -> String {
    let (year, month, day, hour, ..) = now.civil();
    let place = format!("{topic}/{}", subscription.name).to_uppercase();
    format!("{place}/{year}/{month}/{day}/{hour}/{id}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_come_as_the_schedule_says() {
        let minutes: Vec<u64> = (1..=12).map(|n| pause(n, None).as_secs()).collect();
        assert_eq!(minutes, [10, 30, 60, 300, 600, 1800, 3600, 10_800, 21_600, 43_200, 43_200, 43_200]);
        assert_eq!([404, 408, 503, 500].map(|s| pause(1, Some(s)).as_secs()), [300, 120, 30, 10]);
    }
}
