//! ListObjects and ListObjectsV2.

use super::{quoted, shown};
use crate::error::{Result, invalid_argument};
use crate::list::{After, Entry, Page, Query, page};
use crate::model::{Object as Record, PAGE_MAX, url_encoded};
use crate::store::Space;
use crate::visit::{Visit, owner};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::S3Request;
use s3s::dto::*;
use store::record;

/// `max-keys` and its like: more than 1,000 is 1,000.
pub fn page_size(asked: Option<i32>, name: &str) -> Result<usize> {
    let out = || invalid_argument(format!("Argument {name} must be an integer between 0 and 2147483647"));
    asked.map_or(Ok(PAGE_MAX), |n| usize::try_from(n).map(|n| n.min(PAGE_MAX)).map_err(|_| out()))
}

/// How names are written in the reply.
#[derive(Clone, Copy)]
pub struct Encoding(bool);

impl Encoding {
    pub fn of(asked: Option<&EncodingType>) -> Result<Self> {
        match asked.map(|e| e.as_str()) {
            None => Ok(Self(false)),
            Some("url") => Ok(Self(true)),
            Some(_) => Err(invalid_argument("Invalid Encoding Method specified in Request")),
        }
    }

    pub fn name(self, name: &str) -> String {
        if self.0 { url_encoded(name) } else { name.to_owned() }
    }
}

/// Refuses empty delimiters' strange cousins: an empty delimiter is none.
fn wanted(delimiter: Option<&String>) -> &str {
    delimiter.map_or("", String::as_str)
}

struct Listed {
    contents: Vec<Object>,
    prefixes: Vec<CommonPrefix>,
    last: Option<String>,
}

fn shape(found: Page, encoding: Encoding, shown_owner: Option<Owner>) -> Result<(Listed, bool)> {
    let truncated = found.truncated;
    let last = found.entries.last().map(|e| e.name().to_owned());
    let (mut contents, mut prefixes) = (Vec::with_capacity(found.entries.len()), Vec::new());
    for entry in found.entries {
        match entry {
            Entry::Prefix(prefix) => prefixes.push(CommonPrefix { prefix: Some(encoding.name(&prefix)) }),
            Entry::Name { name, item, .. } => {
                let object: Record = record::decode(&item.value)?;
                contents.push(Object {
                    checksum_algorithm: object
                        .checksum
                        .as_ref()
                        .map(|c| vec![ChecksumAlgorithm::from_static(c.algorithm.name())]),
                    checksum_type: object.checksum.as_ref().map(|c| ChecksumType::from_static(c.kind.name())),
                    e_tag: quoted(&object.etag),
                    key: Some(encoding.name(&name)),
                    last_modified: Some(shown(object.modified)),
                    owner: shown_owner.clone(),
                    size: Some(object.size as i64),
                    storage_class: Some(ObjectStorageClass::from_static("STANDARD")),
                    ..Default::default()
                });
            }
        }
    }
    Ok((Listed { contents, prefixes, last }, truncated))
}

pub async fn list_objects(visit: &Visit, request: S3Request<ListObjectsInput>) -> Result<ListObjectsOutput> {
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max = page_size(input.max_keys, "maxKeys")?;
    let bucket = visit.bucket(&input.bucket).await?;
    let query = Query {
        space: Space::objects_in(&input.bucket),
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: wanted(input.delimiter.as_ref()),
        after: input.marker.as_deref().filter(|m| !m.is_empty()).map_or(After::Start, After::Name),
        max,
    };
    let found = page(visit.objects().store(), &query).await?;
    let with_delimiter = !query.delimiter.is_empty();
    let (listed, truncated) = shape(found, encoding, Some(owner(&bucket.account)))?;
    // Without a delimiter the last key is the marker, and S3 leaves it out.
    let next_marker = listed.last.filter(|_| truncated && with_delimiter).map(|l| encoding.name(&l));
    Ok(ListObjectsOutput {
        prefix: Some(encoding.name(input.prefix.as_deref().unwrap_or_default())),
        marker: Some(encoding.name(input.marker.as_deref().unwrap_or_default())),
        delimiter: input.delimiter.filter(|d| !d.is_empty()).map(|d| encoding.name(&d)),
        name: Some(input.bucket),
        max_keys: Some(max as i32),
        is_truncated: Some(truncated),
        contents: Some(listed.contents),
        common_prefixes: Some(listed.prefixes),
        next_marker,
        encoding_type: input.encoding_type,
        request_charged: None,
    })
}

pub async fn list_objects_v2(visit: &Visit, request: S3Request<ListObjectsV2Input>) -> Result<ListObjectsV2Output> {
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max = page_size(input.max_keys, "maxKeys")?;
    let bucket = visit.bucket(&input.bucket).await?;
    let token = input.continuation_token.as_deref().map(read_token).transpose()?;
    let after = token.as_deref().or(input.start_after.as_deref()).filter(|a| !a.is_empty());
    let query = Query {
        space: Space::objects_in(&input.bucket),
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: wanted(input.delimiter.as_ref()),
        after: after.map_or(After::Start, After::Name),
        max,
    };
    let found = page(visit.objects().store(), &query).await?;
    let shown_owner = input.fetch_owner.unwrap_or(false).then(|| owner(&bucket.account));
    let (listed, truncated) = shape(found, encoding, shown_owner)?;
    Ok(ListObjectsV2Output {
        prefix: Some(encoding.name(input.prefix.as_deref().unwrap_or_default())),
        delimiter: input.delimiter.filter(|d| !d.is_empty()).map(|d| encoding.name(&d)),
        start_after: input.start_after.map(|s| encoding.name(&s)),
        name: Some(input.bucket),
        max_keys: Some(max as i32),
        key_count: Some((listed.contents.len() + listed.prefixes.len()) as i32),
        continuation_token: input.continuation_token,
        is_truncated: Some(truncated),
        next_continuation_token: listed.last.filter(|_| truncated).map(|l| URL_SAFE_NO_PAD.encode(l)),
        contents: Some(listed.contents),
        common_prefixes: Some(listed.prefixes),
        encoding_type: input.encoding_type,
        request_charged: None,
    })
}

/// A token is the last entry of the page before, encoded so that nobody reads it.
fn read_token(token: &str) -> Result<String> {
    let name = URL_SAFE_NO_PAD.decode(token).ok().and_then(|b| String::from_utf8(b).ok());
    name.ok_or_else(|| invalid_argument("The continuation token provided is incorrect"))
}
