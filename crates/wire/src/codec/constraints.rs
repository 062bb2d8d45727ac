//! The second pass: does every value keep the model's constraints? All violations go in one message, in AWS's words.

use super::scalar;
use crate::table::{Kind, Location, Member, Service, Shape, ShapeIndex};
use crate::{Decoded, Fault};
use serde_json::Value;
use std::fmt::Write;

/// The most violations that a message lists, and the most of a value that it repeats.
const VIOLATIONS_MAX: usize = 50;
const VALUE_CHARS_MAX: usize = 1024;

/// # Errors
/// The service's validation error, which lists what is wrong.
pub fn check(service: &Service, shape: ShapeIndex, decoded: &Decoded) -> Result<(), Fault> {
    if let Some(code) = service.query.as_ref().and_then(|q| q.missing_code)
        && let Some(name) = missing(service, shape, &decoded.input, "")
    {
        return Err(Fault::new(code, 400, format!("The request must contain the parameter {name}.")));
    }
    let mut violations = Violations { service, found: Vec::new() };
    if let Kind::Structure { members, payload } = &service.shape(shape).kind {
        let blob = |m: &Member| *payload == Some(m.name) && matches!(service.shape(m.shape).kind, Kind::Blob { .. });
        violations.structure(members, &decoded.input, &Path::Root, blob);
        if let Some(member) = members.iter().find(|m| blob(m)) {
            violations.blob(member, decoded.payload.len() as u64);
        }
    }
    match violations.found.len() {
        0 => Ok(()),
        1 => Err(fault(service, format!("1 validation error detected: {}", violations.found[0]))),
        n => Err(fault(service, format!("{n} validation errors detected: {}", violations.found.join("; ")))),
    }
}

/// The first required member that is not there.
fn missing(service: &Service, index: ShapeIndex, value: &Value, path: &str) -> Option<String> {
    match (&service.shape(index).kind, value) {
        (Kind::Structure { members, .. }, value) => members.iter().find_map(|m| match value.get(m.name) {
            Some(value) => missing(service, m.shape, value, &format!("{path}{}.", m.name)),
            None => m.required.then(|| format!("{path}{}", m.name)),
        }),
        (Kind::List { item, .. }, Value::Array(items)) => {
            let each = |(i, v): (usize, &Value)| missing(service, *item, v, &format!("{path}{}.", i + 1));
            items.iter().enumerate().find_map(each)
        }
        (Kind::Map { value: of, .. }, Value::Object(map)) => {
            map.iter().find_map(|(k, v)| missing(service, *of, v, &format!("{path}{k}.")))
        }
        _ => None,
    }
}

fn fault(service: &Service, message: String) -> Fault {
    Fault::new(service.validation_code, 400, message)
}

/// Where a value is. Only written out when something is wrong there.
enum Path<'a> {
    Root,
    Member(&'a Path<'a>, &'a str),
    /// `.1.member`, counted from 1
    Item(&'a Path<'a>, usize),
    /// `.key.member`
    Entry(&'a Path<'a>, &'a str),
}

impl Path<'_> {
    fn write(&self, out: &mut String) {
        let (parent, dot) = match self {
            Self::Root => return,
            Self::Member(parent, _) | Self::Item(parent, _) | Self::Entry(parent, _) => (parent, "."),
        };
        parent.write(out);
        if !out.is_empty() {
            out.push_str(dot);
        }
        let _ = match self {
            Self::Root => Ok(()),
            // Members are shown with a small first letter, as Java's bean properties are.
            Self::Member(_, name) => {
                let mut chars = name.chars();
                out.extend(chars.next().map(|c| c.to_ascii_lowercase()));
                out.write_str(chars.as_str())
            }
            Self::Item(_, at) => write!(out, "{at}.member"),
            Self::Entry(_, key) => write!(out, "{key}.member"),
        };
    }
}

struct Violations<'s> {
    service: &'s Service,
    found: Vec<String>,
}

