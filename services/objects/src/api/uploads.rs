//! ListParts and ListMultipartUploads.

use super::listing::{Encoding, page_size};
use super::{quoted, shown};
use crate::digest::set_sum;
use crate::error::{Result, invalid_argument, no_such_upload};
use crate::list::{After, Entry, Query, page};
use crate::model::{Part as Record, Upload};
use crate::store::Space;
use crate::visit::{Visit, owner};
use s3s::S3Request;
use s3s::dto::*;
use store::record;

pub async fn list_parts(visit: &Visit, request: S3Request<ListPartsInput>) -> Result<ListPartsOutput> {
    let input = request.input;
    let max = page_size(input.max_parts, "max-parts")?;
    let marker = input.part_number_marker.unwrap_or(0);
    if marker < 0 {
        return Err(invalid_argument("Argument part-number-marker must be an integer between 0 and 2147483647"));
    }
    let bucket = visit.bucket(&input.bucket).await?;
    let store = visit.objects().store();
    let upload_key = Space::Upload { bucket: &input.bucket, key: &input.key, id: &input.upload_id }.key();
    let upload: Upload = store.get(&upload_key).await?.ok_or_else(no_such_upload)?;
    let from = Space::Part { upload: &input.upload_id, number: marker }.key().end();
    let mut items = store.scan(&from, &Space::parts_of(&input.upload_id).end(), max + 1).await?;
    let truncated = items.len() > max;
    items.truncate(max);
    let mut parts = Vec::with_capacity(items.len());
    for item in items {
        let part: Record = record::decode(&item.value)?;
        let mut shape = Part {
            e_tag: quoted(&part.md5),
            last_modified: Some(shown(part.modified)),
            part_number: Some(part.number),
            size: Some(part.size as i64),
            ..Default::default()
        };
        if upload.algorithm.is_some() {
            set_sum!(shape, &part.checksum);
        }
        parts.push(shape);
    }
    Ok(ListPartsOutput {
        checksum_algorithm: upload.algorithm.map(|a| ChecksumAlgorithm::from_static(a.name())),
        checksum_type: upload.algorithm.map(|_| ChecksumType::from_static(upload.kind.name())),
        initiator: Some(Initiator { display_name: None, id: Some(upload.initiator) }),
        owner: Some(owner(&bucket.account)),
        is_truncated: Some(truncated),
        max_parts: Some(max as i32),
        part_number_marker: Some(marker),
        next_part_number_marker: Some(parts.last().and_then(|p| p.part_number).unwrap_or(0)),
        parts: Some(parts),
        storage_class: Some(StorageClass::from_static("STANDARD")),
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        ..Default::default()
    })
}

pub async fn list_multipart_uploads(
    visit: &Visit,
    request: S3Request<ListMultipartUploadsInput>,
) -> Result<ListMultipartUploadsOutput> {
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max = page_size(input.max_uploads, "max-uploads")?;
    let bucket = visit.bucket(&input.bucket).await?;
    let key_marker = input.key_marker.as_deref().filter(|m| !m.is_empty());
    let id_marker = input.upload_id_marker.as_deref().filter(|m| !m.is_empty());
    // An upload id marker counts only beside a key marker.
    let both = key_marker.zip(id_marker).map(|(key, id)| Space::Upload { bucket: &input.bucket, key, id }.key());
    let after = match (&both, key_marker) {
        (Some(key), _) => After::Key(key),
        (None, Some(name)) => After::Name(name),
        (None, None) => After::Start,
    };
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().unwrap_or_default();
    let query = Query { space: Space::uploads_in(&input.bucket), prefix, delimiter, after, max };
    let found = page(visit.objects().store(), &query).await?;
    let (mut uploads, mut prefixes) = (Vec::new(), Vec::new());
    let (mut next_key, mut next_id) = (None, None);
    for entry in found.entries {
        match entry {
            Entry::Prefix(prefix) => {
                prefixes.push(CommonPrefix { prefix: Some(encoding.name(&prefix)) });
                (next_key, next_id) = (Some(prefix), None);
            }
            Entry::Name { name, rest, item } => {
                let upload: Upload = record::decode(&item.value)?;
                let id = rest.into_iter().next();
                uploads.push(shape(&name, id.clone(), upload, encoding, &bucket.account));
                (next_key, next_id) = (Some(name), id);
            }
        }
    }
    Ok(ListMultipartUploadsOutput {
        common_prefixes: Some(prefixes),
        delimiter: input.delimiter.as_deref().filter(|d| !d.is_empty()).map(|d| encoding.name(d)),
        encoding_type: input.encoding_type,
        is_truncated: Some(found.truncated),
        key_marker: Some(encoding.name(input.key_marker.as_deref().unwrap_or_default())),
        max_uploads: Some(max as i32),
        next_key_marker: next_key.filter(|_| found.truncated).map(|k| encoding.name(&k)),
        next_upload_id_marker: next_id.filter(|_| found.truncated),
        prefix: Some(encoding.name(prefix)),
        upload_id_marker: Some(input.upload_id_marker.clone().unwrap_or_default()),
        uploads: Some(uploads),
        bucket: Some(input.bucket),
        request_charged: None,
    })
}

fn shape(name: &str, id: Option<String>, upload: Upload, encoding: Encoding, account: &str) -> MultipartUpload {
    MultipartUpload {
        checksum_algorithm: upload.algorithm.map(|a| ChecksumAlgorithm::from_static(a.name())),
        checksum_type: upload.algorithm.map(|_| ChecksumType::from_static(upload.kind.name())),
        initiated: Some(shown(upload.initiated)),
        initiator: Some(Initiator { display_name: None, id: Some(upload.initiator) }),
        key: Some(encoding.name(name)),
        owner: Some(owner(account)),
        storage_class: Some(StorageClass::from_static("STANDARD")),
        upload_id: id,
    }
}
