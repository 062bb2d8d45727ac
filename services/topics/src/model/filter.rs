//! Filter policies: which messages a subscription wants.
//!
//! The grammar is that of event patterns (`rules::pattern`). SNS's own: a policy sees the message's attributes or its
//! body; of attributes it is flat; it is bounded in keys and combinations; an empty one wants everything.
//! Source: <https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html>.

use super::message::Message;
use rules::pattern::{BYTES_MAX, Pattern};
use serde_json::{Map, Value};

const KEYS_MAX: usize = 5;
const COMBINATIONS_MAX: u64 = 150;
const NUMBER_MAX: f64 = 1e9;
/// What a wildcard costs, and a policy's wildcards together: "Filter policy constraints", complexity of wildcards.
const WILDCARDS_MAX: usize = 3;
const OR: &str = "$or";
/// `FilterPolicyScope`, if it is not given.
pub const ATTRIBUTES: &str = "MessageAttributes";
pub const BODY: &str = "MessageBody";

/// A policy, ready to match.
#[derive(Clone, Debug)]
pub struct Filter {
    pattern: Pattern,
    of_body: bool,
}

/// A message as filters see it: each side is made when the first asks for it.
pub struct Seen<'m> {
    message: &'m Message,
    attributes: std::cell::OnceCell<Value>,
    body: std::cell::OnceCell<Option<Value>>,
}

impl<'m> Seen<'m> {
    pub fn new(message: &'m Message) -> Self {
        Self { message, attributes: Default::default(), body: Default::default() }
    }
}

impl Filter {
    pub fn wants(&self, seen: &Seen<'_>) -> bool {
        if !self.of_body {
            return self.pattern.matches(seen.attributes.get_or_init(|| seen.message.filterable()));
        }
        // What is no JSON object no policy wants.
        let read = || serde_json::from_str(&seen.message.body).ok().filter(Value::is_object);
        seen.body.get_or_init(read).as_ref().is_some_and(|body| self.pattern.matches(body))
    }
}

/// Reads a policy; `None` is one that wants everything.
///
/// # Errors
/// Why it is none, in SNS's words.
pub fn parse(text: &str, scope: &str) -> Result<Option<Filter>, String> {
    if text.len() > BYTES_MAX {
        return Err(format!("Filter policy is longer than {BYTES_MAX} bytes"));
    }
    let value: Value = serde_json::from_str(text).map_err(|_| "failed to parse JSON.".to_owned())?;
    let Value::Object(fields) = value else { return Err("Filter policy must be a JSON object".into()) };
    if fields.is_empty() {
        return Ok(None);
    }
    let of_body = scope == BODY;
    if !of_body && is_nested(&fields) {
        return Err(format!("Filter policy scope {ATTRIBUTES} does not support nested filter policy"));
    }
    if keys(&fields) > KEYS_MAX {
        return Err(format!("Filter policy can not have more than {KEYS_MAX} keys"));
    }
    if combinations(&fields, 1) > COMBINATIONS_MAX {
        return Err("Filter policy is too complex".into());
    }
    fields.values().try_for_each(check_values)?;
    let pattern = Pattern::parse(text).map_err(|error| error.reason)?;
    Ok(Some(Filter { pattern, of_body }))
}

fn alternatives(value: &Value) -> impl Iterator<Item = &Map<String, Value>> {
    value.as_array().into_iter().flatten().filter_map(Value::as_object)
}

fn is_nested(fields: &Map<String, Value>) -> bool {
    fields.iter().any(|(name, value)| match name.as_str() {
        OR => alternatives(value).any(is_nested),
        _ => value.is_object(),
    })
}

/// The keys at the top, those of alternatives among them.
fn keys(fields: &Map<String, Value>) -> usize {
    let count = |(name, value): (&String, &Value)| match name.as_str() {
        OR => alternatives(value).map(keys).max().unwrap_or(0),
        _ => 1,
    };
    fields.iter().map(count).sum()
}

/// The number of values of each leaf times its depth, multiplied over all leaves; alternatives add up.
fn combinations(fields: &Map<String, Value>, depth: u64) -> u64 {
    let count = |(name, value): (&String, &Value)| match value {
        Value::Array(_) if name == OR => {
            alternatives(value).map(|f| combinations(f, depth)).fold(0, |all: u64, n| all.saturating_add(n))
        }
        Value::Array(values) => depth.saturating_mul(values.len().max(1) as u64),
        Value::Object(below) => combinations(below, depth + 1),
        _ => 1,
    };
    fields.iter().map(count).fold(1_u64, |all, n| all.saturating_mul(n))
}

