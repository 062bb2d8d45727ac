//! From a model to the table that `wire` walks.
//!
//! The table lives for the rest of the process: its types hold `'static` references, because in a node it is a static.

use super::model::{Member as Use, Model, Operation as ModelOperation, Shape as ModelShape};
use super::{QueryConfig, pattern};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use wire::table::{
    ErrorShape, Kind, Location, Member, Names, Operation, Pattern, Protocol, Query, Service, Shape, ShapeIndex,
    TimeFormat,
};

pub struct Options<'a> {
    /// The operations that Wadi has.
    pub operations: BTreeSet<&'a str>,
    pub validation_code: &'a str,
    pub payload_type: &'a str,
    pub rewrites: &'a BTreeMap<String, String>,
    pub open_enums: bool,
    pub query: Option<&'a QueryConfig>,
}

fn keep(text: &str) -> &'static str {
    String::leak(text.to_owned())
}

pub fn build(model: &Model, options: &Options<'_>) -> Result<Service> {
    for name in &options.operations {
        model.operations.get(*name).with_context(|| format!("the model has no operation {name}"))?;
    }
    let implemented = model.operations.values().filter(|o| options.operations.contains(o.name.as_str()));
    let inputs = implemented.clone().filter_map(|o| o.input.as_ref()).map(|r| r.shape.as_str());
    let outputs = implemented.clone().filter_map(|o| o.output.as_ref()).map(|r| r.shape.as_str());
    let checked = reachable(model, inputs.clone())?;
    let all = reachable(model, inputs.chain(outputs))?;
    let mut shapes = Shapes::new(model, options.rewrites, all, checked, options.open_enums);
    shapes.build()?;
    let operations = model.operations.values().map(|o| operation(o, options, &shapes)).collect::<Result<Vec<_>>>()?;
    let meta = &model.metadata;
    Ok(Service {
        name: keep(meta.signing_name.as_ref().unwrap_or(&meta.endpoint_prefix)),
        protocol: match (meta.protocol.as_str(), meta.json_version.as_str()) {
            ("rest-json", _) => Protocol::RestJson,
            ("query", _) => Protocol::Query,
            ("json", "1.0") => Protocol::Json10,
            ("json", _) => Protocol::Json11,
            (other, _) => bail!("the protocol {other} is not there yet"),
        },
        target_prefix: meta.target_prefix.as_deref().map(keep),
        validation_code: keep(options.validation_code),
        payload_type: keep(options.payload_type),
        errors: errors(model, implemented)?.leak(),
        query: query(model, options, &shapes)?,
        operations: operations.leak(),
        routes: Default::default(),
        shapes: shapes.done.leak(),
    })
}

/// What the query protocol needs, if the service speaks it.
fn query(model: &Model, options: &Options<'_>, shapes: &Shapes<'_>) -> Result<Option<Query>> {
    let meta = &model.metadata;
    if options.query.is_none() && meta.protocol != "query" {
        return Ok(None);
    }
    let named = |shape: &str| options.query.and_then(|q| q.names.get(shape));
    let mut names = Vec::new();
    for ((name, format), index) in &shapes.index {
        let shape = &model.shapes[*name];
        if format.is_some() || !matches!(shape.kind.as_str(), "list" | "map") {
            continue;
        }
        let of = |used: &Option<Box<Use>>| used.as_ref().and_then(|u| u.location_name.as_deref().map(keep));
        let (item, key, value) = match named(name).map(Vec::as_slice) {
            None => (of(&shape.member), of(&shape.key), of(&shape.value)),
            Some([item]) => (Some(keep(item)), None, None),
            Some([item, key, value]) => (Some(keep(item)), Some(keep(key)), Some(keep(value))),
            Some(_) => bail!("{name}: a list has one name, a map three"),
        };
        let (key, value) = (key.unwrap_or("key"), value.unwrap_or("value"));
        names.push((*index, Names { flat: shape.flattened, item, key, value }));
    }
    names.sort_by_key(|(index, _)| *index);
    let own = options.query;
    let namespace = own.and_then(|q| q.namespace.as_ref()).or(meta.xml_namespace.as_ref());
    let codes = own.map(|q| q.codes.iter().map(|(code, name)| (keep(code), keep(name))).collect::<Vec<_>>());
    Ok(Some(Query {
        namespace: keep(namespace.context("the query protocol needs a namespace")?),
        path_member: own.and_then(|q| q.path_member.as_deref()).map(keep),
        missing_code: own.and_then(|q| q.missing_error.as_deref()).map(keep),
        names: names.leak(),
        codes: codes.unwrap_or_default().leak(),
    }))
}

