//! The keys this room owns, and its records.

use crate::model::{Bucket, Object, Part, Upload};
use base::Timestamp;
use serde::{Deserialize, Serialize};
use store::record::Record;
use store::{Key, KeyReader};

/// Every key of the room. Names are UTF-8 in binary order, as S3 lists them.
#[derive(Clone, Copy, Debug)]
pub enum Space<'a> {
    /// `objects/bucket/<bucket>` → [`Bucket`]. Names are unique on the node, whoever owns them.
    Bucket(&'a str),
    /// `objects/owned/<account>/<bucket>` → [`Owned`]: an account's buckets, in order.
    Owned { account: &'a str, bucket: &'a str },
    /// `objects/object/<bucket>/<key>` → [`Object`].
    Object { bucket: &'a str, key: &'a str },
    /// `objects/inline/<data id>` → the bytes of a small object or part. Ids begin with the time, so that new ones
    /// are appended to the tree and not scattered over it.
    Inline(&'a str),
    /// `objects/list/<data id>` → [`PartList`]: the parts of an object that was uploaded in parts.
    List(&'a str),
    /// `objects/blob/<uuid>` → nothing: the blob belongs to something. What has no such key is an orphan.
    Blob(&'a str),
    /// `objects/upload/<bucket>/<key>/<upload id>` → [`Upload`]. Ids of one key are in the order they began.
    Upload { bucket: &'a str, key: &'a str, id: &'a str },
    /// `objects/part/<upload id>/<number>` → [`Part`].
    Part { upload: &'a str, number: i32 },
}

/// The space of blobs that hold objects and parts.
pub const BLOBS: &str = "objects";

impl Space<'_> {
    pub fn key(self) -> Key {
        match self {
            Space::Bucket(bucket) => Key::of("objects/bucket").text(bucket),
            Space::Owned { account, bucket } => Self::owned_by(account).text(bucket),
            Space::Object { bucket, key } => Self::objects_in(bucket).text(key),
            Space::Inline(id) => Key::of("objects/inline").text(id),
            Space::List(id) => Key::of("objects/list").text(id),
            Space::Blob(id) => Key::of("objects/blob").text(id),
            Space::Upload { bucket, key, id } => Self::uploads_in(bucket).text(key).text(id),
            Space::Part { upload, number } => Self::parts_of(upload).number(u64::from(number.unsigned_abs())),
        }
    }

    /// The start of the keys of all buckets of an account.
    pub fn owned_by(account: &str) -> Key {
        Key::of("objects/owned").text(account)
    }

    /// The start of the keys of all objects in a bucket.
    pub fn objects_in(bucket: &str) -> Key {
        Key::of("objects/object").text(bucket)
    }

    /// The start of the keys of all uploads in a bucket.
    pub fn uploads_in(bucket: &str) -> Key {
        Key::of("objects/upload").text(bucket)
    }

    /// The start of the keys of all parts of an upload.
    pub fn parts_of(upload: &str) -> Key {
        Key::of("objects/part").text(upload)
    }
}

/// The texts of a key after the room's space and the next text (bucket or account): `[key]` of an object,
/// `[key, upload id]` of an upload, `[bucket]` of an owned bucket.
pub fn texts(key: &[u8]) -> Option<Vec<String>> {
    let mut reader = KeyReader::new(key);
    reader.text()?;
    reader.text()?;
    let mut texts = Vec::with_capacity(2);
    while !reader.is_empty() {
        texts.push(reader.text()?);
    }
    Some(texts)
}

/// What a list of buckets shows of each.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Owned {
    pub region: String,
    pub created: Timestamp,
}

/// The parts of an object, in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartList(pub Vec<Part>);

impl Record for Bucket {
    const VERSION: u8 = 1;
}

impl Record for Object {
    const VERSION: u8 = 1;
}

impl Record for Upload {
    const VERSION: u8 = 1;
}

impl Record for Part {
    const VERSION: u8 = 1;
}

impl Record for Owned {
    const VERSION: u8 = 1;
}

impl Record for PartList {
    const VERSION: u8 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_sort_as_their_keys_do() {
        let keys = ["", "\0", "\0\0", "\u{1}", " ", "a", "a\0", "a\0b", "a\u{1}", "a/", "a/b", "a0", "é", "\u{10ffff}"];
        for pair in keys.windows(2) {
            let key = |key| Space::Object { bucket: "b", key }.key();
            assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
            assert_eq!(texts(key(pair[1]).as_bytes()), Some(vec![pair[1].to_owned()]));
        }
        let upload = Space::Upload { bucket: "b", key: "k\0", id: "u" }.key();
        assert_eq!(texts(upload.as_bytes()), Some(vec!["k\0".to_owned(), "u".to_owned()]));
    }
}
