//! The query protocol: a form in, XML out. Lists are numbered from 1: `Entry.1.Id=a`, or `Names.member.1=a`.

use super::{body_name, malformed, scalar};
use crate::table::{Kind, Member, Names, Operation, Query, Service, Shape, ShapeIndex, TimeFormat};
use crate::{Encoded, Fault};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The most fields of a form.
const FIELDS_MAX: usize = 20_000;

/// A form's fields by name, decoded; those of the URL's query come first.
pub type Form = BTreeMap<String, String>;

/// The fields of a request.
///
/// # Errors
/// `SerializationException` where it is not a form, has too many fields, or one twice.
pub fn form(parts: &Parts, body: &[u8]) -> Result<Form, Fault> {
    let body = std::str::from_utf8(body).map_err(|_| malformed("The form is not UTF-8"))?;
    let is_form = |parts: &Parts| {
        let media_type = parts.headers.get(CONTENT_TYPE).and_then(|t| t.to_str().ok());
        media_type.is_none_or(|t| t.starts_with("application/x-www-form-urlencoded"))
    };
    let body = if is_form(parts) { body } else { "" };
    let mut form = Form::new();
    for pair in parts.uri.query().unwrap_or("").split('&').chain(body.split('&')).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if form.len() == FIELDS_MAX {
            return Err(malformed(format!("The form has more than {FIELDS_MAX} fields")));
        }
        if form.insert(decoded(name)?, decoded(value)?).is_some() {
            return Err(malformed(format!("Duplicate parameter: {name}")));
        }
    }
    Ok(form)
}

fn decoded(text: &str) -> Result<String, Fault> {
    let spaced = if text.contains('+') { text.replace('+', " ").into() } else { std::borrow::Cow::Borrowed(text) };
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(|t| t.into_owned()).map_err(|_| malformed("The form is not UTF-8"))
}

/// The input in the form that typed inputs have.
pub fn read(service: &Service, query: &Query, shape: ShapeIndex, parts: &Parts, body: &[u8]) -> Result<Value, Fault> {
    let form = form(parts, body)?;
    let reader = Reader { service, query, form: &form };
    let mut input = reader.structure(members(service.shape(shape)), "")?;
    let path = parts.uri.path();
    if let Some(member) = query.path_member.filter(|_| path.len() > 1)
        && members(service.shape(shape)).iter().any(|m| m.name == member)
    {
        input.entry(member).or_insert_with(|| path.into());
    }
    Ok(Value::Object(input))
}

fn members(shape: &Shape) -> &[Member] {
    match &shape.kind {
        Kind::Structure { members, .. } => members,
        _ => &[],
    }
}

struct Reader<'r> {
    service: &'r Service,
    query: &'r Query,
    form: &'r Form,
}

impl Reader<'_> {
    /// Is there a field of this name, or one below it?
    fn has(&self, name: &str) -> bool {
        let below = |key: &str| key.len() == name.len() || key.as_bytes()[name.len()] == b'.';
        self.form
            .range(name.to_owned()..)
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(name))
            .any(|key| below(key))
    }

    fn structure(&self, members: &[Member], prefix: &str) -> Result<Map<String, Value>, Fault> {
        let mut map = Map::new();
        for member in members {
            let Some(name) = body_name(member.location) else { continue };
            if let Some(value) = self.value(member.shape, prefix, name)? {
                map.insert(member.name.to_owned(), value);
            }
        }
        Ok(map)
    }

    /// The value of a member `name` of what lies at `prefix` (which ends in a dot, or is empty).
    fn value(&self, index: ShapeIndex, prefix: &str, name: &str) -> Result<Option<Value>, Fault> {
        let names = self.query.names(index);
        let kind = &self.service.shape(index).kind;
        match kind {
            Kind::List { item, .. } => {
                let Some(at) = self.content(names, prefix, name, "member") else {
                    // An empty list is its name alone.
                    return Ok(self.form.contains_key(&format!("{prefix}{name}")).then(|| Value::Array(Vec::new())));
                };
                self.items(*item, &at).map(|items| Some(Value::Array(items)))
            }
            Kind::Map { key, value, .. } => match self.content(names, prefix, name, "entry") {
                Some(at) => self.entries(*key, *value, names, &at).map(|map| Some(Value::Object(map))),
                None => Ok(None),
            },
            Kind::Structure { members, .. } => {
                let at = format!("{prefix}{name}");
                if !self.has(&at) {
                    return Ok(None);
                }
                self.structure(members, &format!("{at}.")).map(|map| Some(Value::Object(map)))
            }
            kind => match self.form.get(&format!("{prefix}{name}")) {
                Some(text) => scalar::read(kind, text, TimeFormat::Iso8601).map(Some),
                None => Ok(None),
            },
        }
    }

    /// Before which numbers the content of a list or map stands. Flat content may also stand under its member's name.
    fn content(&self, names: Names, prefix: &str, name: &str, usual: &str) -> Option<String> {
        let inner = names.item.unwrap_or(usual);
        let ways = match names.flat {
            true => [format!("{prefix}{}", names.item.unwrap_or(name)), format!("{prefix}{name}")],
            false => [format!("{prefix}{name}.{inner}"), format!("{prefix}{name}")],
        };
        ways.into_iter().find(|way| self.has(&format!("{way}.1")))
    }

    fn items(&self, item: ShapeIndex, at: &str) -> Result<Vec<Value>, Fault> {
        let mut items = Vec::new();
        for n in 1.. {
            match self.value(item, &format!("{at}."), &n.to_string())? {
                Some(value) => items.push(value),
                None => break,
            }
        }
        Ok(items)
    }

    fn entries(&self, key: ShapeIndex, value: ShapeIndex, names: Names, at: &str) -> Result<Map<String, Value>, Fault> {
        let mut map = Map::new();
        for n in 1.. {
            let prefix = format!("{at}.{n}.");
            let Some(Value::String(key)) = self.value(key, &prefix, names.key)? else { break };
            if let Some(value) = self.value(value, &prefix, names.value)? {
                map.insert(key, value);
            }
        }
        Ok(map)
    }
}