/// All shapes used from `roots` on, by name.
pub fn reachable<'m>(model: &'m Model, roots: impl Iterator<Item = &'m str>) -> Result<BTreeSet<&'m str>> {
    let mut seen = BTreeSet::new();
    let mut todo: Vec<&str> = roots.collect();
    while let Some(name) = todo.pop() {
        if seen.insert(name) {
            let shape = model.shapes.get(name).with_context(|| format!("the model has no shape {name}"))?;
            todo.extend(shape.uses().map(|m| m.shape.as_str()));
        }
    }
    Ok(seen)
}

fn operation(op: &ModelOperation, options: &Options<'_>, shapes: &Shapes<'_>) -> Result<Operation> {
    let implemented = options.operations.contains(op.name.as_str());
    let index = |r: &Option<super::model::Reference>| match r {
        Some(r) if implemented => Some(shapes.index[&(r.shape.as_str(), None)]),
        _ => None,
    };
    Ok(Operation {
        name: keep(&op.name),
        method: keep(op.http.method.as_deref().unwrap_or("POST")),
        uri: keep(op.http.request_uri.as_deref().unwrap_or("/")),
        status: op.http.response_code.unwrap_or(200),
        input: index(&op.input),
        output: index(&op.output),
        implemented,
    })
}

fn errors<'m>(model: &Model, operations: impl Iterator<Item = &'m ModelOperation>) -> Result<Vec<ErrorShape>> {
    let names: BTreeSet<&str> = operations.flat_map(|o| &o.errors).map(|r| r.shape.as_str()).collect();
    let mut errors = Vec::new();
    for name in names {
        let shape = model.shapes.get(name).with_context(|| format!("the model has no shape {name}"))?;
        let has = |member: &str| shape.members.iter().any(|(n, _)| n == member);
        let header = |(n, m): &(String, Use)| {
            let bound = m.location.as_deref() == Some("header");
            bound.then(|| (keep(n), keep(m.location_name.as_ref().unwrap_or(n))))
        };
        errors.push(ErrorShape {
            code: keep(shape.error.code.as_deref().unwrap_or(name)),
            message: if has("Message") { "Message" } else { "message" },
            typed: has("Type"),
            headers: shape.members.iter().filter_map(header).collect::<Vec<_>>().leak(),
        });
    }
    errors.sort_by_key(|e| e.code);
    Ok(errors)
}

/// A shape's name, and the time format a member asks of it, if it is not the shape's own.
type Key<'m> = (&'m str, Option<&'m str>);

struct Shapes<'m> {
    model: &'m Model,
    rewrites: &'m BTreeMap<String, String>,
    checked: BTreeSet<&'m str>,
    open_enums: bool,
    index: BTreeMap<Key<'m>, ShapeIndex>,
    done: Vec<Shape>,
    patterns: BTreeMap<&'m str, &'static Pattern>,
}

impl<'m> Shapes<'m> {
    fn new(
        model: &'m Model,
        rewrites: &'m BTreeMap<String, String>,
        all: BTreeSet<&'m str>,
        checked: BTreeSet<&'m str>,
        open_enums: bool,
    ) -> Self {
        let mut keys: BTreeSet<Key<'m>> = all.iter().map(|n| (*n, None)).collect();
        for member in all.iter().flat_map(|n| model.shapes[*n].uses()) {
            keys.insert(key(member));
        }
        let index = keys.into_iter().zip(0..).collect();
        Self { model, rewrites, checked, open_enums, index, done: Vec::new(), patterns: BTreeMap::new() }
    }

    fn build(&mut self) -> Result<()> {
        for (name, format) in self.index.keys().copied().collect::<Vec<_>>() {
            let shape = &self.model.shapes[name];
            let kind = self.kind(name, shape, format).with_context(|| format!("shape {name}"))?;
            self.done.push(Shape { name: keep(name), sensitive: shape.sensitive, kind });
        }
        Ok(())
    }

    fn of(&self, member: &'m Use) -> ShapeIndex {
        self.index[&key(member)]
    }

