//! Batches: their ids and sizes.

use crate::error::{Error, Result};
use std::collections::BTreeSet;

pub const ENTRIES_MAX: usize = 10;

/// `what` is the name of an entry in the API.
pub fn check<'a>(what: &'static str, ids: impl ExactSizeIterator<Item = &'a str>) -> Result<()> {
    let sent = ids.len();
    if sent == 0 {
        return Err(Error::EmptyBatch(what));
    }
    if sent > ENTRIES_MAX {
        return Err(Error::TooManyEntries { sent, max: ENTRIES_MAX });
    }
    let mut seen = BTreeSet::new();
    for id in ids {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=80).contains(&id.len()) || !id.bytes().all(legal) {
            return Err(Error::EntryId);
        }
        if !seen.insert(id) {
            return Err(Error::NotDistinct(id.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let check = |ids: &[&str]| super::check("Entry", ids.iter().copied());
        assert!(check(&["a", "b-_9"]).is_ok());
        assert!(matches!(check(&[]), Err(Error::EmptyBatch("Entry"))));
        assert!(matches!(check(&["a"; 11]), Err(Error::TooManyEntries { sent: 11, .. })));
        assert!(matches!(check(&["a", "a"]), Err(Error::NotDistinct(_))));
        for bad in ["", "a b", &"x".repeat(81)] {
            assert!(matches!(check(&[bad]), Err(Error::EntryId)), "{bad}");
        }
    }
}
