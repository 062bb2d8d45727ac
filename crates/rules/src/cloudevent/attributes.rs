//! What attributes may be: names, types and the constraints of each.

use super::{CloudEvent, Invalid, invalid};
use serde_json::Value;

/// Of a name. The specification asks for no more than 20 characters and lets no one refuse longer ones up to here.
const NAME_BYTES_MAX: usize = 64;
/// Of one attribute's text.
const TEXT_BYTES_MAX: usize = 8 << 10;
pub const EXTENSIONS_MAX: usize = 64;

impl CloudEvent {
    /// Sets one attribute; `typed` says that its type is known (JSON), else it is text whatever it means (HTTP).
    pub(super) fn set(&mut self, name: &str, value: Value, typed: bool) -> Result<(), Invalid> {
        let text = |value: &Value| match value {
            Value::String(text) => checked(name, text).map(|()| text.clone()),
            Value::Bool(_) | Value::Number(_) if !typed => Ok(value.to_string()),
            _ => Err(invalid(format!("the attribute {name} is not a string"))),
        };
        let present = |value: &Value| match text(value)? {
            empty if empty.is_empty() => Err(invalid(format!("the attribute {name} is empty"))),
            text => Ok(text),
        };
        match name {
            "specversion" => match text(&value)?.as_str() {
                "1.0" => {}
                other => return Err(invalid(format!("specversion {other:?} is not 1.0"))),
            },
            "id" => self.id = present(&value)?,
            "source" => self.source = reference(name, present(&value)?)?,
            "type" => self.kind = present(&value)?,
            "subject" => self.subject = Some(present(&value)?),
            "time" => self.time = Some(time(present(&value)?)?),
            "datacontenttype" => self.content_type = Some(media(present(&value)?)?),
            "dataschema" => {
                let uri = reference(name, present(&value)?)?;
                if !uri.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme)) {
                    return Err(invalid("dataschema is not an absolute URI"));
                }
                self.schema = Some(uri);
            }
            _ => {
                let fits = match &value {
                    Value::String(text) => return checked(name, text).and_then(|()| self.extend(name, value)),
                    Value::Bool(_) => true,
                    Value::Number(number) => number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
                    _ => false,
                };
                if !fits {
                    return Err(invalid(format!("the attribute {name} is no string, boolean or 32-bit integer")));
                }
                return self.extend(name, value);
            }
        }
        Ok(())
    }

    fn extend(&mut self, name: &str, value: Value) -> Result<(), Invalid> {
        let proper = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(proper) || name == "data" {
            return Err(invalid(format!("{name:?} is not the name of an attribute: lower-case letters and digits")));
        }
        if self.extensions.len() == EXTENSIONS_MAX {
            return Err(invalid(format!("there are more than {EXTENSIONS_MAX} extension attributes")));
        }
        self.extensions.insert(name.to_owned(), value);
        Ok(())
    }

    /// Refuses an event without what every one has.
    pub(super) fn whole(self) -> Result<Self, Invalid> {
        let required = [("id", &self.id), ("source", &self.source), ("type", &self.kind)];
        let missing: Option<&str> = required.into_iter().find(|(_, value)| value.is_empty()).map(|(name, _)| name);
        missing.map_or(Ok(self), |name| Err(invalid(format!("the attribute {name} is missing"))))
    }

    /// The attributes but the required ones, in the types of JSON: what another form of event has no place for.
    pub fn optional(&self) -> impl Iterator<Item = (&str, Value)> {
        let texts = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.content_type),
            ("dataschema", &self.schema),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, Value::from(text.as_deref()?))));
        texts.chain(self.extensions.iter().map(|(name, value)| (name.as_str(), value.clone())))
    }

    /// Sets an optional attribute that [`CloudEvent::optional`] gave.
    pub fn restore(&mut self, name: &str, value: &Value) -> Result<(), Invalid> {
        self.set(name, value.clone(), true)
    }
}

/// "Strings ... must not contain control characters" (U+0000–U+001F, U+007F–U+009F).
fn checked(name: &str, text: &str) -> Result<(), Invalid> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(invalid(format!("the attribute {name} is longer than {TEXT_BYTES_MAX} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(format!("the attribute {name} has a control character in it")));
    }
    Ok(())
}

/// A URI reference (RFC 3986, 4.1), as far as its characters go.
fn reference(name: &str, text: String) -> Result<String, Invalid> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let good = match byte {
            b'%' => [bytes.next(), bytes.next()].iter().all(|b| b.is_some_and(|b| b.is_ascii_hexdigit())),
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => false,
            // Beyond ASCII it is an IRI, which people use and nobody is hurt by.
            _ => byte > b' ',
        };
        if !good {
            return Err(invalid(format!("the attribute {name} is not a URI-reference")));
        }
    }
    Ok(text)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// RFC 3339.
fn time(text: String) -> Result<String, Invalid> {
    let shaped =
        text.len() >= 20 && text.is_ascii() && matches!(text.as_bytes()[10], b'T' | b't') && !text.contains('[');
    match shaped && text.parse::<jiff::Timestamp>().is_ok() {
        true => Ok(text),
        false => Err(invalid(format!("time {text:?} is not as RFC 3339 writes it"))),
    }
}

/// `type/subtype`, with parameters or without.
fn media(text: String) -> Result<String, Invalid> {
    let kind = text.split(';').next().unwrap_or_default().trim();
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+*'".contains(&b));
    match kind.split_once('/').is_some_and(|(major, minor)| token(major) && token(minor)) {
        true => Ok(text),
        false => Err(invalid(format!("datacontenttype {text:?} is not a media type"))),
    }
}
