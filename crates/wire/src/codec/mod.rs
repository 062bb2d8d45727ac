//! The codecs: HTTP request → [`Decoded`], [`Encoded`](crate::Encoded) or [`Fault`] → HTTP response, walking a service's table.
//!
//! A request is read in two passes, as AWS does: first its types (`SerializationException`), then the model's constraints
//! (all violations in one message, under the service's own code).

mod constraints;
mod fault;
pub mod query;
mod reply;
mod rest;
mod scalar;
mod types;

pub use fault::{encode_fault, not_implemented};
pub use reply::encode;

use crate::route::Labels;
use crate::table::{Kind, Location, Operation, Protocol, Service, Shape, ShapeIndex};
use crate::{Decoded, Fault};
use bytes::Bytes;
use http::request::Parts;
use serde_json::{Map, Value};

/// Takes a request apart. `operation` and `labels` come from [`Service::route`]; the body has been bounded by who read it.
///
/// # Errors
/// `SerializationException` where a value is not of its type; the service's `validation_code` where it breaks a constraint.
pub fn decode(
    service: &Service,
    operation: &Operation,
    labels: &Labels,
    parts: &Parts,
    body: &Bytes,
) -> Result<Decoded, Fault> {
    let Some(shape) = operation.input else {
        return Ok(Decoded { input: Value::Object(Map::new()), payload: Bytes::new() });
    };
    let decoded = match service.spoken(parts) {
        Protocol::Json10 | Protocol::Json11 => {
            let mut input = parse(body)?;
            types::read(service, shape, &mut input)?;
            Decoded { input, payload: Bytes::new() }
        }
        Protocol::RestJson => rest::read(service, shape, labels, parts, body)?,
        Protocol::Query => {
            let query = service.query.as_ref().ok_or_else(|| malformed("the service has no query protocol"))?;
            Decoded { input: query::read(service, query, shape, parts, body)?, payload: Bytes::new() }
        }
    };
    constraints::check(service, shape, &decoded)?;
    Ok(decoded)
}

impl Service {
    pub(crate) fn shape(&self, index: ShapeIndex) -> &Shape {
        &self.shapes[usize::from(index)]
    }
}

/// A JSON body; nothing at all is an empty object. serde_json refuses nesting deeper than 128.
fn parse(body: &[u8]) -> Result<Value, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_slice(body).map_err(|e| malformed(format!("Could not parse request body into json: {e}")))
}

/// The request's bytes are not of the types that the model says.
fn malformed(message: impl Into<String>) -> Fault {
    Fault::new("SerializationException", 400, message)
}

/// The payload member of a structure: its name and shape.
fn payload_member<'s>(service: &'s Service, shape: &'s Shape) -> Option<(&'static str, ShapeIndex, &'s Shape)> {
    let Kind::Structure { members, payload: Some(name) } = &shape.kind else { return None };
    let member = members.iter().find(|m| m.name == *name)?;
    Some((member.name, member.shape, service.shape(member.shape)))
}

/// The wire name of a member that travels in the body.
fn body_name(location: Location) -> Option<&'static str> {
    match location {
        Location::Body(name) => Some(name),
        _ => None,
    }
}
