//! CloudEvents 1.0: an event as its JSON format (structured, batch) and its HTTP headers (binary) write it, read strictly.
//!
//! Sources: "CloudEvents - Version 1.0.2", its "JSON Event Format" and "HTTP Protocol Binding".

mod attributes;
mod binary;
mod bus;
mod json;

pub use binary::{Headers, is_binary};
pub use bus::{told, untold};

use base::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

pub const STRUCTURED: &str = "application/cloudevents+json";
pub const BATCH: &str = "application/cloudevents-batch+json";

/// An event. Its attributes are valid, whichever way it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CloudEvent {
    pub id: String,
    pub source: String,
    /// `type`.
    pub kind: String,
    pub subject: Option<String>,
    /// RFC 3339, as given.
    pub time: Option<String>,
    /// `datacontenttype`.
    pub content_type: Option<String>,
    /// `dataschema`.
    pub schema: Option<String>,
    /// Texts, truth values and 32-bit integers, by names of lower-case letters and digits.
    pub extensions: BTreeMap<String, Value>,
    pub data: Data,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Data {
    #[default]
    None,
    Json(Value),
    Text(String),
    /// In base64, as the JSON format writes it.
    Base64(String),
}

/// Why something is not a CloudEvent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

fn invalid(text: impl Into<String>) -> Invalid {
    Invalid(text.into())
}

/// Is this a media type of JSON? None is: "datacontenttype ... defaults to application/json" in the JSON format.
pub fn is_json(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else { return true };
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(kind.as_str(), "application/json" | "text/json") || kind.ends_with("+json")
}

/// The moment that an event's `time` means; none before 1970.
pub fn instant(time: &str) -> Option<Timestamp> {
    let moment: jiff::Timestamp = time.parse().ok()?;
    u64::try_from(moment.as_millisecond()).ok().map(Timestamp)
}

/// Whether a Content-Type header says this media type, with parameters or without.
pub fn is_media(content_type: &str, media: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media)
}

#[cfg(test)]
mod tests;
