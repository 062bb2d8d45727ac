//! [`Encoded`] → HTTP response.

use super::{body_name, payload_member, query, scalar};
use crate::table::{Kind, Location, Member, Operation, Protocol, Service, ShapeIndex, TimeFormat};
use crate::{Encoded, times};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value};

/// Puts a reply together, in the protocol that the request spoke. Members bound to headers, the status or the payload leave the JSON body.
pub fn encode(
    service: &Service,
    spoken: Protocol,
    operation: &Operation,
    reply: Encoded,
    request_id: &str,
) -> Response<Bytes> {
    let status = StatusCode::from_u16(reply.status.unwrap_or(operation.status));
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    put(headers, "x-amzn-requestid", request_id);
    let body = match (operation.output, spoken) {
        (_, Protocol::Query) => {
            headers.insert(CONTENT_TYPE, content_type(spoken));
            let document = |query| query::write(service, query, operation, &reply, request_id);
            service.query.as_ref().map(document).unwrap_or_default().into()
        }
        (None, Protocol::RestJson) => Bytes::new(),
        (None, _) => {
            headers.insert(CONTENT_TYPE, content_type(spoken));
            Bytes::new()
        }
        (Some(shape), Protocol::RestJson) => rest(service, shape, reply, headers),
        (Some(shape), _) => {
            let mut output = reply.output;
            write(service, shape, &mut output);
            headers.insert(CONTENT_TYPE, content_type(spoken));
            json(&output)
        }
    };
    if response.status() == StatusCode::NO_CONTENT {
        response.headers_mut().remove(CONTENT_TYPE);
        return response;
    }
    *response.body_mut() = body;
    response
}

/// The media type of bodies.
pub fn content_type(protocol: Protocol) -> HeaderValue {
    HeaderValue::from_static(match protocol {
        Protocol::Json10 => "application/x-amz-json-1.0",
        Protocol::Json11 => "application/x-amz-json-1.1",
        Protocol::RestJson => "application/json",
        Protocol::Query => "text/xml",
    })
}

/// Sets a header; a value that no header can hold (line breaks) is left out.
pub fn put(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}

pub fn json(value: &Value) -> Bytes {
    serde_json::to_vec(value).expect("a JSON value can be written").into()
}

fn rest(service: &Service, index: ShapeIndex, reply: Encoded, headers: &mut HeaderMap) -> Bytes {
    let shape = service.shape(index);
    let (Kind::Structure { members, .. }, Value::Object(mut output)) = (&shape.kind, reply.output) else {
        return Bytes::new();
    };
    for member in members.iter().filter(|m| body_name(m.location).is_none()) {
        if let Some(value) = output.remove(member.name) {
            bind(service, member, &value, headers);
        }
    }
    let media_type = |headers: &mut HeaderMap, value: HeaderValue| {
        headers.entry(CONTENT_TYPE).or_insert(value);
    };
    match payload_member(service, shape) {
        None => {
            let mut output = Value::Object(output);
            write(service, index, &mut output);
            media_type(headers, content_type(service.protocol));
            json(&output)
        }
        Some((name, payload, of)) => match (&of.kind, output.remove(name)) {
            (Kind::Blob { .. }, _) => {
                let body = reply.payload.unwrap_or_default();
                if !body.is_empty() {
                    media_type(headers, HeaderValue::from_static(service.payload_type));
                }
                body
            }
            (Kind::String { .. }, Some(Value::String(text))) => {
                media_type(headers, HeaderValue::from_static("text/plain"));
                text.into()
            }
            (_, Some(mut value)) => {
                write(service, payload, &mut value);
                media_type(headers, content_type(service.protocol));
                json(&value)
            }
            (_, None) => Bytes::new(),
        },
    }
}

fn bind(service: &Service, member: &Member, value: &Value, headers: &mut HeaderMap) {
    let kind = &service.shape(member.shape).kind;
    match (member.location, kind, value) {
        (Location::Header(name), Kind::List { item, .. }, Value::Array(items)) => {
            let item = &service.shape(*item).kind;
            let texts: Vec<String> = items.iter().filter_map(|v| scalar::write(item, v, TimeFormat::Http)).collect();
            put(headers, name, &texts.join(", "));
        }
        (Location::Header(name), kind, value) => {
            if let Some(text) = scalar::write(kind, value, TimeFormat::Http) {
                put(headers, name, &text);
            }
        }
        (Location::Headers(prefix), _, Value::Object(map)) => {
            for (name, value) in map {
                put(headers, &format!("{prefix}{name}"), value.as_str().unwrap_or_default());
            }
        }
        _ => {}
    }
}

/// From typed output to the wire, in place: wire names, times in their format, no nulls in structures.
fn write(service: &Service, index: ShapeIndex, value: &mut Value) {
    match (&service.shape(index).kind, value) {
        (Kind::Structure { members, .. }, Value::Object(map)) => structure(service, members, map),
        (Kind::List { item, .. }, Value::Array(items)) => items.iter_mut().for_each(|v| write(service, *item, v)),
        (Kind::Map { value: of, .. }, Value::Object(map)) => map.values_mut().for_each(|v| write(service, *of, v)),
        (Kind::Timestamp { format }, value) => {
            if let Some(seconds) = value.as_f64() {
                *value = times::to_json(seconds, *format);
            }
        }
        _ => {}
    }
}

fn structure(service: &Service, members: &[Member], map: &mut Map<String, Value>) {
    map.retain(|_, value| !value.is_null());
    for member in members {
        let Some(name) = body_name(member.location) else { continue };
        let Some(value) = map.get_mut(member.name) else { continue };
        write(service, member.shape, value);
        if name != member.name {
            let value = map.remove(member.name).expect("it was there a line ago");
            map.insert(name.to_owned(), value);
        }
    }
}
