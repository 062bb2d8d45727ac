//! The price book: what usage costs, by AWS's public rates unless a file says otherwise.

use crate::client::wadi::FunctionUsage;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

const AWS: &str = include_str!("../prices/aws-us-east-1.toml");

/// Rates in one currency. A rate must be given even if it is 0, so that a typing error cannot make things free.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PriceBook {
    pub name: String,
    pub currency: String,
    pub per_million_requests: f64,
    pub per_gb_second: f64,
}

impl PriceBook {
    /// AWS's public rates.
    pub fn aws() -> Self {
        toml::from_str(AWS).expect("the built-in book is checked by a test")
    }

    /// The book in a file, or AWS's.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        let Some(path) = file else { return Ok(Self::aws()) };
        let text = std::fs::read_to_string(path).map_err(crate::error::at(path))?;
        let book: Self = toml::from_str(&text).map_err(|e| {
            Error::usage(
                format!("{} is not a price book: {}", path.display(), e.message()),
                "it has four lines: name = \"…\", currency = \"…\", per_million_requests = …, per_gb_second = …",
            )
        })?;
        let sound = |rate: f64| rate.is_finite() && rate >= 0.0;
        if !sound(book.per_million_requests) || !sound(book.per_gb_second) {
            return Err(Error::usage(format!("{} has a negative rate", path.display()), "rates are 0 or more"));
        }
        Ok(book)
    }

    /// What so much costs, in the book's currency.
    pub fn cost(&self, invocations: u64, gb_seconds: f64) -> f64 {
        invocations as f64 / 1e6 * self.per_million_requests + gb_seconds * self.per_gb_second
    }

    /// How the total comes about, in one line.
    pub fn explain(&self, total: &FunctionUsage) -> String {
        format!(
            "{} requests × {} {} per million + {:.3} GB-s × {} {} = {} ({})",
            total.invocations,
            self.per_million_requests,
            self.currency,
            total.gb_seconds,
            self.per_gb_second,
            self.currency,
            self.money(self.cost(total.invocations, total.gb_seconds)),
            self.name
        )
    }

    /// An amount with enough digits to see a single invocation.
    pub fn money(&self, amount: f64) -> String {
        let digits = if amount == 0.0 || amount >= 1.0 { 2 } else { 8 };
        format!("{amount:.digits$} {}", self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_rates_to_the_cent() {
        let book = PriceBook::aws();
        // AWS's own example: 3 million requests of 120 ms at 1536 MB is 540,000 GB-s: $0.60 and $9.00.
        let gb_seconds = 3e6 * 0.12 * 1.5;
        assert!((book.cost(3_000_000, gb_seconds) - 9.60).abs() < 1e-3);
        assert_eq!(book.cost(0, 0.0), 0.0);
        assert_eq!(book.money(book.cost(1, 0.0)), "0.00000020 USD");
    }

    #[test]
    fn a_file_replaces_the_book_and_is_checked() {
        let dir = tempfile::tempdir().expect("tempdir");
        let check = |text: &str| {
            let file = dir.path().join("book.toml");
            std::fs::write(&file, text).expect("write");
            PriceBook::load(Some(&file))
        };
        let own = "name = \"ours\"\ncurrency = \"EUR\"\nper_million_requests = 0\nper_gb_second = 0.5\n";
        assert_eq!(check(own).expect("valid").cost(1_000_000, 2.0), 1.0);
        for bad in ["", "name = 1", &own.replace("0.5", "-1"), &format!("{own}free = true\n")] {
            assert_eq!(check(bad).expect_err(bad).exit_code(), 2, "{bad}");
        }
    }
}
