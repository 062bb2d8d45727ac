//! The JSON event format: one event, or a batch of them.

use super::{CloudEvent, Data, Invalid, invalid, is_json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

impl CloudEvent {
    /// # Errors
    /// It is not a CloudEvent: the text says why.
    pub fn from_json(value: Value) -> Result<Self, Invalid> {
        let Value::Object(members) = value else { return Err(invalid("the event is not a JSON object")) };
        if !members.contains_key("specversion") {
            return Err(invalid("the attribute specversion is missing"));
        }
        let (mut event, mut data, mut base64) = (Self::default(), None, None);
        for (name, value) in members {
            match name.as_str() {
                "data" => data = Some(value),
                "data_base64" => base64 = Some(value),
                // "Unset attributes MAY be encoded ... with the JSON value of null".
                _ if value.is_null() => {}
                _ => event.set(&name, value, true)?,
            }
        }
        event.data = match (data, base64) {
            (Some(_), Some(_)) => return Err(invalid("the event has both data and data_base64")),
            (None, None) => Data::None,
            (None, Some(Value::String(text))) if STANDARD.decode(&text).is_ok() => Data::Base64(text),
            (None, Some(_)) => return Err(invalid("data_base64 is not base64")),
            (Some(Value::String(text)), None) if !is_json(event.content_type.as_deref()) => Data::Text(text),
            (Some(value), None) => Data::Json(value),
        };
        event.whole()
    }

    /// The batch format: an array of events.
    ///
    /// # Errors
    /// It is no array, there are more than `max` in it, or one of them is not a CloudEvent.
    pub fn batch(value: Value, max: usize) -> Result<Vec<Self>, Invalid> {
        let Value::Array(items) = value else { return Err(invalid("the batch is not a JSON array")) };
        if items.len() > max {
            return Err(invalid(format!("there are more than {max} events in the batch")));
        }
        let one = |(i, item)| Self::from_json(item).map_err(|why| invalid(format!("event {i}: {why}")));
        items.into_iter().enumerate().map(one).collect()
    }

    pub fn to_json(&self) -> Value {
        let mut members = Map::new();
        let required = [("specversion", "1.0"), ("id", &self.id), ("source", &self.source), ("type", &self.kind)];
        members.extend(required.map(|(name, text)| (name.to_owned(), Value::from(text))));
        members.extend(self.optional().map(|(name, value)| (name.to_owned(), value)));
        match &self.data {
            Data::None => {}
            Data::Json(value) => drop(members.insert("data".into(), value.clone())),
            Data::Text(text) => drop(members.insert("data".into(), text.as_str().into())),
            Data::Base64(text) => drop(members.insert("data_base64".into(), text.as_str().into())),
        }
        Value::Object(members)
    }
}
