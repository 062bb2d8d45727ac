//! Conditions: operators over the keys of a request's context.

use super::Invalid;
use super::pattern::{arn_like, like};

/// One operator applied to one key: true if the key's value fits any of `values` (none of them, when negated).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    test: Test,
    negated: bool,
    if_exists: bool,
    key: String,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Test {
    Equal,
    EqualIgnoringCase,
    Like,
    Arn,
    Bool,
    Null,
    Number(Order),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    pub(super) fn new(operator: &str, key: &str, values: Vec<String>) -> Result<Self, Invalid> {
        let (name, if_exists) = match operator.strip_suffix("IfExists") {
            Some(name) if name != "Null" => (name, true),
            _ => (operator, false),
        };
        let (test, negated) = match name {
            "StringEquals" => (Test::Equal, false),
            "StringNotEquals" => (Test::Equal, true),
            "StringEqualsIgnoreCase" => (Test::EqualIgnoringCase, false),
            "StringNotEqualsIgnoreCase" => (Test::EqualIgnoringCase, true),
            "StringLike" => (Test::Like, false),
            "StringNotLike" => (Test::Like, true),
            "ArnEquals" | "ArnLike" => (Test::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
            "Bool" => (Test::Bool, false),
            "Null" => (Test::Null, false),
            "NumericEquals" => (Test::Number(Order::Equal), false),
            "NumericNotEquals" => (Test::Number(Order::Equal), true),
            "NumericLessThan" => (Test::Number(Order::Less), false),
            "NumericLessThanEquals" => (Test::Number(Order::LessOrEqual), false),
            "NumericGreaterThan" => (Test::Number(Order::Greater), false),
            "NumericGreaterThanEquals" => (Test::Number(Order::GreaterOrEqual), false),
            _ => return Err(Invalid(format!("condition operator {operator:?} is not supported"))),
        };
        if values.is_empty() {
            return Err(Invalid(format!("condition {operator} on {key:?} has no value")));
        }
        Ok(Self { test, negated, if_exists, key: key.to_owned(), values })
    }

    /// A key that is not in the context fails every test, and so passes every negated one, as in IAM.
    pub(super) fn holds(&self, context: &[(&str, &str)]) -> bool {
        let found = context.iter().find(|(key, _)| key.eq_ignore_ascii_case(&self.key)).map(|(_, value)| *value);
        if self.test == Test::Null {
            return self.values.iter().any(|v| v.eq_ignore_ascii_case(if found.is_none() { "true" } else { "false" }));
        }
        match found {
            Some(actual) => self.values.iter().any(|wanted| self.test.fits(wanted, actual)) != self.negated,
            None => self.if_exists || self.negated,
        }
    }
}

impl Test {
    fn fits(self, wanted: &str, actual: &str) -> bool {
        match self {
            Test::Equal => wanted == actual,
            Test::EqualIgnoringCase => wanted.to_lowercase() == actual.to_lowercase(),
            Test::Like => like(wanted, actual),
            Test::Arn => arn_like(wanted, actual),
            Test::Bool => wanted.eq_ignore_ascii_case(actual),
            Test::Null => false,
            Test::Number(order) => match (wanted.parse::<f64>(), actual.parse::<f64>()) {
                (Ok(wanted), Ok(actual)) => order.fits(wanted, actual),
                _ => false,
            },
        }
    }
}

impl Order {
    fn fits(self, wanted: f64, actual: f64) -> bool {
        match self {
            Order::Equal => actual == wanted,
            Order::Less => actual < wanted,
            Order::LessOrEqual => actual <= wanted,
            Order::Greater => actual > wanted,
            Order::GreaterOrEqual => actual >= wanted,
        }
    }
}
