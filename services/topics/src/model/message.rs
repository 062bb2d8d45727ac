//! Messages: what may be in them.

use super::shown;
use crate::error::{Error, Result};
use base::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use wire::Blob;

/// Of a message with its attributes, and of all messages of a batch.
pub const BYTES_MAX: usize = 256 << 10;
const SUBJECT_CHARS_MAX: usize = 100;
pub const BATCH_MAX: usize = 10;

/// A message as it was accepted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    pub id: String,
    pub at: Timestamp,
    pub subject: Option<String>,
    pub body: String,
    /// What protocols get that do not get `body`, where the message is one for each.
    pub bodies: BTreeMap<String, String>,
    pub attributes: BTreeMap<String, Attribute>,
    pub group: Option<String>,
    pub dedup: Option<String>,
    pub sequence: Option<u64>,
    pub trace: Option<String>,
    /// The id of the event that it came from.
    pub origin: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// `String`, `String.Array`, `Number` or `Binary`, maybe with a label behind a dot.
    pub kind: String,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    Text(String),
    Bytes(Blob),
}

impl Attribute {
    fn bytes(&self) -> usize {
        let value = match &self.value {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
        };
        self.kind.len() + value
    }
}

impl Message {
    /// What a protocol gets.
    pub fn for_protocol(&self, protocol: &str) -> &str {
        self.bodies.get(protocol).unwrap_or(&self.body)
    }

    /// What counts against the largest size.
    pub fn bytes(&self) -> usize {
        let attributes: usize = self.attributes.iter().map(|(name, a)| name.len() + a.bytes()).sum();
        let bodies: usize = self.bodies.values().map(String::len).sum();
        self.body.len() + bodies + attributes
    }

    /// Is this a message that a topic takes?
    pub fn check(&self) -> Result<()> {
        if self.body.is_empty() {
            return Err(Error::invalid("Empty message"));
        }
        if let Some(subject) = &self.subject {
            check_subject(subject)?;
        }
        self.attributes.iter().try_for_each(|(name, attribute)| check_attribute(name, attribute))?;
        if self.bytes() > BYTES_MAX { Err(Error::invalid("Message too long")) } else { Ok(()) }
    }

    /// Takes `body` apart that is one for each protocol.
    pub fn structured(&mut self) -> Result<()> {
        let failed = || Error::invalid("Message Structure - JSON message body failed to parse");
        let bodies: Map<String, Json> = serde_json::from_str(&self.body).map_err(|_| failed())?;
        let texts = bodies.into_iter().filter_map(|(protocol, body)| Some((protocol, body.as_str()?.to_owned())));
        let mut bodies: BTreeMap<String, String> = texts.collect();
        let default = bodies.remove("default");
        self.body =
            default.ok_or_else(|| Error::invalid("Message Structure - No default entry in JSON message body"))?;
        self.bodies = bodies;
        Ok(())
    }

    /// The attributes as filter policies see them.
    pub fn filterable(&self) -> Json {
        let seen = |attribute: &Attribute| {
            let Value::Text(text) = &attribute.value else { return None };
            match attribute.kind.as_str() {
                "String.Array" => serde_json::from_str(text).ok(),
                kind if kind == "Number" || kind.starts_with("Number.") => Some(number(text)),
                _ => Some(Json::from(text.as_str())),
            }
        };
        self.attributes.iter().filter_map(|(name, a)| Some((name.clone(), seen(a)?))).collect::<Map<_, _>>().into()
    }

    /// The attributes as a queue takes them.
    pub fn for_queue(&self) -> Json {
        let shape = |attribute: &Attribute| match &attribute.value {
            Value::Text(text) => json!({"DataType": attribute.kind, "StringValue": text}),
            Value::Bytes(bytes) => json!({"DataType": attribute.kind, "BinaryValue": bytes}),
        };
        self.attributes.iter().map(|(name, a)| (name.clone(), shape(a))).collect::<Map<_, _>>().into()
    }

    /// The attributes as notifications show them; `None` without any.
    pub fn shown(&self) -> Option<Json> {
        let shape = |attribute: &Attribute| match &attribute.value {
            Value::Text(text) => json!({"Type": attribute.kind, "Value": text}),
            Value::Bytes(bytes) => json!({"Type": attribute.kind, "Value": bytes}),
        };
        let all: Map<_, _> = self.attributes.iter().map(|(name, a)| (name.clone(), shape(a))).collect();
        (!all.is_empty()).then(|| all.into())
    }
}

fn number(text: &str) -> Json {
    serde_json::from_str(text.trim_start_matches('+')).unwrap_or_else(|_| match text.parse::<f64>() {
        Ok(n) => Json::from(n),
        Err(_) => Json::from(text),
    })
}

/// "Must be ASCII text that begins with a letter, number, or punctuation mark", of less than 100 characters or as many.
fn check_subject(subject: &str) -> Result<()> {
    let legal = subject.bytes().all(|b| (b' '..=b'~').contains(&b)) && !subject.starts_with(' ');
    if legal && (1..=SUBJECT_CHARS_MAX).contains(&subject.len()) { Ok(()) } else { Err(Error::invalid("Subject")) }
}

