//! The body of the fuzz target for filter policies: a plain function that panics where an invariant does not hold.

use std::collections::BTreeMap;
use topics::filter::{ATTRIBUTES, BODY, Seen, parse};
use topics::message::{Attribute, Message, Value};

/// A policy, an attribute's array and a message's body, a line each: a policy of attributes is one of bodies too, an error has
/// its reason, a message is wanted or not, and what a policy does not see does not matter to it.
pub fn filter_policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines: Vec<&str> = text.splitn(3, '\n').collect();
    let [policy, array, body] = lines.as_slice() else { return };
    let attribute = Attribute { kind: "String.Array".into(), value: Value::Text((*array).into()) };
    let attributes = BTreeMap::from([("a".to_owned(), attribute)]);
    let whole = Message { body: (*body).into(), attributes: attributes.clone(), ..Message::default() };
    let bare = Message { attributes, ..Message::default() };
    let plain = Message { body: (*body).into(), ..Message::default() };
    let (of_attributes, of_body) = (parse(policy, ATTRIBUTES), parse(policy, BODY));
    assert!(of_attributes.is_err() || of_body.is_ok());
    for (filter, same) in [(of_attributes, bare), (of_body, plain)] {
        match filter {
            Ok(Some(filter)) => assert_eq!(filter.wants(&Seen::new(&whole)), filter.wants(&Seen::new(&same))),
            Ok(None) => {}
            Err(why) => assert!(!why.is_empty() && why.len() < 1_000, "{why}"),
        }
    }
}
