//! From text to a pattern, with event-ruler's words for what is wrong.

use super::comparison::{Comparison, Network, Range, Text, Wildcard};
use super::{Absence, BYTES_MAX, Fields, Leaf, Node, Pattern, PatternError};
use serde_json::{Map, Value};
use std::net::IpAddr;

const OR: &str = "$or";
/// Names that a field inside `$or` cannot have.
const RESERVED: [&str; 9] =
    ["exact", "prefix", "suffix", "equals-ignore-case", "wildcard", "numeric", "cidr", "exists", "anything-but"];
const ONE_KEY: &str = "Only one key allowed in match expression";

type Result<T> = std::result::Result<T, PatternError>;

fn wrong<T>(reason: impl Into<String>) -> Result<T> {
    Err(PatternError { reason: reason.into() })
}

pub(super) fn pattern(text: &str) -> Result<Pattern> {
    if text.len() > BYTES_MAX {
        return wrong(format!("Event pattern is longer than {BYTES_MAX} bytes"));
    }
    let value: Value = serde_json::from_str(text).map_err(|e| PatternError { reason: e.to_string() })?;
    let Value::Object(fields) = &value else { return wrong("Filter is not an object") };
    let mut parser = Parser { path: Vec::new(), absences: 0 };
    let root = parser.fields(fields, false)?;
    Ok(Pattern { root, absences: parser.absences })
}

struct Parser {
    path: Vec<String>,
    absences: usize,
}

impl Parser {
    fn fields(&mut self, given: &Map<String, Value>, inside_or: bool) -> Result<Fields> {
        if given.is_empty() {
            return wrong("Empty objects are not allowed");
        }
        let mut fields = Fields::default();
        for (name, value) in given {
            if name == OR {
                fields.any.push(self.alternatives(value)?);
                continue;
            }
            if inside_or && RESERVED.contains(&name.as_str()) {
                return wrong(format!("{name} is Ruler reserved fieldName which cannot be used inside {OR}."));
            }
            self.path.push(name.clone());
            let node = match value {
                Value::Object(below) => Node::Fields(self.fields(below, inside_or)?),
                Value::Array(values) => Node::Leaf(self.leaf(values)?),
                _ => return wrong(format!("\"{name}\" must be an object or an array")),
            };
            self.path.pop();
            fields.all.push((name.clone(), node));
        }
        Ok(fields)
    }

    fn alternatives(&mut self, value: &Value) -> Result<Vec<Fields>> {
        let Value::Array(given) = value else { return wrong(format!("It must be an Array followed with {OR}.")) };
        let mut alternatives = Vec::with_capacity(given.len());
        for alternative in given {
            let Value::Object(fields) = alternative else {
                return wrong(format!("Only JSON object is allowed in array of {OR} relationship."));
            };
            alternatives.push(self.fields(fields, true)?);
        }
        if alternatives.len() < 2 {
            return wrong(format!("There must have at least 2 Objects in {OR} relationship."));
        }
        Ok(alternatives)
    }

    fn leaf(&mut self, values: &[Value]) -> Result<Leaf> {
        if values.is_empty() {
            return wrong("Empty arrays are not allowed");
        }
        let mut leaf = Leaf { any: Vec::with_capacity(values.len()), absent: None };
        for value in values {
            match value {
                Value::Array(_) => return wrong("Match value must be String, number, true, false, or null"),
                Value::Object(expression) => match self.expression(expression)? {
                    Some(comparison) => leaf.any.push(comparison),
                    None => leaf.absent = Some(self.absence()),
                },
                Value::String(text) => leaf.any.extend(exact(text)),
                Value::Number(n) => leaf.any.push(Comparison::Number(n.clone())),
                literal => leaf.any.push(Comparison::Literal(literal.clone())),
            }
        }
        Ok(leaf)
    }

    fn absence(&mut self) -> Absence {
        let number = self.absences;
        self.absences += 1;
        Absence { number, path: self.path.clone() }
    }

