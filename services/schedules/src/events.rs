//! What a schedule that is due emits: one event for its target.

use crate::model;
use crate::store::{Place, Schedule, Target};
use base::{Arn, Event, Source, Terms, Timestamp};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// EventBridge Scheduler's defaults.
const RETRIES: u32 = 185;
const AGE_S: u32 = 24 * 3600;

/// The event; `None` if the target's ARN is none any more, which the API does not let happen.
pub fn event(place: &Place, schedule: &Schedule, scheduled: Timestamp, now: Timestamp, id: String) -> Option<Event> {
    let arn = model::schedule_arn(&place.scope, &place.group, &place.name);
    let target = &schedule.target;
    let to: Arn = target.arn.parse().ok()?;
    let mut attributes = Map::new();
    if let Some(group) = &target.message_group {
        attributes.insert("MessageGroupId".into(), group.as_str().into());
    }
    let text = payload(place, target, &arn, scheduled, &id);
    let payload = match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => RawValue::from_string(text),
        Err(_) => {
            attributes.insert("RawBody".into(), true.into());
            RawValue::from_string(Value::from(text).to_string())
        }
    };
    Some(Event {
        id: id.clone(),
        target: to,
        // The role of the schedule calls, not a service: nobody's resource policy is asked.
        source: Source { service: None, arn: arn.parse().ok(), account: place.scope.account.as_str().to_owned() },
        created: now,
        payload: payload.ok()?,
        attributes,
        terms: Terms {
            retries_max: Some(target.retries_max.unwrap_or(RETRIES)),
            age_max_s: Some(target.age_max_s.unwrap_or(AGE_S)),
            dead_letter: target.dead_letter.as_deref().and_then(|arn| arn.parse().ok()),
            rule: Some(arn),
            ..Terms::default()
        },
    })
}

/// The target's input with the context attributes filled in; without one, EventBridge's default notice.
fn payload(place: &Place, target: &Target, arn: &str, scheduled: Timestamp, id: &str) -> String {
    let time = seconds(scheduled);
    let whole = |source: &str, detail_type: &str, detail: Value| {
        json!({
            "version": "0", "id": id, "detail-type": detail_type, "source": source,
            "account": place.scope.account.as_str(), "time": time, "region": place.scope.region.as_str(),
            "resources": [arn], "detail": detail,
        })
        .to_string()
    };
    let Some(input) = &target.input else { return whole("aws.scheduler", "Scheduled Event", json!("{}")) };
    let input = input
        .replace("<aws.scheduler.schedule-arn>", arn)
        .replace("<aws.scheduler.scheduled-time>", &time)
        .replace("<aws.scheduler.execution-id>", id)
        .replace("<aws.scheduler.attempt-number>", "1");
    match &target.event {
        Some((detail_type, source)) => {
            let detail = serde_json::from_str(&input).unwrap_or_default();
            whole(source, detail_type, detail)
        }
        None => input,
    }
}

/// ISO 8601 without fractions.
fn seconds(at: Timestamp) -> String {
    let text = at.iso8601();
    format!("{}Z", text.split('.').next().unwrap_or(&text))
}