impl Violations<'_> {
    fn add(&mut self, shape: Option<&Shape>, value: &Value, path: &Path<'_>, constraint: &str) {
        if self.found.len() >= VIOLATIONS_MAX {
            return;
        }
        let mut at = String::new();
        path.write(&mut at);
        let shown = match (shape.is_some_and(|s| s.sensitive), value) {
            (true, _) => "Value".to_owned(),
            (false, Value::Null) => "Value null".to_owned(),
            (false, value) => {
                let mut text = String::new();
                show(value, &mut text);
                if text.len() > VALUE_CHARS_MAX {
                    text = text.chars().take(VALUE_CHARS_MAX).chain(['…']).collect();
                }
                format!("Value '{text}'")
            }
        };
        self.found.push(format!("{shown} at '{at}' failed to satisfy constraint: {constraint}"));
    }

    fn structure(&mut self, members: &[Member], value: &Value, path: &Path<'_>, elsewhere: impl Fn(&Member) -> bool) {
        for member in members.iter().filter(|m| !elsewhere(m)) {
            let at = Path::Member(path, member.name);
            match value.get(member.name) {
                Some(value) => self.value(member.shape, value, &at),
                None if member.required && member.location != Location::Status => {
                    self.add(None, &Value::Null, &at, "Member must not be null");
                }
                None => {}
            }
        }
    }

    fn value(&mut self, index: ShapeIndex, value: &Value, path: &Path<'_>) {
        let shape = self.service.shape(index);
        match &shape.kind {
            Kind::Structure { members, .. } => self.structure(members, value, path, |_| false),
            Kind::List { item, min, max } => {
                let items = value.as_array().map_or(&[][..], Vec::as_slice);
                self.length(shape, value, path, items.len() as u64, (*min, *max));
                self.list(*item, items, shape, value, path);
            }
            Kind::Map { key, value: of, min, max } => {
                let entries = value.as_object().map_or(0, serde_json::Map::len) as u64;
                self.length(shape, value, path, entries, (*min, *max));
                self.map(*key, *of, shape, value, path);
            }
            _ => {
                for broken in broken(shape, value) {
                    self.add(Some(shape), value, path, &broken);
                }
            }
        }
    }

    fn length(
        &mut self,
        shape: &Shape,
        value: &Value,
        path: &Path<'_>,
        n: u64,
        (min, max): (Option<u64>, Option<u64>),
    ) {
        for broken in broken_length(n, min, max) {
            self.add(Some(shape), value, path, &broken);
        }
    }

    /// Items that are structures are named one by one; simple items are one violation of the list.
    fn list(&mut self, item: ShapeIndex, items: &[Value], shape: &Shape, value: &Value, path: &Path<'_>) {
        let of = self.service.shape(item);
        if is_simple(of) {
            if items.iter().any(|i| i.is_null() || !broken(of, i).is_empty()) {
                let all = format!("Member must satisfy constraint: [{}]", constraints(of).join(", "));
                self.add(Some(shape), value, path, &all);
            }
            return;
        }
        for (i, item_value) in items.iter().enumerate() {
            let at = Path::Item(path, i + 1);
            if item_value.is_null() {
                self.add(None, item_value, &at, "Member must not be null");
            } else {
                self.value(item, item_value, &at);
            }
        }
    }

    fn map(&mut self, key: ShapeIndex, of: ShapeIndex, shape: &Shape, value: &Value, path: &Path<'_>) {
        let Some(entries) = value.as_object() else { return };
        let (key, value_shape) = (self.service.shape(key), self.service.shape(of));
        if entries.keys().any(|k| !broken_text(key, k).is_empty()) {
            let all = format!("Map keys must satisfy constraint: [{}]", constraints(key).join(", "));
            self.add(Some(shape), value, path, &all);
        }
        if !is_simple(value_shape) {
            for (k, v) in entries {
                self.value(of, v, &Path::Entry(path, k));
            }
        } else if entries.values().any(|v| !broken(value_shape, v).is_empty()) {
            let all = format!("Map value must satisfy constraint: [{}]", constraints(value_shape).join(", "));
            self.add(Some(shape), value, path, &all);
        }
    }

    fn blob(&mut self, member: &Member, bytes: u64) {
        if let Kind::Blob { min, max } = self.service.shape(member.shape).kind {
            for broken in broken_length(bytes, min, max) {
                let found = format!("Value at '{}' failed to satisfy constraint: {broken}", member.name);
                self.found.push(found);
            }
        }
    }
}

fn is_simple(shape: &Shape) -> bool {
    !matches!(shape.kind, Kind::Structure { .. } | Kind::List { .. } | Kind::Map { .. } | Kind::Document)
}

const LENGTH_MAX: &str = "Member must have length less than or equal to ";
const LENGTH_MIN: &str = "Member must have length greater than or equal to ";
const VALUE_MAX: &str = "Member must have value less than or equal to ";
const VALUE_MIN: &str = "Member must have value greater than or equal to ";
const PATTERN: &str = "Member must satisfy regular expression pattern: ";