fn check_attribute(name: &str, attribute: &Attribute) -> Result<()> {
    let shown = shown(name);
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let lower = name.to_ascii_lowercase();
    if name.is_empty()
        || name.len() > 256
        || !name.bytes().all(legal)
        || name.starts_with('.')
        || name.ends_with('.')
        || name.contains("..")
        || lower.starts_with("aws.")
        || lower.starts_with("amazon.")
    {
        return Err(Error::Value(format!(
            "Invalid parameter: Message attribute name can only contain upper and lower case letters, digits, \
             underscores, hyphens and full stops: '{shown}'"
        )));
    }
    let (base, label) = attribute.kind.split_once('.').unwrap_or((&attribute.kind, "x"));
    if attribute.kind.is_empty() {
        return Err(Error::Value(format!(
            "The message attribute '{shown}' must contain non-empty message attribute type."
        )));
    }
    if !matches!(base, "String" | "Number" | "Binary") || label.is_empty() || attribute.kind.len() > 256 {
        return Err(Error::Value(format!(
            "The message attribute '{shown}' has an invalid message attribute type, the set of supported type prefixes \
             is Binary, Number, and String."
        )));
    }
    match (base, &attribute.value) {
        ("Binary", Value::Bytes(bytes)) if !bytes.is_empty() => Ok(()),
        ("String", Value::Text(text)) if !text.is_empty() => Ok(()),
        ("Number", Value::Text(text)) if is_number(text) => Ok(()),
        ("Number", Value::Text(text)) if !text.is_empty() => {
            Err(Error::Value(format!("Could not cast message attribute '{shown}' value to number.")))
        }
        ("Binary", Value::Text(text)) if !text.is_empty() => {
            Err(Error::Value(format!("The message attribute '{shown}' with type 'Binary' must use field 'Binary'.")))
        }
        (kind, Value::Bytes(_)) if kind != "Binary" => {
            Err(Error::Value(format!("The message attribute '{shown}' with type '{kind}' must use field 'String'.")))
        }
        (_, _) => Err(Error::Value(format!(
            "The message attribute '{shown}' must contain non-empty message attribute value for message attribute type \
             '{}'.",
            attribute.kind
        ))),
    }
}

fn is_number(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    plain && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// A group's or a deduplication's id.
pub fn check_id(parameter: &str, id: &str) -> Result<()> {
    if (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Error::parameter(
        parameter,
        format!("{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length."),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, kind: &str, value: Value) -> Result<()> {
        let attributes = BTreeMap::from([(name.to_owned(), Attribute { kind: kind.into(), value })]);
        Message { body: "b".into(), attributes, ..Message::default() }.check()
    }

    fn text(value: &str) -> Value {
        Value::Text(value.into())
    }

    #[test]
    fn bodies_and_subjects() {
        let check = |body: String| Message { body, ..Message::default() }.check();
        assert!(check("x".repeat(BYTES_MAX)).is_ok());
        assert_eq!(check(String::new()).expect_err("empty").to_string(), "Invalid parameter: Empty message");
        assert_eq!(
            check("x".repeat(BYTES_MAX + 1)).expect_err("long").to_string(),
            "Invalid parameter: Message too long"
        );
        for (subject, fine) in [("Hi", true), ("", false), (" x", false), ("a\nb", false), ("é", false)] {
            assert_eq!(check_subject(subject).is_ok(), fine, "{subject}");
        }
        assert!(check_subject(&"x".repeat(100)).is_ok() && check_subject(&"x".repeat(101)).is_err());
    }

    #[test]
    fn attributes() {
        for (kind, value) in [("String", "x"), ("String.Array", "[1]"), ("Number", "-1.5e3"), ("Number.int", "7")] {
            assert!(message("a.b-C_9", kind, text(value)).is_ok(), "{kind} {value}");
        }
        assert!(message("n", "Binary.png", Value::Bytes(Blob::from(vec![0]))).is_ok());
        for (name, kind, value) in [
            ("", "String", text("x")),
            ("a b", "String", text("x")),
            (".a", "String", text("x")),
            ("AWS.x", "String", text("x")),
            ("n", "", text("x")),
            ("n", "Text", text("x")),
            ("n", "String", text("")),
            ("n", "Number", text("one")),
            ("n", "Number", text("inf")),
            ("n", "Binary", text("x")),
            ("n", "String", Value::Bytes(Blob::from(vec![0]))),
            ("n", "Binary", Value::Bytes(Blob::default())),
        ] {
            let error = message(name, kind, value).expect_err(name);
            assert_eq!(error.code(), "ParameterValueInvalid", "{name} {kind}");
        }
    }

    #[test]
    fn one_for_each_protocol() {
        let read = |body: &str| {
            let mut message = Message { body: body.into(), ..Message::default() };
            message.structured().map(|()| message)
        };
        let message = read(r#"{"default": "d", "sqs": "q", "http": 7}"#).expect("valid");
        let got: Vec<&str> = ["sqs", "lambda", "http"].iter().map(|p| message.for_protocol(p)).collect();
        assert_eq!(got, ["q", "d", "d"]);
        assert!(read("x").expect_err("no JSON").to_string().ends_with("JSON message body failed to parse"));
        assert!(read(r#"{"sqs": "q"}"#).expect_err("no default").to_string().contains("No default entry"));
    }
}
