//! What an object, a bucket and an upload are, and the rules that hold for them. No IO.

use crate::digest::{Algorithm, Sum, SumKind};
use crate::error::{Result, invalid_argument, refused};
use base::Timestamp;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Objects up to this many bytes are kept as a value in the store; larger ones are blobs.
pub const INLINE_BYTES_MAX: u64 = 64 << 10;
/// The largest single put, part or copy: 5 GiB.
pub const PUT_BYTES_MAX: u64 = 5 << 30;
/// The largest object, 5 TiB.
pub const OBJECT_BYTES_MAX: u64 = 5 << 40;
/// Every part but the last has at least this many bytes: 5 MiB.
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// Part numbers run from 1 to this.
pub const PARTS_MAX: i32 = 10_000;
/// User metadata: names and values together.
pub const METADATA_BYTES_MAX: usize = 2048;
/// How many entries a listing gives at most.
pub const PAGE_MAX: usize = 1000;
const OBJECT_TAGS_MAX: usize = 10;
const BUCKET_TAGS_MAX: usize = 50;

/// Key and value pairs, in the order they were given.
pub type Tags = Vec<(String, String)>;

/// Where an object's or a part's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Data {
    /// No bytes.
    Empty,
    /// A value in the store, by id.
    Inline(String),
    /// A blob, by its UUID.
    Blob(String),
    /// The parts of a multipart upload: a list in the store, by id, and how many they are.
    Parts { id: String, count: u32 },
}

impl Data {
    pub fn id(&self) -> Option<&str> {
        match self {
            Data::Empty => None,
            Data::Inline(id) | Data::Blob(id) | Data::Parts { id, .. } => Some(id),
        }
    }
}

/// The headers S3 keeps and gives back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// Seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
}

/// What a client says of an object besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    pub headers: Headers,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Tags,
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub size: u64,
    /// Hexadecimal, with `-N` for N parts; without quotes.
    pub etag: String,
    pub modified: Timestamp,
    /// Increases with each change of the key.
    pub sequencer: u64,
    pub data: Data,
    pub attributes: Attributes,
    pub checksum: Option<Sum>,
    /// The multipart upload that made it: a repeated completion finds its own work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
}

/// A bucket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bucket {
    pub name: String,
    pub account: String,
    pub region: String,
    pub created: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Tags,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notifications: Vec<crate::events::Notification>,
    /// Everything that happens is told to the default bus.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub event_bridge: bool,
}

impl Bucket {
    pub fn arn(&self) -> base::Arn {
        base::Arn::new("s3", "", "", self.name.clone())
    }
}

/// A multipart upload under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Upload {
    pub initiated: Timestamp,
    /// The ARN of who began it.
    pub initiator: String,
    pub attributes: Attributes,
    /// As the client asked; without a wish it is CRC64NVME of the whole.
    pub algorithm: Option<Algorithm>,
    pub kind: SumKind,
}

impl Upload {
    /// The algorithm its parts are summed with.
    pub fn summed_with(&self) -> Algorithm {
        self.algorithm.unwrap_or(Algorithm::Crc64Nvme)
    }
}

/// A part of an upload, and of the object it becomes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    pub number: i32,
    pub size: u64,
    /// Hexadecimal MD5.
    pub md5: String,
    pub modified: Timestamp,
    pub data: Data,
    pub checksum: Option<Sum>,
}

/// Whether `name` may be a new bucket's: S3's rules for general purpose buckets beyond what every request is held to.
pub fn bucket_name_may_be_new(name: &str) -> bool {
    s3s::path::check_bucket_name(name)
        && !name.starts_with("sthree-")
        && !["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|s| name.ends_with(s))
}

/// Refuses metadata over 2 KB; gives it with lower-case names.
pub fn metadata(given: Option<impl IntoIterator<Item = (String, String)>>) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for (name, value) in given.into_iter().flatten() {
        all.insert(name.to_ascii_lowercase(), value);
    }
    let bytes: usize = all.iter().map(|(n, v)| n.len() + v.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(refused("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size"));
    }
    Ok(all)
}

/// `Content-Encoding` without `aws-chunked`, which is of the request and not of the object.
pub fn content_encoding(given: Option<String>) -> Option<String> {
    let kept: Vec<&str> =
        given.as_deref()?.split(',').map(str::trim).filter(|e| !e.is_empty() && *e != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// The tags in an `x-amz-tagging` header: `a=1&b=2`, percent-encoded.
pub fn tags_in_header(header: Option<&str>) -> Result<Tags> {
    let Some(header) = header else { return Ok(Tags::new()) };
    let bad = || {
        invalid_argument("The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters")
    };
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8().map(|t| t.into_owned()).map_err(|_| bad())
    };
    let mut tags = Tags::new();
    for pair in header.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        tags.push((decode(key)?, decode(value)?));
    }
    object_tags(tags)
}

/// Checks the tags of an object.
pub fn object_tags(tags: Tags) -> Result<Tags> {
    if tags.len() > OBJECT_TAGS_MAX {
        return Err(refused("BadRequest", "Object tags cannot be greater than 10"));
    }
    checked(tags)
}

/// Checks the tags of a bucket.
pub fn bucket_tags(tags: Tags) -> Result<Tags> {
    if tags.len() > BUCKET_TAGS_MAX {
        return Err(refused("BadRequest", "Bucket tag count cannot be greater than 50"));
    }
    checked(tags)
}

fn checked(tags: Tags) -> Result<Tags> {
    let fits = |text: &str, max| {
        text.chars().count() <= max
            && text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "+-=._:/@".contains(c))
    };
    for (i, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || !fits(key, 128) || key.starts_with("aws:") {
            return Err(refused("InvalidTag", "The TagKey you have provided is invalid"));
        }
        if !fits(value, 256) {
            return Err(refused("InvalidTag", "The TagValue you have provided is invalid"));
        }
        if tags[..i].iter().any(|(k, _)| k == key) {
            return Err(refused("InvalidTag", "Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(tags)
}

/// A key as listings (`encoding-type=url`) and events write it: a space is `+`, a slash stays.
pub fn url_encoded(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for &b in key.as_bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => out.push(char::from(b)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_a_header() {
        let tags = tags_in_header(Some("a=1&b+c=%C3%A9&d")).expect("valid");
        assert_eq!(tags, [("a", "1"), ("b c", "é"), ("d", "")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        for bad in ["a=1&a=2", "=1", "a=%FF", "aws:x=1", "a=%00", "1&2&3&4&5&6&7&8&9&10&11"] {
            assert!(tags_in_header(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn encodes_keys() {
        assert_eq!(url_encoded("a b/c+d\u{1}é~"), "a+b/c%2Bd%01%C3%A9%7E");
    }

    #[test]
    fn encoding_of_the_request_is_not_kept() {
        assert_eq!(content_encoding(Some("aws-chunked".into())), None);
        assert_eq!(content_encoding(Some("aws-chunked, gzip".into())).as_deref(), Some("gzip"));
    }

    #[test]
    fn bucket_names() {
        assert!(bucket_name_may_be_new("my.photos-1"));
        for bad in ["ab", "Abc", "a_b", "192.168.0.1", "a..b", "-abc", "abc-s3alias", "sthree-x", "xn--abc"] {
            assert!(!bucket_name_may_be_new(bad), "{bad}");
        }
    }
}