/// The document of a reply.
pub fn write(service: &Service, query: &Query, operation: &Operation, reply: &Encoded, request_id: &str) -> String {
    let name = operation.name;
    let mut out = format!("<?xml version=\"1.0\"?><{name}Response xmlns=\"{}\">", query.namespace);
    if let Some(shape) = operation.output {
        let _ = write!(out, "<{name}Result>");
        Writer { service, query, out: &mut out }.structure(members(service.shape(shape)), &reply.output);
        let _ = write!(out, "</{name}Result>");
    }
    let _ = write!(out, "<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>");
    out
}

/// The document of an error.
pub fn write_fault(query: &Query, fault: &Fault, request_id: &str) -> String {
    let kind = if fault.status < 500 { "Sender" } else { "Receiver" };
    let mut out = format!(
        "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"{}\"><Error><Type>{kind}</Type><Code>{}</Code><Message>",
        query.namespace,
        query.code(&fault.code)
    );
    escape(&fault.message, &mut out);
    let _ = write!(out, "</Message><Detail/></Error><RequestId>{request_id}</RequestId></ErrorResponse>");
    out
}

struct Writer<'w> {
    service: &'w Service,
    query: &'w Query,
    out: &'w mut String,
}

impl Writer<'_> {
    fn structure(&mut self, members: &[Member], value: &Value) {
        for member in members {
            let Some(name) = body_name(member.location) else { continue };
            if let Some(value) = value.get(member.name).filter(|v| !v.is_null()) {
                self.value(member.shape, value, name);
            }
        }
    }

    fn value(&mut self, index: ShapeIndex, value: &Value, name: &str) {
        let names = self.query.names(index);
        match (&self.service.shape(index).kind, value) {
            (Kind::List { item, .. }, Value::Array(items)) => self.collection(names, name, |w, inner| {
                items.iter().for_each(|v| w.value(*item, v, inner.unwrap_or("member")));
            }),
            (Kind::Map { key, value: of, .. }, Value::Object(map)) => self.collection(names, name, |w, inner| {
                for (k, v) in map {
                    w.element(inner.unwrap_or("entry"), |w| {
                        w.value(*key, &Value::from(k.as_str()), names.key);
                        w.value(*of, v, names.value);
                    });
                }
            }),
            (Kind::Structure { members, .. }, value) => self.element(name, |w| w.structure(members, value)),
            (kind, value) => {
                let text = scalar::write(kind, value, TimeFormat::Iso8601).unwrap_or_default();
                self.element(name, |w| escape(&text, w.out));
            }
        }
    }

    fn collection(&mut self, names: Names, name: &str, content: impl FnOnce(&mut Self, Option<&str>)) {
        match names.flat {
            true => content(self, Some(names.item.unwrap_or(name))),
            false => self.element(name, |w| content(w, names.item)),
        }
    }

    fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        let _ = write!(self.out, "<{name}>");
        content(self);
        let _ = write!(self.out, "</{name}>");
    }
}

/// Text as XML has it; line ends and tabs are kept by their numbers, and what XML cannot hold is left out.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\n' | '\t' => out.push(c),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
}