fn enum_set(values: &[&str]) -> String {
    format!("Member must satisfy enum value set: [{}]", values.join(", "))
}

/// All constraints of a simple shape in words, for messages about lists and maps of it.
fn constraints(shape: &Shape) -> Vec<String> {
    let mut all = Vec::new();
    let mut say = |words: &str, bound: Option<String>| all.extend(bound.map(|b| format!("{words}{b}")));
    match &shape.kind {
        Kind::String { min, max, pattern, values } => {
            say(LENGTH_MAX, max.map(|n| n.to_string()));
            say(LENGTH_MIN, min.map(|n| n.to_string()));
            say(PATTERN, pattern.map(|p| p.text.to_owned()));
            say("", (!values.is_empty()).then(|| enum_set(values)));
        }
        Kind::Blob { min, max } => {
            say(LENGTH_MAX, max.map(|n| n.to_string()));
            say(LENGTH_MIN, min.map(|n| n.to_string()));
        }
        Kind::Integer { min, max, .. } => {
            say(VALUE_MAX, max.map(|n| n.to_string()));
            say(VALUE_MIN, min.map(|n| n.to_string()));
        }
        Kind::Double { min, max } => {
            say(VALUE_MAX, max.map(|n| n.to_string()));
            say(VALUE_MIN, min.map(|n| n.to_string()));
        }
        _ => {}
    }
    if all.is_empty() {
        all.push("Member must not be null".to_owned());
    }
    all
}

/// The constraints of a simple shape that `value` breaks.
fn broken(shape: &Shape, value: &Value) -> Vec<String> {
    match (&shape.kind, value) {
        (Kind::String { .. }, Value::String(text)) => broken_text(shape, text),
        (Kind::Blob { min, max }, Value::String(text)) => broken_length(scalar::base64_bytes(text), *min, *max),
        (Kind::Integer { min, max, .. }, Value::Number(n)) => broken_range(n.as_i64().unwrap_or(i64::MAX), *min, *max),
        (Kind::Double { min, max }, Value::Number(n)) => broken_range(n.as_f64().unwrap_or(f64::NAN), *min, *max),
        _ => Vec::new(),
    }
}

fn broken_text(shape: &Shape, text: &str) -> Vec<String> {
    let Kind::String { min, max, pattern, values } = &shape.kind else { return Vec::new() };
    let mut broken = Vec::new();
    if !values.is_empty() && !values.contains(&text) {
        broken.push(enum_set(values));
    }
    // A text that is far too long is not worth matching.
    if let Some(pattern) = pattern.filter(|p| text.len() <= PATTERN_BYTES_MAX && !p.matches(text)) {
        broken.push(format!("{PATTERN}{}", pattern.text));
    }
    if min.is_some() || max.is_some() {
        broken.extend(broken_length(text.chars().count() as u64, *min, *max));
    }
    broken
}

/// Patterned texts are at most 10,000 characters in the models; four bytes each.
const PATTERN_BYTES_MAX: usize = 64 << 10;

fn broken_length(n: u64, min: Option<u64>, max: Option<u64>) -> Vec<String> {
    let mut broken = Vec::new();
    broken.extend(max.filter(|max| n > *max).map(|max| format!("{LENGTH_MAX}{max}")));
    broken.extend(min.filter(|min| n < *min).map(|min| format!("{LENGTH_MIN}{min}")));
    broken
}

fn broken_range<T: PartialOrd + ToString>(n: T, min: Option<T>, max: Option<T>) -> Vec<String> {
    let mut broken = Vec::new();
    broken.extend(max.filter(|max| n > *max).map(|max| format!("{VALUE_MAX}{}", max.to_string())));
    broken.extend(min.filter(|min| n < *min).map(|min| format!("{VALUE_MIN}{}", min.to_string())));
    broken
}

/// A value as Java prints it: `[a, b]`, `{k=v}`.
fn show(value: &Value, out: &mut String) {
    // Past the bound nothing more will be shown.
    if out.len() > 4 * VALUE_CHARS_MAX {
        return;
    }
    let comma = |out: &mut String, i: usize| out.push_str(if i > 0 { ", " } else { "" });
    match value {
        Value::String(text) => out.extend(text.chars().take(VALUE_CHARS_MAX + 1)),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().take(VALUE_CHARS_MAX).enumerate() {
                comma(out, i);
                show(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (i, (key, item)) in map.iter().take(VALUE_CHARS_MAX).enumerate() {
                comma(out, i);
                out.extend(key.chars().take(VALUE_CHARS_MAX + 1));
                out.push('=');
                show(item, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}
