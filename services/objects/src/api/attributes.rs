//! GetObjectAttributes.

use super::listing::page_size;
use super::{check_version, quoted, shown};
use crate::digest::set_sum;
use crate::error::{Error, Result, invalid_argument, no_such_key};
use crate::model::{Data, Object};
use crate::store::{PartList, Space};
use crate::visit::Visit;
use s3s::S3Request;
use s3s::dto::*;

const KNOWN: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

pub async fn get_object_attributes(
    visit: &Visit,
    request: S3Request<GetObjectAttributesInput>,
) -> Result<GetObjectAttributesOutput> {
    let input = request.input;
    check_version(input.version_id.as_deref())?;
    let asked: Vec<&str> = input.object_attributes.iter().flat_map(|a| a.as_str().split(',')).map(str::trim).collect();
    if asked.iter().any(|a| !KNOWN.contains(a)) {
        return Err(invalid_argument("Invalid attribute name specified."));
    }
    visit.authorise_object("s3:GetObject", &input.bucket, &input.key).await?;
    visit.bucket(&input.bucket).await?;
    let store = visit.objects().store();
    let object: Option<Object> = store.get(&Space::Object { bucket: &input.bucket, key: &input.key }.key()).await?;
    let object = object.ok_or_else(no_such_key)?;
    let wants = |name| asked.contains(&name);
    let mut output = GetObjectAttributesOutput {
        e_tag: quoted(&object.etag).filter(|_| wants("ETag")),
        last_modified: Some(shown(object.modified)),
        object_size: wants("ObjectSize").then_some(object.size as i64),
        storage_class: wants("StorageClass").then(|| StorageClass::from_static("STANDARD")),
        ..Default::default()
    };
    if wants("Checksum")
        && let Some(sum) = &object.checksum
    {
        let mut checksum =
            Checksum { checksum_type: Some(ChecksumType::from_static(sum.kind.name())), ..Default::default() };
        set_sum!(checksum, Some(sum));
        output.checksum = Some(checksum);
    }
    if let (true, Data::Parts { id, count }) = (wants("ObjectParts"), &object.data) {
        let PartList(all) = store.get(&Space::List(id).key()).await?.ok_or(Error::Vanished)?;
        let max = page_size(input.max_parts, "max-parts")?;
        output.object_parts = Some(parts(&all, *count, input.part_number_marker.unwrap_or(0), max));
    }
    Ok(output)
}

/// Parts are numbered by their place, as `partNumber` of GetObject counts them.
fn parts(all: &[crate::model::Part], count: u32, marker: i32, max: usize) -> GetObjectAttributesParts {
    let from = usize::try_from(marker).unwrap_or(0).min(all.len());
    let some = &all[from..all.len().min(from + max)];
    let shapes = some.iter().zip(from as i32 + 1..).map(|(part, number)| {
        let mut shape = ObjectPart { part_number: Some(number), size: Some(part.size as i64), ..Default::default() };
        set_sum!(shape, &part.checksum);
        shape
    });
    GetObjectAttributesParts {
        is_truncated: Some(from + some.len() < all.len()),
        max_parts: Some(max as i32),
        next_part_number_marker: Some((from + some.len()) as i32),
        part_number_marker: Some(marker),
        parts: Some(shapes.collect()),
        total_parts_count: Some(count as i32),
    }
}