    /// A comparison; `None` is `{"exists": false}`.
    fn expression(&self, given: &Map<String, Value>) -> Result<Option<Comparison>> {
        let (name, value) = single(given, "Match expression name not found")?;
        Ok(Some(match name {
            "exact" => Comparison::Text(text(value, "exact match pattern must be a string")?),
            "prefix" => Comparison::Prefix(affix("prefix", value)?),
            "suffix" => Comparison::Suffix(affix("suffix", value)?),
            "equals-ignore-case" => Comparison::EqualsIgnoreCase(
                text(value, "equals-ignore-case match pattern must be a string")?.to_lowercase(),
            ),
            "wildcard" => Comparison::Wildcard(wildcard(&text(value, "wildcard match pattern must be a string")?)?),
            "numeric" => Comparison::Range(numeric(value)?),
            "cidr" => Comparison::Network(cidr(&text(value, "prefix match pattern must be a string")?)?),
            "anything-but" => Comparison::Not(anything_but(value)?),
            "exists" => match value {
                Value::Bool(true) => Comparison::Exists,
                Value::Bool(false) => return Ok(None),
                _ => return wrong("exists match pattern must be either true or false."),
            },
            other => return wrong(format!("Unrecognized match type {other}")),
        }))
    }
}

/// An exact text; an address in every spelling.
fn exact(text: &str) -> Vec<Comparison> {
    let mut any = vec![Comparison::Text(text.to_owned())];
    if let Ok(address) = text.parse::<IpAddr>() {
        any.push(Comparison::Network(Network { address, bits: 128 }));
    }
    any
}

fn single<'a>(given: &'a Map<String, Value>, none: &str) -> Result<(&'a str, &'a Value)> {
    match given.iter().next() {
        None => wrong(none),
        Some(_) if given.len() > 1 => wrong(ONE_KEY),
        Some((name, value)) => Ok((name, value)),
    }
}

fn text(value: &Value, otherwise: &str) -> Result<String> {
    value.as_str().map_or_else(|| wrong(otherwise), |text| Ok(text.to_owned()))
}

/// A prefix or suffix: a string, or one whose case does not count.
fn affix(kind: &str, value: &Value) -> Result<Text> {
    let Value::Object(given) = value else {
        return Ok(Text::Exact(text(value, &format!("{kind} match pattern must be a string"))?));
    };
    match single(given, &format!("{kind} expression name not found"))? {
        ("equals-ignore-case", value) => {
            let text = text(value, "equals-ignore-case match pattern must be a string")?;
            Ok(Text::IgnoreCase(text.to_lowercase()))
        }
        (other, _) => wrong(format!("Unsupported {kind} pattern: {other}")),
    }
}

/// Asterisks stand for any text; `\*` is an asterisk, `\\` a backslash.
fn wildcard(text: &str) -> Result<Wildcard> {
    let mut pieces = vec![String::new()];
    let mut chars = text.chars().enumerate().peekable();
    while let Some((at, c)) = chars.next() {
        let last = pieces.last_mut().expect("never empty");
        match c {
            '*' if chars.peek().is_some_and(|(_, next)| *next == '*') => {
                return wrong(format!("Consecutive wildcard characters at pos {at}"));
            }
            '*' => pieces.push(String::new()),
            '\\' => match chars.next() {
                Some((_, escaped @ ('*' | '\\'))) => last.push(escaped),
                _ => return wrong(format!("Invalid escape character at pos {at}")),
            },
            c => last.push(c),
        }
    }
    Ok(Wildcard(pieces))
}

fn anything_but(value: &Value) -> Result<Vec<Comparison>> {
    match value {
        Value::Object(given) => anything_but_expression(given),
        Value::Array(values) => {
            let any = |test: fn(&Value) -> bool| values.iter().any(test);
            if any(|v| !v.is_string() && !v.is_number()) {
                return wrong("Inside anything but list, start|null|boolean is not supported.");
            }
            if any(Value::is_string) == any(Value::is_number) {
                return wrong(
                    "Inside anything but list, either all values are number or string, mixed type is not supported",
                );
            }
            Ok(values.iter().map(unwanted).collect())
        }
        Value::String(_) | Value::Number(_) => Ok(vec![unwanted(value)]),
        _ => wrong("Value of anything-but must be an array or single string/number value."),
    }
}

fn unwanted(value: &Value) -> Comparison {
    match value {
        Value::String(text) => Comparison::Text(text.clone()),
        Value::Number(n) => Comparison::Number(n.clone()),
        other => Comparison::Literal(other.clone()),
    }
}

