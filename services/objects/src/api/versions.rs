//! ListObjectVersions: no bucket is versioned, so each object is its own only version, `null`, as in such buckets on AWS.

use super::listing::{Encoding, page_size};
use super::{quoted, shown};
use crate::error::{Result, invalid_argument};
use crate::list::{After, Entry, Query, page};
use crate::model::Object;
use crate::store::Space;
use crate::visit::{Visit, owner};
use s3s::S3Request;
use s3s::dto::*;
use store::record;

const ONLY: &str = "null";

pub async fn list_object_versions(
    visit: &Visit,
    request: S3Request<ListObjectVersionsInput>,
) -> Result<ListObjectVersionsOutput> {
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max = page_size(input.max_keys, "maxKeys")?;
    let marker = input.key_marker.as_deref().filter(|m| !m.is_empty());
    if input.version_id_marker.is_some() && marker.is_none() {
        return Err(invalid_argument("A version-id marker cannot be specified without a key marker."));
    }
    let bucket = visit.bucket(&input.bucket).await?;
    let query = Query {
        space: Space::objects_in(&input.bucket),
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref().unwrap_or_default(),
        after: marker.map_or(After::Start, After::Name),
        max,
    };
    let found = page(visit.objects().store(), &query).await?;
    let last = found.entries.last().filter(|_| found.truncated);
    let next_version_id_marker = last.filter(|e| matches!(e, Entry::Name { .. })).map(|_| ONLY.to_owned());
    let next_key_marker = last.map(|e| encoding.name(e.name()));
    let (mut versions, mut prefixes) = (Vec::with_capacity(found.entries.len()), Vec::new());
    for entry in found.entries {
        match entry {
            Entry::Prefix(prefix) => prefixes.push(CommonPrefix { prefix: Some(encoding.name(&prefix)) }),
            Entry::Name { name, item, .. } => {
                let object: Object = record::decode(&item.value)?;
                versions.push(version(encoding.name(&name), &object, &bucket.account));
            }
        }
    }
    Ok(ListObjectVersionsOutput {
        prefix: Some(encoding.name(query.prefix)),
        key_marker: Some(encoding.name(marker.unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        delimiter: input.delimiter.filter(|d| !d.is_empty()).map(|d| encoding.name(&d)),
        name: Some(input.bucket),
        max_keys: Some(max as i32),
        is_truncated: Some(found.truncated),
        versions: Some(versions),
        common_prefixes: Some(prefixes),
        next_key_marker,
        next_version_id_marker,
        encoding_type: input.encoding_type,
        ..Default::default()
    })
}

fn version(key: String, object: &Object, account: &str) -> ObjectVersion {
    ObjectVersion {
        checksum_algorithm: object.checksum.as_ref().map(|c| vec![ChecksumAlgorithm::from_static(c.algorithm.name())]),
        checksum_type: object.checksum.as_ref().map(|c| ChecksumType::from_static(c.kind.name())),
        e_tag: quoted(&object.etag),
        is_latest: Some(true),
        key: Some(key),
        last_modified: Some(shown(object.modified)),
        owner: Some(owner(account)),
        size: Some(object.size as i64),
        storage_class: Some(ObjectVersionStorageClass::from_static("STANDARD")),
        version_id: Some(ONLY.to_owned()),
        ..Default::default()
    }
}
