//! REST bindings of a request: labels, query, headers, payload; what is left is the JSON body.

use super::{body_name, malformed, parse, payload_member, scalar, types};
use crate::route::Labels;
use crate::table::{Kind, Location, Member, Service, ShapeIndex, TimeFormat};
use crate::{Decoded, Fault};
use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

pub fn read(
    service: &Service,
    shape: ShapeIndex,
    labels: &Labels,
    parts: &Parts,
    body: &Bytes,
) -> Result<Decoded, Fault> {
    let Kind::Structure { members, .. } = &service.shape(shape).kind else {
        return Err(malformed("the input is not a structure"));
    };
    let (mut input, payload) = read_body(service, shape, members, body)?;
    let query = parse_query(parts.uri.query().unwrap_or(""))?;
    for member in *members {
        if let Some(value) = bound(service, member, labels, &query, &parts.headers)? {
            input.insert(member.name.to_owned(), value);
        }
    }
    Ok(Decoded { input: Value::Object(input), payload })
}

/// The members in the HTTP body, and the body itself where it is a blob member.
fn read_body(
    service: &Service,
    shape: ShapeIndex,
    members: &[Member],
    body: &Bytes,
) -> Result<(Map<String, Value>, Bytes), Fault> {
    let mut input = Map::new();
    if let Some((name, index, payload)) = payload_member(service, service.shape(shape)) {
        match payload.kind {
            Kind::Blob { .. } => return Ok((input, body.clone())),
            Kind::String { .. } if !body.is_empty() => {
                let text = std::str::from_utf8(body).map_err(|_| malformed("The body is not UTF-8"))?;
                input.insert(name.to_owned(), text.into());
            }
            _ if !body.is_empty() => {
                let mut value = parse(body)?;
                types::read(service, index, &mut value)?;
                input.insert(name.to_owned(), value);
            }
            _ => {}
        }
        return Ok((input, Bytes::new()));
    }
    if members.iter().any(|m| body_name(m.location).is_some()) {
        let mut value = parse(body)?;
        types::read(service, shape, &mut value)?;
        if let Value::Object(map) = value {
            input = map;
        }
    }
    Ok((input, Bytes::new()))
}

type Query = Vec<(String, String)>;

fn bound(
    service: &Service,
    member: &Member,
    labels: &Labels,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Option<Value>, Fault> {
    match member.location {
        Location::Body(_) | Location::Status => Ok(None),
        Location::Uri(name) => match labels.iter().find(|(label, _)| *label == name) {
            Some((_, text)) => scalar::read(&service.shape(member.shape).kind, text, TimeFormat::Iso8601).map(Some),
            None => Ok(None),
        },
        Location::Query(name) => {
            let values: Vec<&str> = query.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
            from_query(service, &service.shape(member.shape).kind, &values)
        }
        Location::QueryMap => query_map(service, member, query).map(Some),
        Location::Header(name) => from_header(service, member, headers, name),
        Location::Headers(prefix) => Ok(prefixed(headers, prefix)),
    }
}

/// `a=b&c` taken apart and decoded; `+` is a space.
fn parse_query(query: &str) -> Result<Query, Fault> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced)
            .decode_utf8()
            .map(|t| t.into_owned())
            .map_err(|_| malformed("The query is not UTF-8"))
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(n, v)| Ok((decode(n)?, decode(v)?))).collect()
}

fn from_query(service: &Service, kind: &Kind, values: &[&str]) -> Result<Option<Value>, Fault> {
    match (kind, values) {
        (_, []) => Ok(None),
        (Kind::List { item, .. }, values) => {
            let item = &service.shape(*item).kind;
            let items = values.iter().map(|text| scalar::read(item, text, TimeFormat::Iso8601));
            Ok(Some(Value::Array(items.collect::<Result<_, _>>()?)))
        }
        (kind, [first, ..]) => scalar::read(kind, first, TimeFormat::Iso8601).map(Some),
    }
}

/// All query parameters, also those that other members are bound to.
fn query_map(service: &Service, member: &Member, query: &Query) -> Result<Value, Fault> {
    let Kind::Map { value, .. } = &service.shape(member.shape).kind else {
        return Err(malformed("the query is not a map"));
    };
    let kind = &service.shape(*value).kind;
    let mut map = Map::new();
    for (name, text) in query {
        let item = from_query(service, kind, &[text])?.unwrap_or_default();
        match (map.get_mut(name), item) {
            (Some(Value::Array(items)), Value::Array(more)) => items.extend(more),
            (Some(_), _) => {}
            (None, item) => drop(map.insert(name.clone(), item)),
        }
    }
    Ok(Value::Object(map))
}

fn from_header(service: &Service, member: &Member, headers: &HeaderMap, name: &str) -> Result<Option<Value>, Fault> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text =
        std::str::from_utf8(value.as_bytes()).map_err(|_| malformed(format!("The header {name} is not UTF-8")))?;
    match &service.shape(member.shape).kind {
        Kind::List { item, .. } => {
            let item = &service.shape(*item).kind;
            let http_times = matches!(item, Kind::Timestamp { format: None | Some(TimeFormat::Http) });
            let items = scalar::split_header(text, http_times);
            let items = items.iter().map(|text| scalar::read(item, text, TimeFormat::Http));
            Ok(Some(Value::Array(items.collect::<Result<_, _>>()?)))
        }
        kind => scalar::read(kind, text, TimeFormat::Http).map(Some),
    }
}

fn prefixed(headers: &HeaderMap, prefix: &str) -> Option<Value> {
    let prefix = prefix.to_ascii_lowercase();
    let mut map = Map::new();
    for (name, value) in headers {
        if let (Some(rest), Ok(text)) = (name.as_str().strip_prefix(&prefix), value.to_str()) {
            map.insert(rest.to_owned(), text.into());
        }
    }
    (!map.is_empty()).then_some(Value::Object(map))
}