/// `anything-but` with a comparison of a text or of several.
fn anything_but_expression(given: &Map<String, Value>) -> Result<Vec<Comparison>> {
    let (name, value) = single(given, "Anything-But expression name not found")?;
    let make: fn(&str) -> Result<Comparison> = match name {
        "prefix" => |text| Ok(Comparison::Prefix(Text::Exact(not_empty(text)?))),
        "suffix" => |text| Ok(Comparison::Suffix(Text::Exact(not_empty(text)?))),
        "equals-ignore-case" => |text| Ok(Comparison::EqualsIgnoreCase(text.to_lowercase())),
        "wildcard" => |text| Ok(Comparison::Wildcard(wildcard(text)?)),
        other => return wrong(format!("Unsupported anything-but pattern: {other}")),
    };
    match value {
        Value::String(text) => Ok(vec![make(text)?]),
        Value::Array(values) if !values.is_empty() => {
            let list = format!("Inside anything-but/{name} list, number|start|null|boolean is not supported.");
            values.iter().map(|value| make(&text(value, &list)?)).collect()
        }
        Value::Array(_) => wrong("Empty arrays are not allowed"),
        _ => wrong(format!("Value of {name} must be an array or single string value.")),
    }
}

fn not_empty(text: &str) -> Result<String> {
    if text.is_empty() { wrong("Null prefix/suffix not allowed") } else { Ok(text.to_owned()) }
}

/// `["=", n]`, `[">", n]`, `[">=", n, "<", m]`, …
fn numeric(value: &Value) -> Result<Range> {
    let Value::Array(terms) = value else { return wrong("Value of numeric must be an array.") };
    let operator = match terms.first() {
        Some(Value::String(operator)) => operator.as_str(),
        Some(other) => return wrong(format!("Invalid member in numeric match: {other}")),
        None => return wrong("Invalid member in numeric match: ]"),
    };
    let bound = |at: usize, operator: &str| match terms.get(at).and_then(Value::as_f64) {
        Some(n) => Ok(n),
        None if operator == "=" => wrong("Value of equals must be numeric"),
        None => wrong(format!("Value of {operator} must be numeric")),
    };
    let mut range = Range::default();
    match operator {
        "=" => {
            let n = bound(1, "=")?;
            range = Range { low: Some((n, true)), high: Some((n, true)) };
        }
        "<" | "<=" => range.high = Some((bound(1, operator)?, operator == "<=")),
        ">" | ">=" => {
            range.low = Some((bound(1, operator)?, operator == ">="));
            return upper(terms, range, bound);
        }
        other => return wrong(format!("Unrecognized numeric range operator: {other}")),
    }
    if terms.len() > 2 { wrong("Too many elements in numeric expression") } else { Ok(range) }
}

/// The upper end of a range that has a lower one.
fn upper(terms: &[Value], mut range: Range, bound: impl Fn(usize, &str) -> Result<f64>) -> Result<Range> {
    let operator = match terms.get(2) {
        None => return Ok(range),
        Some(Value::String(operator)) => operator.as_str(),
        Some(other) => return wrong(format!("Bad value in numeric range: {other}")),
    };
    if !matches!(operator, "<" | "<=") {
        return wrong(format!("Bad numeric range operator: {operator}"));
    }
    let high = bound(3, operator)?;
    if terms.len() > 4 {
        return wrong("Too many terms in numeric range expression");
    }
    if range.low.is_some_and(|(low, _)| low >= high) {
        return wrong("Bottom must be less than top");
    }
    range.high = Some((high, operator == "<="));
    Ok(range)
}

fn cidr(text: &str) -> Result<Network> {
    let Some((address, bits)) = text.split_once('/').filter(|(_, bits)| !bits.contains('/')) else {
        return wrong("Malformed CIDR, one '/' required");
    };
    let Ok(bits) = bits.parse::<i64>() else { return wrong("Malformed CIDR, mask bits must be an integer") };
    let Ok(bits) = u32::try_from(bits) else { return wrong("Malformed CIDR, mask bits must not be negative") };
    match address.parse::<IpAddr>() {
        Err(_) => wrong(format!("Nonstandard IP address: {address}")),
        Ok(IpAddr::V4(_)) if bits > 32 => wrong("IPv4 mask bits must be <= 32"),
        Ok(IpAddr::V6(_)) if bits > 128 => wrong("IPv6 mask bits must be <= 128"),
        Ok(address) => Ok(Network { address, bits }),
    }
}
