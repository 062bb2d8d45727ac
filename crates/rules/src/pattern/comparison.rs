//! Comparisons of single values.

use serde_json::{Number, Value};
use std::cell::OnceCell;
use std::net::IpAddr;

/// A value of the event; its lower case is made once, however many comparisons ask for it.
pub(super) struct Scalar<'e> {
    value: &'e Value,
    lower: OnceCell<String>,
}

impl<'e> Scalar<'e> {
    pub(super) fn new(value: &'e Value) -> Self {
        Self { value, lower: OnceCell::new() }
    }

    fn text(&self, test: impl Fn(&str) -> bool) -> bool {
        self.value.as_str().is_some_and(test)
    }

    fn lower(&self, test: impl Fn(&str) -> bool) -> bool {
        self.value.as_str().is_some_and(|text| test(self.lower.get_or_init(|| text.to_lowercase())))
    }
}

/// What a value may be.
#[derive(Clone, Debug)]
pub(super) enum Comparison {
    Text(String),
    Number(Number),
    /// `true`, `false` or `null`.
    Literal(Value),
    Exists,
    Prefix(Text),
    Suffix(Text),
    /// In lower case.
    EqualsIgnoreCase(String),
    Wildcard(Wildcard),
    Range(Range),
    Network(Network),
    /// Any value that none of these matches.
    Not(Vec<Comparison>),
}

/// The text of a prefix or suffix.
#[derive(Clone, Debug)]
pub(super) enum Text {
    Exact(String),
    /// In lower case.
    IgnoreCase(String),
}

/// Numbers between two bounds, each with whether it is itself within.
#[derive(Clone, Debug, Default)]
pub(super) struct Range {
    pub low: Option<(f64, bool)>,
    pub high: Option<(f64, bool)>,
}

/// The addresses whose first `bits` are those of `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    pub address: IpAddr,
    pub bits: u32,
}

/// What stands before, between and after the asterisks; one piece if there is none.
#[derive(Clone, Debug)]
pub(super) struct Wildcard(pub Vec<String>);

impl Comparison {
    pub(super) fn matches(&self, scalar: &Scalar<'_>) -> bool {
        match self {
            Comparison::Text(wanted) => scalar.text(|t| t == wanted),
            Comparison::Number(wanted) => matches!(scalar.value, Value::Number(n) if equal(n, wanted)),
            Comparison::Literal(wanted) => scalar.value == wanted,
            Comparison::Exists => true,
            Comparison::Prefix(Text::Exact(prefix)) => scalar.text(|t| t.starts_with(prefix)),
            Comparison::Prefix(Text::IgnoreCase(prefix)) => scalar.lower(|t| t.starts_with(prefix)),
            Comparison::Suffix(Text::Exact(suffix)) => scalar.text(|t| t.ends_with(suffix)),
            Comparison::Suffix(Text::IgnoreCase(suffix)) => scalar.lower(|t| t.ends_with(suffix)),
            Comparison::EqualsIgnoreCase(wanted) => scalar.lower(|t| t == wanted),
            Comparison::Wildcard(wildcard) => scalar.text(|t| wildcard.matches(t)),
            Comparison::Range(range) => scalar.value.as_f64().is_some_and(|n| range.holds(n)),
            Comparison::Network(network) => scalar.text(|t| t.parse().is_ok_and(|address| network.holds(address))),
            Comparison::Not(unwanted) => !unwanted.iter().any(|c| c.matches(scalar)),
        }
    }
}

/// Whole numbers exactly, others as IEEE doubles.
fn equal(a: &Number, b: &Number) -> bool {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a == b,
        _ => a.as_f64() == b.as_f64(),
    }
}

impl Range {
    fn holds(&self, n: f64) -> bool {
        let above = self.low.is_none_or(|(low, within)| n > low || (within && n == low));
        above && self.high.is_none_or(|(high, within)| n < high || (within && n == high))
    }
}

impl Network {
    fn holds(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let others = width - self.bits.min(width);
            a.checked_shr(others).unwrap_or(0) == b.checked_shr(others).unwrap_or(0)
        };
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

impl Wildcard {
    /// The leftmost place for each piece is as good as any other, so nothing is ever tried again: linear time.
    fn matches(&self, text: &str) -> bool {
        let [first, between @ .., last] = self.0.as_slice() else {
            return self.0.first().is_some_and(|whole| whole == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for piece in between {
            let Some(at) = rest.find(piece.as_str()) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last.as_str())
    }
}
