//! Listing names in order: prefix, delimiter and paging over a key space, skipping what a common prefix rolls up.

use crate::error::{Error, Result};
use crate::store::texts;
use store::engine::Item;
use store::{Key, Store};

/// What to list.
pub struct Query<'a> {
    /// The start of the keys whose next text is the name.
    pub space: Key,
    pub prefix: &'a str,
    /// Names that have it after the prefix are rolled up into one entry. Empty means none.
    pub delimiter: &'a str,
    pub after: After<'a>,
    /// How many entries at most, common prefixes counted.
    pub max: usize,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug)]
pub enum After<'a> {
    Start,
    /// After this name; if it is itself a common prefix, after everything it rolls up.
    Name(&'a str),
    /// After this key of the store.
    Key(&'a Key),
}

/// An entry of a page.
#[derive(Debug)]
pub enum Entry {
    /// A name, the texts that follow it in its key, and what is stored there.
    Name { name: String, rest: Vec<String>, item: Item },
    /// A common prefix.
    Prefix(String),
}

impl Entry {
    pub fn name(&self) -> &str {
        match self {
            Entry::Name { name, .. } | Entry::Prefix(name) => name,
        }
    }
}

/// A page of a listing.
#[derive(Debug)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// There are more after the last entry.
    pub truncated: bool,
}

/// Reads grow from this many items to [`BATCH_MAX`] while they are used, and start again after each skip: a prefix
/// with a million names below it costs one small read.
const BATCH_MIN: usize = 16;
const BATCH_MAX: usize = 1024;

/// One page. Reads little more than it returns, however many names the prefixes roll up.
pub async fn page(store: &Store, query: &Query<'_>) -> Result<Page> {
    let mut entries = Vec::new();
    if query.max == 0 {
        return Ok(Page { entries, truncated: false });
    }
    let end = query.space.clone().partial(query.prefix).end();
    let mut from = start(query);
    let plain = query.delimiter.is_empty();
    let mut batch = if plain { (query.max + 1).min(BATCH_MAX) } else { BATCH_MIN };
    loop {
        let items = store.scan(&from, &end, batch).await?;
        let full = items.len() == batch;
        let mut skip = None;
        for item in items {
            if skip.as_ref().is_some_and(|s: &Vec<u8>| item.key.as_ref() < s.as_slice()) {
                continue;
            }
            if entries.len() == query.max {
                return Ok(Page { entries, truncated: true });
            }
            from = after_key(&item.key);
            skip = None;
            let mut names = texts(&item.key).ok_or_else(|| Error::Internal("a key of another shape".into()))?;
            let name = names.remove(0);
            match rolled(&name, query) {
                Some(prefix) => {
                    from = query.space.clone().partial(prefix).end();
                    skip = Some(from.clone());
                    entries.push(Entry::Prefix(prefix.to_owned()));
                }
                None => entries.push(Entry::Name { name, rest: names, item }),
            }
        }
        if !full {
            return Ok(Page { entries, truncated: false });
        }
        batch = match skip {
            Some(_) => BATCH_MIN,
            None => (batch * 4).min(BATCH_MAX),
        };
    }
}

/// The common prefix that `name` is rolled up into, if any.
fn rolled<'n>(name: &'n str, query: &Query<'_>) -> Option<&'n str> {
    if query.delimiter.is_empty() {
        return None;
    }
    let at = name.strip_prefix(query.prefix)?.find(query.delimiter)?;
    Some(&name[..query.prefix.len() + at + query.delimiter.len()])
}

fn start(query: &Query<'_>) -> Vec<u8> {
    let first = query.space.clone().partial(query.prefix).into_bytes();
    let after = match query.after {
        After::Start => return first,
        After::Name(name) if rolled(name, query) == Some(name) => query.space.clone().partial(name).end(),
        After::Name(name) => query.space.clone().text(name).end(),
        After::Key(key) => after_key(key.as_bytes()),
    };
    first.max(after)
}

fn after_key(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    fn space() -> Key {
        Key::of("t").text("bucket")
    }

    async fn filled(names: &BTreeSet<String>) -> Store {
        let store = Store::new(Arc::new(store::memory::Memory::default()));
        let put = async |tx: store::Tx| {
            for name in names {
                tx.put_bytes(&space().text(name), name.clone().into_bytes())?;
            }
            Ok::<_, store::Error>(())
        };
        store.transact(put).await.expect("memory");
        store
    }

    /// What S3 says a whole listing is.
    fn model(names: &BTreeSet<String>, prefix: &str, delimiter: &str) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for name in names.iter().filter(|n| n.starts_with(prefix)) {
            let cut = (!delimiter.is_empty()).then(|| name[prefix.len()..].find(delimiter)).flatten();
            let entry = cut.map_or(name.clone(), |at| name[..prefix.len() + at + delimiter.len()].to_owned());
            if all.last() != Some(&entry) {
                all.push(entry);
            }
        }
        all
    }

    /// Pages through, `max` entries at a time, by the last name of each page.
    async fn walk(store: &Store, prefix: &str, delimiter: &str, max: usize) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        loop {
            let last = all.last().cloned();
            let after = last.as_deref().map_or(After::Start, After::Name);
            let page = page(store, &Query { space: space(), prefix, delimiter, after, max }).await.expect("memory");
            assert!(page.entries.len() <= max);
            assert!(!page.truncated || page.entries.len() == max);
            all.extend(page.entries.iter().map(|e| e.name().to_owned()));
            if !page.truncated {
                return all;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn pages_make_up_the_model(
            names in prop::collection::btree_set("[ab/\u{0}é]{1,5}", 0..60),
            prefix in "[ab/é]{0,2}",
            delimiter in "/|a|b/||\u{0}",
            max in 1usize..7,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
            let listed = runtime.block_on(async { walk(&filled(&names).await, &prefix, &delimiter, max).await });
            prop_assert_eq!(listed, model(&names, &prefix, &delimiter));
        }
    }

    #[tokio::test]
    async fn a_wide_prefix_is_skipped() {
        let names: BTreeSet<String> = (0..5000).map(|i| format!("a/{i:04}")).chain(["b".to_owned()]).collect();
        let listed = walk(&filled(&names).await, "", "/", 1000).await;
        assert_eq!(listed, ["a/", "b"]);
    }
}
