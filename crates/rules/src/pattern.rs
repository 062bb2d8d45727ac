//! Event patterns: EventBridge's rules, event source mappings' filters and SNS's filter policies say with them which
//! events they want.
//!
//! A pattern is a JSON object of the event's shape. Fields must all match; a leaf is an array of values and comparisons
//! of which one must. Where the event has an array, one element must match; fields below it must match within the same
//! element. Comparisons: `prefix`, `suffix`, `equals-ignore-case`, `wildcard`, `anything-but`, `numeric`, `cidr`,
//! `exists`; `$or` takes alternatives of several fields.
//!
//! Values compare as EventBridge compares them: strings by character, an IP address also in its other spellings, numbers
//! by value (`300` is `3.0e2`), `true`, `false` and `null` as themselves. `exists` looks at leaves only: an object or an
//! empty array is not there, `null` is, and `{"exists": false}` asks that no element of an array has the leaf.
//!
//! Source: <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html>; the words of
//! errors are event-ruler's. A match takes at most `pattern × event` steps, whatever the two are.

mod comparison;
mod index;
mod parse;
#[cfg(test)]
mod tests;

pub use index::Index;

use comparison::{Comparison, Scalar};
use serde_json::Value;
use std::cell::Cell;

/// The longest pattern, in bytes: SNS's filter policies may be that long, EventBridge's patterns are shorter.
pub const BYTES_MAX: usize = 256 << 10;

/// A pattern, ready to match.
#[derive(Clone, Debug)]
pub struct Pattern {
    root: Fields,
    /// How many leaves ask for absence.
    absences: usize,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Event pattern is not valid. Reason: {reason}")]
pub struct PatternError {
    pub reason: String,
}

/// Fields of one object: all must match, and of each group in `any` one alternative.
#[derive(Clone, Debug, Default)]
struct Fields {
    all: Vec<(String, Node)>,
    any: Vec<Vec<Fields>>,
}

#[derive(Clone, Debug)]
enum Node {
    Fields(Fields),
    Leaf(Leaf),
}

/// What one field may be.
#[derive(Clone, Debug)]
struct Leaf {
    any: Vec<Comparison>,
    /// It may also be absent.
    absent: Option<Absence>,
}

#[derive(Clone, Debug)]
struct Absence {
    /// Its place among the pattern's absences.
    number: usize,
    /// From the root of the event.
    path: Vec<String>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The text is longer than [`BYTES_MAX`], is not JSON (of at most 127 levels), or breaks the grammar.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        parse::pattern(text)
    }

    /// Does the event match?
    pub fn matches(&self, event: &Value) -> bool {
        let known = vec![Cell::new(None); self.absences];
        self.root.matches(Some(event), &Match { event, known })
    }
}

/// One match under way: the event, and which absences have been looked up in it.
struct Match<'e> {
    event: &'e Value,
    known: Vec<Cell<Option<bool>>>,
}

impl Match<'_> {
    fn absent(&self, absence: &Absence) -> bool {
        let Some(known) = self.known.get(absence.number) else { return false };
        let absent = known.get().unwrap_or_else(|| !there(self.event, &absence.path));
        known.set(Some(absent));
        absent
    }
}

impl Fields {
    fn matches(&self, value: Option<&Value>, m: &Match<'_>) -> bool {
        if let Some(Value::Array(elements)) = value {
            return elements.iter().any(|element| self.matches(Some(element), m))
                || (elements.is_empty() && self.matches(None, m));
        }
        let field = |name: &str| value.and_then(|v| v.as_object()).and_then(|o| o.get(name));
        self.all.iter().all(|(name, node)| match node {
            Node::Fields(fields) => fields.matches(field(name), m),
            Node::Leaf(leaf) => leaf.matches(field(name), m),
        }) && self.any.iter().all(|group| group.iter().any(|fields| fields.matches(value, m)))
    }
}

impl Leaf {
    fn matches(&self, value: Option<&Value>, m: &Match<'_>) -> bool {
        let fits = |value: &Value| {
            let scalar = Scalar::new(value);
            self.any.iter().any(|comparison| comparison.matches(&scalar))
        };
        value.is_some_and(|value| any_scalar(value, &fits))
            || self.absent.as_ref().is_some_and(|absence| m.absent(absence))
    }
}

/// Does a value, or an element of an array of values, fulfil `wanted`? Objects are no values.
fn any_scalar(value: &Value, wanted: &dyn Fn(&Value) -> bool) -> bool {
    match value {
        Value::Array(elements) => elements.iter().any(|element| any_scalar(element, wanted)),
        Value::Object(_) => false,
        scalar => wanted(scalar),
    }
}

/// Is there a leaf at `path`, in any element of the arrays on the way?
fn there(value: &Value, path: &[String]) -> bool {
    match (value, path) {
        (Value::Array(elements), [_, ..]) => elements.iter().any(|element| there(element, path)),
        (Value::Object(fields), [name, rest @ ..]) => fields.get(name).is_some_and(|value| there(value, rest)),
        (leaf, []) => any_scalar(leaf, &|_| true),
        _ => false,
    }
}
