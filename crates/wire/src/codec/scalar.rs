//! Single values as text: in paths, queries and headers.

use super::malformed;
use crate::table::{Kind, TimeFormat};
use crate::{Fault, times};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

/// Reads text as a value of a simple shape. `time` is the format of times in that place.
pub fn read(kind: &Kind, text: &str, time: TimeFormat) -> Result<Value, Fault> {
    let wrong = |wanted: &str| malformed(format!("'{text}' can not be converted to {wanted}"));
    match kind {
        Kind::String { .. } => Ok(text.into()),
        Kind::Boolean => match text {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(wrong("a Boolean")),
        },
        Kind::Integer { long: false, .. } => text.parse::<i32>().map(Value::from).map_err(|_| wrong("an Integer")),
        Kind::Integer { long: true, .. } => text.parse::<i64>().map(Value::from).map_err(|_| wrong("a Long")),
        Kind::Double { .. } if is_special_number(text) => Ok(text.into()),
        Kind::Double { .. } => match text.parse::<f64>().ok().and_then(Number::from_f64) {
            Some(number) => Ok(number.into()),
            None => Err(wrong("a Double")),
        },
        Kind::Timestamp { format } => {
            times::parse(text, format.unwrap_or(time)).map(Value::from).ok_or_else(|| wrong("a Timestamp"))
        }
        Kind::Blob { .. } if is_base64(text) => Ok(text.into()),
        Kind::Blob { .. } => Err(wrong("a Blob")),
        Kind::Structure { .. } | Kind::List { .. } | Kind::Map { .. } | Kind::Document => Err(wrong("a structure")),
    }
}

/// Writes a simple value as text; `None` for what has no text form.
pub fn write(kind: &Kind, value: &Value, time: TimeFormat) -> Option<String> {
    match (kind, value) {
        (Kind::Timestamp { format }, Value::Number(n)) => Some(times::print(n.as_f64()?, format.unwrap_or(time))),
        (_, Value::String(text)) => Some(text.clone()),
        (_, Value::Bool(b)) => Some(b.to_string()),
        (_, Value::Number(n)) => Some(n.to_string()),
        _ => None,
    }
}

/// The numbers that JSON cannot write travel as these strings.
pub fn is_special_number(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity")
}

/// Is `text` padded standard base64? Looks at every byte but keeps none: a blob may be 70 MB.
pub fn is_base64(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (body, tail) = bytes.split_at(bytes.len().saturating_sub(4));
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    bytes.len().is_multiple_of(4) && body.iter().all(plain) && STANDARD.decode(tail).is_ok()
}

/// Bytes that padded base64 text stands for.
pub fn base64_bytes(text: &str) -> u64 {
    let padding = text.bytes().rev().take(2).filter(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding) as u64
}

/// Splits a header that holds a list. Items may be quoted; times of the HTTP form have a comma of their own.
pub fn split_header(text: &str, http_times: bool) -> Vec<String> {
    if http_times {
        let pieces: Vec<&str> = text.split(',').map(str::trim).collect();
        return pieces.chunks(2).map(|pair| pair.join(", ")).collect();
    }
    let mut items = Vec::new();
    let mut item = String::new();
    let (mut quoted, mut was_quoted) = (false, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => item.extend(chars.next()),
            '"' if quoted || item.trim().is_empty() => {
                quoted = !quoted;
                if quoted {
                    item.clear();
                    was_quoted = true;
                }
            }
            ',' if !quoted => {
                items.push(finish(&item, was_quoted));
                item.clear();
                was_quoted = false;
            }
            _ if was_quoted && !quoted => {}
            _ => item.push(c),
        }
    }
    items.push(finish(&item, was_quoted));
    items
}

fn finish(item: &str, quoted: bool) -> String {
    if quoted { item.to_owned() } else { item.trim().to_owned() }
}
