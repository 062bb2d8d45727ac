//! SNS's rules, whatever the API or disk looks like. No IO.

pub mod attributes;
pub mod feedback;
pub mod filter;
pub mod message;
pub mod name;
pub mod policy;
pub mod retry;
pub mod subscription;

use crate::error::{Error, Result};
use std::collections::BTreeMap;

const TAGS_MAX: usize = 50;

/// Adds tags, within AWS's bounds.
pub fn add_tags(tags: &mut BTreeMap<String, String>, more: &[(String, String)]) -> Result<()> {
    for (at, (key, value)) in more.iter().enumerate() {
        if more[..at].iter().any(|(other, _)| other == key) {
            return Err(Error::invalid("Duplicated keys are not allowed."));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Error::invalid("aws: prefixed tag key names are not allowed for external use."));
        }
        tags.insert(key.clone(), value.clone());
    }
    if tags.len() > TAGS_MAX { Err(Error::TooManyTags) } else { Ok(()) }
}

/// Text that fits into an error.
pub fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}
