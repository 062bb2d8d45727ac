//! The fuzz target's body over seeded policies, some of them hostile: a bounded run of what `fuzz/` does without end.

#[path = "../../../fuzz/bodies/topics.rs"]
mod bodies;

use kit::Seeded;
use serde_json::{Value, json};
use topics::filter::{ATTRIBUTES, BODY, parse};

const ROUNDS: u32 = 20_000;
const NAMES: [&str; 9] = ["a", "b", "$or", "prefix", "wildcard", "numeric", "exists", "anything-but", "*x*"];

/// Values that look like policies.
fn any(random: &Seeded, depth: u64) -> Value {
    let text = || NAMES[random.below(NAMES.len() as u64) as usize].to_owned();
    match random.below(if depth == 0 { 4 } else { 7 }) {
        0 => text().into(),
        1 => random.below(1 << 40).into(),
        2 => Value::Null,
        3 => true.into(),
        4 | 5 => (0..random.below(5)).map(|_| any(random, depth - 1)).collect(),
        _ => (0..random.below(5)).map(|_| (text(), any(random, depth - 1))).collect(),
    }
}

/// A leaf as policies have them.
fn leaf(random: &Seeded) -> Value {
    match random.below(11) {
        0 => json!("x"),
        1 => json!(7),
        2 => json!(null),
        3 => json!({"prefix": "x"}),
        4 => json!({"suffix": "x"}),
        5 => json!({"anything-but": ["x", 1]}),
        6 => json!({"exists": random.below(2) == 0}),
        7 => json!({"numeric": [">", 1, "<=", random.below(9)]}),
        8 => json!({"wildcard": "*x*"}),
        9 => json!({"cidr": "10.0.0.0/8"}),
        _ => any(random, 2),
    }
}

fn policy(random: &Seeded) -> Value {
    let values: Value = (0..1 + random.below(3)).map(|_| leaf(random)).collect();
    match random.below(4) {
        0 => any(random, 5),
        1 => json!({"a": {"b": values}}),
        2 => json!({"$or": [{"a": values}, {"b": [leaf(random)]}]}),
        _ => json!({"a": values}),
    }
}

#[test]
fn filter_policies() {
    let random = Seeded::new(0x5eed_0020);
    let mut accepted = [0, 0];
    for _ in 0..ROUNDS {
        let policy = policy(&random).to_string();
        for (count, scope) in accepted.iter_mut().zip([ATTRIBUTES, BODY]) {
            *count += u32::from(matches!(parse(&policy, scope), Ok(Some(_))));
        }
        let text = format!("{policy}\n{}\n{}", any(&random, 1), any(&random, 4));
        let mut bytes = text.clone().into_bytes();
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] = random.below(128) as u8;
        bodies::filter_policy(text.as_bytes());
        bodies::filter_policy(&bytes);
    }
    assert!(accepted.iter().all(|count| *count > ROUNDS / 10), "{accepted:?}");
}