    fn kind(&mut self, name: &str, shape: &'m ModelShape, format: Option<&str>) -> Result<Kind> {
        let checked = self.checked.contains(name);
        let size = |n: &Option<serde_json::Number>| n.as_ref().filter(|_| checked).and_then(serde_json::Number::as_u64);
        let whole =
            |n: &Option<serde_json::Number>| n.as_ref().filter(|_| checked).and_then(serde_json::Number::as_i64);
        let real = |n: &Option<serde_json::Number>| n.as_ref().filter(|_| checked).and_then(serde_json::Number::as_f64);
        // A lower bound of nothing is no bound.
        let (min, max) = (size(&shape.min).filter(|n| *n > 0), size(&shape.max));
        let used = |m: &'m Option<Box<Use>>| m.as_deref().context("lacks the shape of its content");
        Ok(match shape.kind.as_str() {
            "structure" if shape.document => Kind::Document,
            "structure" => {
                Kind::Structure { members: self.members(shape)?.leak(), payload: shape.payload.as_deref().map(keep) }
            }
            "list" => Kind::List { item: self.of(used(&shape.member)?), min, max },
            "map" => Kind::Map { key: self.of(used(&shape.key)?), value: self.of(used(&shape.value)?), min, max },
            "string" | "character" => Kind::String {
                min,
                max,
                pattern: if checked { self.pattern(shape.pattern.as_deref())? } else { None },
                values: if checked && !self.open_enums {
                    shape.values.iter().map(|v| keep(v)).collect()
                } else {
                    Vec::new()
                }
                .leak(),
            },
            "blob" => Kind::Blob { min, max },
            "integer" | "short" | "byte" => {
                Kind::Integer { long: false, min: whole(&shape.min), max: whole(&shape.max) }
            }
            "long" => Kind::Integer { long: true, min: whole(&shape.min), max: whole(&shape.max) },
            "double" | "float" => Kind::Double { min: real(&shape.min), max: real(&shape.max) },
            "boolean" => Kind::Boolean,
            "timestamp" => Kind::Timestamp { format: time_format(format.or(shape.timestamp_format.as_deref()))? },
            other => bail!("the type {other} is not there yet"),
        })
    }

    fn members(&self, shape: &'m ModelShape) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        for (name, member) in &shape.members {
            // In a body it is a text like any other; in a header it would be base64.
            if member.jsonvalue && member.location.is_some() {
                bail!("{name} is a jsonvalue in a header, which is not there yet");
            }
            let wire_name = keep(member.location_name.as_ref().unwrap_or(name));
            let is_map = self.model.shapes[&member.shape].kind == "map";
            let location = match member.location.as_deref() {
                None => Location::Body(wire_name),
                Some("uri") => Location::Uri(wire_name),
                Some("querystring") if is_map => Location::QueryMap,
                Some("querystring") => Location::Query(wire_name),
                Some("header") => Location::Header(wire_name),
                Some("headers") => Location::Headers(keep(member.location_name.as_deref().unwrap_or(""))),
                Some("statusCode") => Location::Status,
                Some(other) => bail!("{name} is in the unknown location {other}"),
            };
            let required = shape.required.contains(name);
            members.push(Member { name: keep(name), shape: self.of(member), required, location });
        }
        Ok(members)
    }

    fn pattern(&mut self, java: Option<&'m str>) -> Result<Option<&'static Pattern>> {
        let Some(java) = java else { return Ok(None) };
        if let Some(known) = self.patterns.get(java) {
            return Ok(Some(known));
        }
        let regex = pattern::translate(java, self.rewrites)?;
        let made: &'static Pattern = Box::leak(Box::new(Pattern::new(keep(java), String::leak(regex))));
        self.patterns.insert(java, made);
        Ok(Some(made))
    }
}

fn key(member: &Use) -> Key<'_> {
    (member.shape.as_str(), member.timestamp_format.as_deref())
}

fn time_format(name: Option<&str>) -> Result<Option<TimeFormat>> {
    Ok(match name {
        None => None,
        Some("unixTimestamp") => Some(TimeFormat::Epoch),
        Some("iso8601") => Some(TimeFormat::Iso8601),
        Some("rfc822") => Some(TimeFormat::Http),
        Some(other) => bail!("the time format {other} is not known"),
    })
}
