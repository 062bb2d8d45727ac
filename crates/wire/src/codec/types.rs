//! The first pass: is every JSON value of its type? Unknown members are dropped, as AWS does; names become the model's.

use super::{body_name, malformed, scalar};
use crate::table::{Kind, Member, Service, ShapeIndex};
use crate::{Fault, times};
use serde_json::{Map, Value};

/// Brings `value` into the form that typed inputs have: members by model name, times as epoch seconds, no nulls in
/// structures and maps.
pub fn read(service: &Service, shape: ShapeIndex, value: &mut Value) -> Result<(), Fault> {
    match &service.shape(shape).kind {
        Kind::Structure { members, .. } => {
            let Value::Object(map) = value else { return Err(not_collection(value, "Expected null")) };
            structure(service, members, map)
        }
        Kind::List { item, .. } => {
            let Value::Array(items) = value else { return Err(not_collection(value, "Expected list or null")) };
            // A null in a list is left for the constraints to name.
            items.iter_mut().filter(|v| !v.is_null()).try_for_each(|v| read(service, *item, v))
        }
        Kind::Map { value: of, .. } => {
            let Value::Object(map) = value else { return Err(not_collection(value, "Expected map or null")) };
            map.retain(|_, v| !v.is_null());
            map.values_mut().try_for_each(|v| read(service, *of, v))
        }
        Kind::String { .. } if value.is_string() => Ok(()),
        Kind::String { .. } => Err(not_scalar(value, "a String")),
        Kind::Blob { .. } => match value.as_str() {
            Some(text) if scalar::is_base64(text) => Ok(()),
            Some(_) => Err(malformed("STRING_VALUE can not be converted to a Blob: it is not base64")),
            None => Err(not_scalar(value, "a Blob")),
        },
        Kind::Integer { long, .. } => integer(value, *long),
        Kind::Double { .. } if value.is_number() || value.as_str().is_some_and(scalar::is_special_number) => Ok(()),
        Kind::Double { .. } => Err(not_scalar(value, "a Double")),
        Kind::Boolean if value.is_boolean() => Ok(()),
        Kind::Boolean => Err(not_scalar(value, "a Boolean")),
        Kind::Timestamp { format } => {
            let seconds = times::from_json(value, *format).ok_or_else(|| not_scalar(value, "a Timestamp"))?;
            *value = seconds.into();
            Ok(())
        }
        Kind::Document => Ok(()),
    }
}

fn structure(service: &Service, members: &[Member], map: &mut Map<String, Value>) -> Result<(), Fault> {
    let mut typed = Map::new();
    for member in members {
        let Some(name) = body_name(member.location) else { continue };
        let Some((key, mut value)) = map.remove_entry(name).filter(|(_, v)| !v.is_null()) else { continue };
        read(service, member.shape, &mut value)?;
        typed.insert(if name == member.name { key } else { member.name.to_owned() }, value);
    }
    *map = typed;
    Ok(())
}

fn integer(value: &mut Value, long: bool) -> Result<(), Fault> {
    let fits = |n: i64| long || i32::try_from(n).is_ok();
    // `5.0` is the integer 5 to AWS's parsers.
    let whole =
        value.as_i64().or_else(|| value.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64));
    match whole {
        Some(n) if fits(n) => {
            *value = n.into();
            Ok(())
        }
        _ => Err(not_scalar(value, if long { "a Long" } else { "an Integer" })),
    }
}

/// AWS's words where a list, map or structure should be and something else is.
fn not_collection(value: &Value, expected: &str) -> Fault {
    match value {
        Value::Array(_) | Value::Object(_) => unexpected_start(value),
        _ => malformed(expected),
    }
}

fn not_scalar(value: &Value, wanted: &str) -> Fault {
    let found = match value {
        Value::Array(_) | Value::Object(_) => return unexpected_start(value),
        Value::String(_) => "STRING_VALUE",
        Value::Number(n) if n.is_f64() => "DECIMAL_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Null => "NULL_VALUE",
    };
    malformed(format!("{found} can not be converted to {wanted}"))
}

fn unexpected_start(value: &Value) -> Fault {
    malformed(match value {
        Value::Array(_) => "Start of list found where not expected",
        _ => "Start of structure or map found where not expected.",
    })
}
