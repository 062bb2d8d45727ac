//! Which messages of a queue a mapping wants.

use crate::error::{Error, Result};
use rules::pattern::Pattern;
use serde_json::Value;

/// AWS's quota, where it has been raised as far as it can be.
const FILTERS_MAX: usize = 10;
/// The longest pattern of one filter, in bytes.
const PATTERN_BYTES_MAX: usize = 4096;

/// A mapping's filter criteria: a message is wanted if one of them matches, or if there are none.
#[derive(Clone, Debug, Default)]
pub struct Filters(Vec<Pattern>);

impl Filters {
    /// Reads event patterns.
    ///
    /// # Errors
    /// There are too many of them, or one is none.
    pub fn parse(patterns: &[String]) -> Result<Self> {
        if patterns.len() > FILTERS_MAX {
            return Err(Error::Invalid(format!("Filter criteria can have at most {FILTERS_MAX} filters.")));
        }
        let parse = |text: &String| match Pattern::parse(text) {
            Ok(pattern) if text.len() <= PATTERN_BYTES_MAX => Ok(pattern),
            Ok(_) => Err(Error::Invalid("Invalid filter pattern definition.".into())),
            Err(error) => Err(Error::Invalid(format!("Invalid filter pattern definition. {error}"))),
        };
        patterns.iter().map(parse).collect::<Result<_>>().map(Self)
    }

    /// `record` is the message as the function would get it, with its body parsed where it is JSON.
    pub fn wants(&self, record: &Value) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_that_matches_is_enough() {
        let text = |pattern: Value| pattern.to_string();
        let filters = [text(json!({"body": {"kind": ["a"]}})), text(json!({"body": {"n": [{"numeric": [">", 3]}]}}))];
        let filters = Filters::parse(&filters).expect("patterns");
        assert!(filters.wants(&json!({"body": {"kind": "a"}})) && filters.wants(&json!({"body": {"n": 4}})));
        assert!(!filters.wants(&json!({"body": "{"})) && Filters::default().wants(&json!({})));
        for bad in ["", "{", "[]", "{\"a\": 1}"] {
            let error = Filters::parse(&[bad.to_owned()]).expect_err(bad).to_string();
            assert!(error.contains("Invalid filter pattern definition"), "{error}");
        }
        assert!(Filters::parse(&vec![text(json!({"a": [1]})); 11]).is_err());
    }
}
