//! The binary content mode: attributes in `ce-` headers, the data as the body.

use super::{CloudEvent, Data, Invalid, invalid, is_json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

const PREFIX: &str = "ce-";

/// Header names, in lower case, and their values.
pub type Headers = Vec<(String, String)>;

/// Is a request with these headers an event in binary mode?
pub fn is_binary<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    names.any(|name| name.eq_ignore_ascii_case("ce-specversion"))
}

impl CloudEvent {
    /// `headers` with names in any case; `body` is the data.
    ///
    /// # Errors
    /// It is not a CloudEvent: the text says why.
    pub fn from_binary<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>, body: &[u8]) -> Result<Self, Invalid> {
        let (mut event, mut versioned) = (Self::default(), false);
        let mut seen = std::collections::BTreeSet::new();
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            let attribute = match name.strip_prefix(PREFIX) {
                Some("datacontenttype") => return Err(invalid("ce-datacontenttype is Content-Type's to say")),
                Some(attribute) => attribute,
                None if name == "content-type" => "datacontenttype",
                None => continue,
            };
            if !seen.insert(attribute.to_owned()) {
                return Err(invalid(format!("the attribute {attribute} is there twice")));
            }
            versioned |= attribute == "specversion";
            let text = decoded(value).ok_or_else(|| invalid(format!("the attribute {attribute} is not UTF-8")))?;
            event.set(attribute, Value::String(text), false)?;
        }
        if !versioned {
            return Err(invalid("the attribute specversion is missing"));
        }
        event.data = data(event.content_type.as_deref(), body)?;
        event.whole()
    }

    /// Headers (without Content-Type where the event does not say it) and body.
    pub fn to_binary(&self) -> (Headers, Vec<u8>) {
        let mut headers = vec![(format!("{PREFIX}specversion"), "1.0".to_owned())];
        let mut say = |name: &str, text: &str| headers.push((format!("{PREFIX}{name}"), encoded(text)));
        say("id", &self.id);
        say("source", &self.source);
        say("type", &self.kind);
        for (name, value) in self.optional().filter(|(name, _)| *name != "datacontenttype") {
            match value {
                Value::String(text) => say(name, &text),
                other => say(name, &other.to_string()),
            }
        }
        let body = match &self.data {
            Data::None => Vec::new(),
            Data::Json(value) => value.to_string().into_bytes(),
            Data::Text(text) => text.clone().into_bytes(),
            Data::Base64(text) => STANDARD.decode(text).unwrap_or_default(),
        };
        let kind = match (&self.content_type, &self.data) {
            (Some(kind), _) => Some(kind.clone()),
            (None, Data::Json(_)) => Some("application/json".to_owned()),
            (None, _) => None,
        };
        headers.extend(kind.map(|kind| ("content-type".to_owned(), kind)));
        (headers, body)
    }
}

fn data(content_type: Option<&str>, body: &[u8]) -> Result<Data, Invalid> {
    if body.is_empty() {
        return Ok(Data::None);
    }
    if content_type.is_some() && is_json(content_type) {
        let value = serde_json::from_slice(body);
        return value.map(Data::Json).map_err(|_| invalid("the data is not the JSON that Content-Type says it is"));
    }
    match (content_type, std::str::from_utf8(body)) {
        (None, Ok(text)) => Ok(serde_json::from_str(text).map_or_else(|_| Data::Text(text.to_owned()), Data::Json)),
        (Some(kind), Ok(text)) if kind.trim_start().to_ascii_lowercase().starts_with("text/") => {
            Ok(Data::Text(text.to_owned()))
        }
        _ => Ok(Data::Base64(STANDARD.encode(body))),
    }
}

/// "Percent-encode": space, double quote, percent sign, and all outside of U+0021–U+007E.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'%' | 0..=b' ' | 0x7f.. => out.push_str(&format!("%{byte:02X}")),
            _ => out.push(byte as char),
        }
    }
    out
}

/// Quotes around it, which older versions wrote, are taken off. What looks encoded and is not stays as it is.
fn decoded(value: &[u8]) -> Option<String> {
    let value = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
    let digit = |at: usize| value.get(at).and_then(|b| (*b as char).to_digit(16));
    let (mut out, mut at) = (Vec::with_capacity(value.len()), 0);
    while let Some(&byte) = value.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}