/// Numbers within SNS's range, and texts with few wildcards.
fn check_values(value: &Value) -> Result<(), String> {
    match value {
        Value::Number(n) if n.as_f64().is_none_or(|n| n.abs() > NUMBER_MAX) => {
            Err(format!("Value of {n} is not between -1.0E9 and 1.0E9"))
        }
        Value::Array(values) => values.iter().try_for_each(check_values),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| match (name.as_str(), value) {
            ("wildcard", Value::String(text)) if text.matches('*').count() > WILDCARDS_MAX => {
                Err(format!("Filter policy is too complex: a wildcard has at most {WILDCARDS_MAX} asterisks"))
            }
            (_, value) => check_values(value),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Attribute, Value as Content};
    use super::*;
    use serde_json::json;

    fn message(attributes: &[(&str, &str, &str)], body: &str) -> Message {
        let attribute = |(name, kind, value): &(&str, &str, &str)| {
            ((*name).to_owned(), Attribute { kind: (*kind).into(), value: Content::Text((*value).into()) })
        };
        Message { body: body.into(), attributes: attributes.iter().map(attribute).collect(), ..Message::default() }
    }

    fn wants(policy: Value, scope: &str, message: &Message) -> bool {
        let filter = parse(&policy.to_string(), scope).expect("a policy");
        filter.is_none_or(|filter| filter.wants(&Seen::new(message)))
    }

    #[test]
    fn of_attributes() {
        let m = message(
            &[("store", "String", "shop"), ("price", "Number", "99.50"), ("tags", "String.Array", r#"["a", 7, null]"#)],
            "not JSON",
        );
        for (policy, expect) in [
            (json!({"store": ["shop"]}), true),
            (json!({"store": ["Shop"]}), false),
            (json!({"store": [{"prefix": "sh"}], "price": [{"numeric": [">", 99, "<=", 100]}]}), true),
            (json!({"price": [99.5]}), true),
            (json!({"price": ["99.50"]}), false),
            (json!({"store": [{"anything-but": ["shop"]}]}), false),
            (json!({"tags": ["a"]}), true),
            (json!({"tags": [7]}), true),
            (json!({"tags": ["b"]}), false),
            (json!({"absent": [{"exists": false}]}), true),
            (json!({"absent": ["x"]}), false),
            (json!({"$or": [{"store": ["x"]}, {"price": [99.5]}]}), true),
            (json!({}), true),
        ] {
            assert_eq!(wants(policy.clone(), ATTRIBUTES, &m), expect, "{policy}");
        }
    }

    #[test]
    fn of_bodies() {
        let m = message(&[], r#"{"order": {"items": [{"sku": "a"}, {"sku": "b"}]}}"#);
        assert!(wants(json!({"order": {"items": {"sku": ["b"]}}}), BODY, &m));
        assert!(!wants(json!({"order": {"items": {"sku": ["c"]}}}), BODY, &m));
        assert!(!wants(json!({"order": ["x"]}), BODY, &message(&[], "order x")));
        assert!(!wants(json!({"a": [{"exists": false}]}), BODY, &message(&[], "[1]")), "no object");
    }

    #[test]
    fn bounds() {
        let refused = |policy: Value, scope: &str| parse(&policy.to_string(), scope).expect_err("refused");
        let nested = json!({"a": {"b": ["c"]}});
        assert!(refused(nested.clone(), ATTRIBUTES).contains("does not support nested"));
        assert!(parse(&nested.to_string(), BODY).is_ok());
        let many = |n: usize| (0..n).map(|i| (format!("k{i}"), json!(["v"]))).collect::<Map<_, _>>();
        assert!(parse(&Value::from(many(5)).to_string(), ATTRIBUTES).is_ok());
        assert_eq!(refused(many(6).into(), ATTRIBUTES), "Filter policy can not have more than 5 keys");
        let values = |n: usize| json!({"k": (0..n).collect::<Vec<_>>()});
        assert!(parse(&values(150).to_string(), ATTRIBUTES).is_ok());
        assert_eq!(refused(values(151), ATTRIBUTES), "Filter policy is too complex");
        // 4 values at a depth of 3, 3 at 2, 3 at 1.
        let deep = json!({"a": {"b": {"c": [1, 2, 3, 4]}}, "d": {"e": [1, 2, 3]}, "f": [1, 2, 3]});
        assert_eq!(combinations(deep.as_object().expect("one"), 1), 216);
        assert_eq!(refused(deep, BODY), "Filter policy is too complex");
        let huge: Map<_, _> = (0..6).map(|i| (i.to_string(), (0..2000).collect())).collect();
        assert_eq!(refused(json!({"$or": [{"a": huge}, {"a": huge}]}), BODY), "Filter policy is too complex");
        assert!(parse("{", ATTRIBUTES).is_err() && parse("[]", ATTRIBUTES).is_err());
        assert!(refused(json!({"k": "v"}), ATTRIBUTES).contains("must be an object or an array"));
        assert!(refused(json!({"k": [2e9]}), ATTRIBUTES).contains("1.0E9"));
        assert!(refused(json!({"k": [{"wildcard": "*a*b*c*"}]}), ATTRIBUTES).contains("too complex"));
        assert!(parse(&"[".repeat(100_000), BODY).is_err());
        assert!(parse(&format!("{{\"k\": [\"{}\"]}}", "x".repeat(BYTES_MAX)), BODY).is_err());
    }
}
