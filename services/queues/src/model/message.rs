//! Messages: what may be in them.

use super::attributes::{Attributes, MESSAGE_BYTES_MAX};
use super::name::shown;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::Blob;

const ATTRIBUTES_MAX: usize = 10;

/// A message as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub head: Head,
    pub body: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub id: String,
    /// Milliseconds.
    pub sent: u64,
    pub sender: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<String>,
    /// `AWSTraceHeader`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Attribute>,
    /// The ARN of the queue from which it came to this one, a dead-letter queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How often it was received there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub receives: u32,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// `String`, `Number` or `Binary`, maybe with a label behind a dot.
    #[serde(rename = "t")]
    pub kind: String,
    #[serde(rename = "v")]
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    #[serde(rename = "s")]
    Text(String),
    #[serde(rename = "b")]
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
    /// What counts against the largest size.
    pub fn bytes(&self) -> usize {
        let attributes = self.head.attributes.iter().map(|(name, a)| name.len() + a.bytes());
        self.body.len() + attributes.sum::<usize>()
    }

    /// Is this a message that the queue takes?
    pub fn check(&self, queue: &Attributes) -> Result<()> {
        if self.body.is_empty() {
            return Err(Error::Missing("MessageBody".into()));
        }
        if !self.body.chars().all(is_legal) {
            return Err(Error::Contents);
        }
        check_attributes(&self.head.attributes)?;
        if self.bytes() > queue.message_bytes_max as usize {
            return Err(Error::Invalid(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {} bytes.",
                queue.message_bytes_max
            )));
        }
        Ok(())
    }
}

/// The most bytes of all messages of a batch.
pub const BATCH_BYTES_MAX: usize = MESSAGE_BYTES_MAX as usize;

fn is_legal(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn check_attributes(attributes: &BTreeMap<String, Attribute>) -> Result<()> {
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(Error::Invalid(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].",
            attributes.len()
        )));
    }
    attributes.iter().try_for_each(|(name, attribute)| check_attribute(name, attribute))
}

fn check_attribute(name: &str, attribute: &Attribute) -> Result<()> {
    let shown = shown(name);
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if !name.bytes().all(legal)
        || name.starts_with('.')
        || name.ends_with('.')
        || name.contains("..")
        || name.is_empty()
    {
        return Err(Error::Invalid(
            "Message (user) attribute name can only contain upper and lower case letters, \
             digits, underscores, hyphens and full stops, which neither begin nor end it nor follow each other."
                .into(),
        ));
    }
    let lower = name.to_ascii_lowercase();
    if name.len() > 256 || lower.starts_with("aws.") || lower.starts_with("amazon.") {
        return Err(Error::Invalid(format!(
            "The message attribute name '{shown}' is invalid: it has more than 256 characters or a reserved prefix."
        )));
    }
    let (base, label) = attribute.kind.split_once('.').unwrap_or((&attribute.kind, "x"));
    if attribute.kind.is_empty() {
        return Err(Error::Invalid(format!(
            "The message attribute '{shown}' must contain non-empty message attribute type."
        )));
    }
    if !matches!(base, "String" | "Number" | "Binary") || label.is_empty() || attribute.kind.len() > 256 {
        return Err(Error::Invalid(format!(
            "The message attribute '{shown}' has an invalid message attribute type, the set of supported type \
             prefixes is Binary, Number, and String."
        )));
    }
    match (base, &attribute.value) {
        ("Binary", Value::Bytes(bytes)) if !bytes.is_empty() => Ok(()),
        ("String", Value::Text(text)) if !text.is_empty() && !text.chars().all(is_legal) => Err(Error::Contents),
        ("String", Value::Text(text)) if !text.is_empty() => Ok(()),
        ("Number", Value::Text(text)) if is_number(text) => Ok(()),
        ("Number", Value::Text(text)) if !text.is_empty() => {
            Err(Error::Invalid(format!("Can't cast the value of message (user) attribute '{shown}' to a number.")))
        }
        (kind, _) => Err(Error::Invalid(format!(
            "The message attribute '{shown}' must contain a non-empty message attribute value for message attribute \
             type '{kind}'."
        ))),
    }
}

/// Up to 38 digits, with a sign, a point and an exponent.
fn is_number(text: &str) -> bool {
    let digits = text.bytes().take_while(|b| !matches!(b, b'e' | b'E')).filter(u8::is_ascii_digit).count();
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    plain && (1..=38).contains(&digits) && text.parse::<f64>().is_ok_and(|n| n.abs() <= 1e126)
}

/// A deduplication or group id, or that of a receive attempt.
pub fn check_id(parameter: &str, id: &str) -> Result<()> {
    if (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Error::invalid(
        shown(id),
        parameter,
        &format!("{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length."),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str, name: &str, kind: &str, value: Value) -> Result<()> {
        let attributes = BTreeMap::from([(name.to_owned(), Attribute { kind: kind.into(), value })]);
        let head = Head { attributes, ..Head::default() };
        Message { head, body: body.into() }.check(&Attributes::new(false))
    }

    fn text(value: &str) -> Value {
        Value::Text(value.into())
    }

    #[test]
    fn bodies() {
        let check = |body: &str| Message { head: Head::default(), body: body.into() }.check(&Attributes::new(false));
        assert!(check("a\t\r\n é 😀").is_ok());
        assert!(matches!(check(""), Err(Error::Missing(_))));
        for bad in ["\u{0}", "a\u{b}", "\u{ffff}"] {
            assert!(matches!(check(bad), Err(Error::Contents)), "{bad:?}");
        }
        assert!(check(&"x".repeat(1 << 20)).is_ok());
        let error = check(&"x".repeat((1 << 20) + 1)).expect_err("too long");
        assert!(error.to_string().ends_with("Message must be shorter than 1048576 bytes."));
        assert!(message(&"x".repeat((1 << 20) - 8), "n", "String", text("v")).is_ok());
        assert!(message(&"x".repeat((1 << 20) - 7), "n", "String", text("v")).is_err());
    }

    #[test]
    fn attributes() {
        for (kind, value) in [("String", "x"), ("String.label", "x"), ("Number", "-1.5e3"), ("Number.int", "7")] {
            assert!(message("b", "a.b-C_9", kind, text(value)).is_ok(), "{kind} {value}");
        }
        assert!(message("b", "n", "Binary.png", Value::Bytes(Blob::from(vec![0]))).is_ok());
        for (name, kind, value) in [
            ("", "String", text("x")),
            ("a b", "String", text("x")),
            (".a", "String", text("x")),
            ("a..b", "String", text("x")),
            ("AWS.x", "String", text("x")),
            ("n", "", text("x")),
            ("n", "Text", text("x")),
            ("n", "String.", text("x")),
            ("n", "String", text("")),
            ("n", "Number", text("one")),
            ("n", "Number", text("inf")),
            ("n", "Binary", text("x")),
            ("n", "String", Value::Bytes(Blob::from(vec![0]))),
            ("n", "Binary", Value::Bytes(Blob::default())),
        ] {
            assert!(message("b", name, kind, value).is_err(), "{name} {kind}");
        }
    }

    #[test]
    fn ids() {
        assert!(check_id("MessageGroupId", "a!~0").is_ok());
        for bad in ["", "a b", "é", &"x".repeat(129)] {
            assert!(check_id("MessageGroupId", bad).is_err(), "{bad}");
        }
    }
}
