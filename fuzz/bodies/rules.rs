//! The bodies of the fuzz targets for `rules`: plain functions that panic where an invariant does not hold.

use base::Timestamp;
use rules::pattern::{Index, Pattern};
use rules::schedule::{Schedule, Zone};
use rules::transform::{Occasion, Path, RESULT_BYTES_MAX, Transformer};
use serde_json::Value;
use std::collections::BTreeMap;

/// The parts of an input: lines.
fn lines(data: &[u8]) -> Option<Vec<&str>> {
    Some(std::str::from_utf8(data).ok()?.split('\n').collect())
}

/// A pattern and an event, a line each: a match is answered, and the same by an index; an error in AWS's words.
pub fn pattern(data: &[u8]) {
    let Some(lines) = lines(data) else { return };
    let Some((pattern, event)) = lines.first().zip(lines.get(1)) else { return };
    match (Pattern::parse(pattern), serde_json::from_str::<Value>(event)) {
        (Ok(pattern), Ok(event)) => {
            let matches = pattern.matches(&event);
            let index = Index::new([(pattern, ())]);
            assert_eq!(index.matches(&event).len(), usize::from(matches));
        }
        (Err(why), _) => assert!(why.to_string().starts_with("Event pattern is not valid. Reason: ")),
        _ => {}
    }
}

/// A template, an event, and paths by name, a line each: what was filled is within its bound.
pub fn transform(data: &[u8]) {
    let Some(lines) = lines(data) else { return };
    let [template, event, paths @ ..] = lines.as_slice() else { return };
    let Ok(event) = serde_json::from_str::<Value>(event) else { return };
    let named = |(i, path): (usize, &&str)| (format!("v{i}"), (*path).to_owned());
    let paths: BTreeMap<String, String> = paths.iter().take(10).enumerate().map(named).collect();
    for path in paths.values() {
        if let Ok(path) = Path::parse(path) {
            path.find(&event);
        }
    }
    let occasion = Occasion { rule_arn: "arn:r", rule_name: "r", ingested: "t" };
    if let Ok(transformer) = Transformer::parse(&paths, template)
        && let Ok(filled) = transformer.apply(&event, &occasion)
    {
        assert!(filled.len() <= RESULT_BYTES_MAX);
    }
}

/// An expression and a zone, a line each: the times that it is due go forward.
pub fn schedule(data: &[u8]) {
    let Some(lines) = lines(data) else { return };
    let Ok(schedule) = Schedule::parse(lines.first().unwrap_or(&"")) else { return };
    let zone = lines.get(1).and_then(|name| Zone::named(name)).unwrap_or_else(Zone::utc);
    let since = Timestamp(1_795_000_000_000);
    let mut at = since;
    for _ in 0..5 {
        let Some(next) = schedule.next(&zone, since, at) else { return };
        assert!(next > at);
        at = next;
    }
}
