//! Paths to parts of an event: the subset of JSONPath that EventBridge has.

use super::TransformError;
use serde_json::Value;

/// The longest path, in characters.
const CHARS_MAX: usize = 256;

/// A path to a part of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Element(usize),
    /// Every element of an array.
    All,
}

impl Path {
    pub fn parse(text: &str) -> Result<Self, TransformError> {
        let bad = || TransformError::Path(text.chars().take(CHARS_MAX).collect());
        let mut rest = text.strip_prefix('$').filter(|_| text.len() <= CHARS_MAX).ok_or_else(bad)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or_else(bad)?;
            steps.push(step);
            rest = after;
        }
        Ok(Self(steps))
    }

    /// What is there: `[*]` gives an array of what it finds, without what is missing.
    pub fn find(&self, event: &Value) -> Option<Value> {
        let mut found = vec![event];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.of(value)).collect();
        }
        match self.0.contains(&Step::All) {
            true => Some(Value::Array(found.into_iter().cloned().collect())),
            false => found.first().map(|&value| value.clone()),
        }
    }
}

impl Step {
    fn of<'e>(&self, value: &'e Value) -> Vec<&'e Value> {
        match self {
            Step::Field(name) => value.get(name.as_str()).into_iter().collect(),
            Step::Element(i) => value.get(i).into_iter().collect(),
            Step::All => value.as_array().into_iter().flatten().collect(),
        }
    }
}

/// The first step of `text`, and what comes after it.
fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let good = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || "]'\"*?@()".contains(c));
        return good.then(|| (Step::Field(name.to_owned()), after));
    }
    let rest = text.strip_prefix('[')?;
    for quote in ['\'', '"'] {
        if let Some(quoted) = rest.strip_prefix(quote) {
            let (name, after) = quoted.split_once(quote)?;
            return Some((Step::Field(name.to_owned()), after.strip_prefix(']')?));
        }
    }
    let (inner, after) = rest.split_once(']')?;
    match inner {
        "*" => Some((Step::All, after)),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => Some((Step::Element(digits.parse().ok()?), after)),
        _ => None,
    }
}
