//! Tags of a queue.

use crate::error::{Error, Result};
use std::collections::BTreeMap;

const TAGS_MAX: usize = 50;

/// Tags as they are after `more` were added.
pub fn add(tags: &mut BTreeMap<String, String>, more: BTreeMap<String, String>) -> Result<()> {
    for (key, value) in more {
        if !(1..=128).contains(&key.chars().count()) || value.chars().count() > 256 {
            return Err(Error::Invalid("Tag keys have 1 to 128 characters, tag values at most 256.".into()));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Error::Invalid("Tag keys must not begin with aws:, which is reserved.".into()));
        }
        tags.insert(key, value);
    }
    if tags.len() > TAGS_MAX {
        return Err(Error::Invalid("Too many tags added for queue.".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let one = |key: &str, value: &str| add(&mut BTreeMap::new(), BTreeMap::from([(key.into(), value.into())]));
        assert!(one("team", "").is_ok() && one(&"k".repeat(128), &"v".repeat(256)).is_ok());
        assert!(one("", "").is_err() && one("AWS:x", "").is_err() && one("k", &"v".repeat(257)).is_err());
        let many = (0..=TAGS_MAX).map(|i| (i.to_string(), String::new())).collect();
        assert!(add(&mut BTreeMap::new(), many).is_err());
    }
}
