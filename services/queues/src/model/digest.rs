//! The MD5 sums by which clients check that a message came whole, and what deduplication compares.

use super::message::{Attribute, Value};
use md5::{Digest, Md5};
use sha2::Sha256;
use std::collections::BTreeMap;

pub fn of_body(body: &str) -> String {
    hex::encode(Md5::digest(body.as_bytes()))
}

/// After "Calculating the MD5 message digest for message attributes" in the SQS developer guide; `None` without any.
pub fn of_attributes<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a Attribute)>) -> Option<String> {
    let sorted: BTreeMap<&str, &Attribute> = attributes.into_iter().collect();
    if sorted.is_empty() {
        return None;
    }
    let mut md5 = Md5::new();
    let piece = |md5: &mut Md5, bytes: &[u8]| {
        md5.update((bytes.len() as u32).to_be_bytes());
        md5.update(bytes);
    };
    for (name, attribute) in sorted {
        piece(&mut md5, name.as_bytes());
        piece(&mut md5, attribute.kind.as_bytes());
        match &attribute.value {
            Value::Text(text) => {
                md5.update([1]);
                piece(&mut md5, text.as_bytes());
            }
            Value::Bytes(bytes) => {
                md5.update([2]);
                piece(&mut md5, bytes);
            }
        }
    }
    Some(hex::encode(md5.finalize()))
}

/// The deduplication id of a message that brings none.
pub fn content_id(body: &str) -> String {
    hex::encode(Sha256::digest(body.as_bytes()))
}

/// Under what a message is remembered: its deduplication id, and its group where ids are compared within groups.
pub fn dedup_key(id: &str, group: Option<&str>) -> [u8; 16] {
    let mut sha = Sha256::new();
    sha.update((id.len() as u32).to_be_bytes());
    sha.update(id);
    sha.update(group.unwrap_or_default());
    sha.finalize()[..16].try_into().expect("16 of 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Blob;

    #[test]
    fn sums() {
        assert_eq!(of_body("hello world"), "5eb63bbbe01eeed093cb22bb8f5acdc3");
        assert_eq!(of_attributes([]), None);
        let text = |v: &str| Attribute { kind: "String".into(), value: Value::Text(v.into()) };
        // The sum of moto's and botocore's own test of this algorithm.
        let timestamp = Attribute { kind: "Number".into(), value: Value::Text("1493147359900".into()) };
        assert_eq!(of_attributes([("timestamp", &timestamp)]).as_deref(), Some("235c5c510d26fb653d073faed50ae77c"));
        let bytes = Attribute { kind: "Binary".into(), value: Value::Bytes(Blob::from(vec![1, 2])) };
        assert_eq!(
            of_attributes([("b", &bytes), ("a", &text("x"))]),
            of_attributes([("a", &text("x")), ("b", &bytes)])
        );
        assert_ne!(dedup_key("ab", Some("c")), dedup_key("a", Some("bc")));
    }
}
