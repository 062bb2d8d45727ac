//! A CloudEvent as an event of a bus, and back.
//!
//! | CloudEvent | event |
//! |---|---|
//! | `id`, `source`, `type` | `id`, `source`, `detail-type` |
//! | `time` | `time`, in UTC, without fractions |
//! | `subject` | the one of `resources` |
//! | `data`, if it is an object | `detail` |
//! | other `data` | `detail.data`, or `detail.data_base64` |
//! | all optional attributes | `cloudevent`, where rules may match them |

use super::{CloudEvent, Data, Invalid, instant, is_json};
use base::{Scope, Timestamp};
use serde_json::{Map, Value, json};

/// Where an event has what a CloudEvent said beyond it.
const REST: &str = "cloudevent";
/// Within it: which member of `detail` is the data. No attribute has capital letters.
const DATA_IN: &str = "dataIn";

/// The event that a CloudEvent tells a bus of `scope`; one that has no time happened `now`.
pub fn told(event: CloudEvent, scope: &Scope, now: Timestamp) -> Value {
    let mut rest: Map<String, Value> = event.optional().map(|(name, value)| (name.to_owned(), value)).collect();
    let (detail, wrapped) = match event.data {
        Data::Json(Value::Object(object)) => (Value::Object(object), None),
        Data::None => (json!({}), None),
        Data::Json(value) => (json!({ "data": value }), Some("data")),
        Data::Text(text) => (json!({ "data": text }), Some("data")),
        Data::Base64(text) => (json!({ "data_base64": text }), Some("data_base64")),
    };
    if let Some(member) = wrapped {
        rest.insert(DATA_IN.into(), member.into());
    }
    let time = event.time.as_deref().and_then(instant).unwrap_or(now).iso8601();
    json!({
        "version": "0",
        "id": event.id,
        "detail-type": event.kind,
        "source": event.source,
        "account": scope.account.as_str(),
        "time": format!("{}Z", time.split('.').next().unwrap_or(&time)),
        "region": scope.region.as_str(),
        "resources": event.subject.into_iter().collect::<Vec<_>>(),
        "detail": detail,
        REST: rest,
    })
}

/// The CloudEvent of a bus's event; `None` if the value is no event.
pub fn untold(value: &Value) -> Option<Result<CloudEvent, Invalid>> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let (id, source, kind, detail) = (text("id")?, text("source")?, text("detail-type")?, value.get("detail")?);
    let mut event = CloudEvent { id: id.into(), source: source.into(), kind: kind.into(), ..CloudEvent::default() };
    let rest = value.get(REST).and_then(Value::as_object);
    match rest {
        Some(rest) => {
            for (name, value) in rest.iter().filter(|(name, _)| *name != DATA_IN) {
                if let Err(why) = event.restore(name, value) {
                    return Some(Err(why));
                }
            }
        }
        None => {
            event.time = text("time").map(str::to_owned);
            event.subject = value["resources"].get(0).and_then(Value::as_str).map(str::to_owned);
            event.content_type = Some("application/json".into());
        }
    }
    let member = rest.and_then(|rest| rest.get(DATA_IN)).and_then(Value::as_str);
    event.data = match (member, member.and_then(|member| detail.get(member))) {
        (Some("data_base64"), Some(Value::String(text))) => Data::Base64(text.clone()),
        (Some("data"), Some(Value::String(text))) if !is_json(event.content_type.as_deref()) => {
            Data::Text(text.clone())
        }
        (Some("data"), Some(data)) => Data::Json(data.clone()),
        _ if rest.is_some() && detail.as_object().is_some_and(Map::is_empty) => Data::None,
        _ => Data::Json(detail.clone()),
    };
    Some(Ok(event))
}
