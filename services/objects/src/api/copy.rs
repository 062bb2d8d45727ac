//! CopyObject.

use super::get::{Conditions, Holds};
use super::put::{Target, attributes_in, commit};
use super::{check_acl, check_storage_class, check_version, quoted, shown};
use crate::change::Demand;
use crate::digest::{Algorithm, set_sum};
use crate::error::{
    Error, Result, access_denied, invalid_request, no_such_key, not_implemented, precondition_failed, refused,
};
use crate::events::Kind;
use crate::model::{Object, PUT_BYTES_MAX};
use crate::store::Space;
use crate::vault::Stored;
use crate::visit::Visit;
use s3s::S3Request;
use s3s::dto::*;
use std::ops::Range;

const TRIES_MAX: usize = 8;

/// The object that a copy reads.
pub struct Source {
    pub bucket: String,
    pub key: String,
    pub conditions: Conditions,
    pub expected_owner: Option<String>,
}

macro_rules! source_in {
    ($input:expr) => {
        $crate::api::copy::Source::of(
            &$input.copy_source,
            $crate::api::get::Conditions {
                if_match: $input.copy_source_if_match.take(),
                if_none_match: $input.copy_source_if_none_match.take(),
                if_modified_since: $input.copy_source_if_modified_since.take(),
                if_unmodified_since: $input.copy_source_if_unmodified_since.take(),
            },
            $input.expected_source_bucket_owner.take(),
        )
    };
}
pub(crate) use source_in;

impl Source {
    pub fn of(source: &CopySource, conditions: Conditions, expected_owner: Option<String>) -> Result<Self> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(not_implemented("access points as a copy source"));
        };
        check_version(version_id.as_deref())?;
        Ok(Self { bucket: bucket.to_string(), key: key.to_string(), conditions, expected_owner })
    }

    /// The object, if the caller may read it and the conditions hold.
    pub async fn find(&self, visit: &Visit) -> Result<Object> {
        visit.authorise_object("s3:GetObject", &self.bucket, &self.key).await?;
        let bucket: Option<crate::model::Bucket> =
            visit.objects().store().get(&Space::Bucket(&self.bucket).key()).await?;
        let bucket = bucket.ok_or_else(crate::error::no_such_bucket)?;
        if bucket.account != visit.account()? || self.expected_owner.as_ref().is_some_and(|o| *o != bucket.account) {
            return Err(access_denied());
        }
        let key = Space::Object { bucket: &self.bucket, key: &self.key }.key();
        let object: Option<Object> = visit.objects().store().get(&key).await?;
        let object = object.ok_or_else(no_such_key)?;
        match self.conditions.check(&object) {
            Holds::Yes => Ok(object),
            Holds::No | Holds::Unchanged => Err(precondition_failed()),
        }
    }

    /// The object, and a copy of the range `of` it chooses.
    pub async fn copy(
        &self,
        visit: &Visit,
        of: impl Fn(&Object) -> Result<Range<u64>>,
        with: impl Fn(&Object) -> Algorithm,
    ) -> Result<(Object, Stored)> {
        let vault = &visit.objects().vault;
        for _ in 0..TRIES_MAX {
            let object = self.find(visit).await?;
            let range = of(&object)?;
            let length = range.end - range.start;
            let bytes = match vault.open(&object.data, range).await {
                Err(Error::Vanished) => continue,
                bytes => bytes?,
            };
            match vault.write(bytes, length, &[with(&object)], &visit.fresh()).await {
                Err(Error::Vanished) => continue,
                stored => return Ok((object, stored?)),
            }
        }
        Err(Error::Vanished)
    }
}

/// Whether `directive` says that the request's own value replaces the source's.
fn replaces(directive: Option<&str>, name: &str) -> Result<bool> {
    match directive {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(_) => Err(crate::error::invalid_argument(format!("Unknown {name} directive."))),
    }
}

fn whole(object: &Object) -> Result<Range<u64>> {
    if object.size > PUT_BYTES_MAX {
        return Err(invalid_request(
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
        ));
    }
    Ok(0..object.size)
}

pub async fn copy_object(visit: &Visit, request: S3Request<CopyObjectInput>) -> Result<CopyObjectOutput> {
    let mut input = request.input;
    let grants = [&input.grant_full_control, &input.grant_read, &input.grant_read_acp, &input.grant_write_acp];
    check_acl(input.acl.as_ref().map(|a| a.as_str()), &grants)?;
    check_storage_class(input.storage_class.as_ref().map(|c| c.as_str()))?;
    let new_metadata = replaces(input.metadata_directive.as_ref().map(|d| d.as_str()), "metadata")?;
    let new_tags = replaces(input.tagging_directive.as_ref().map(|d| d.as_str()), "tagging")?;
    let source = source_in!(input)?;
    let given = attributes_in!(input);
    if source.bucket == input.bucket && source.key == input.key && !new_metadata {
        return Err(invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let algorithm = input.checksum_algorithm.as_ref().map(|a| Algorithm::parse(a.as_str())).transpose()?;
    visit.bucket(&input.bucket).await?;
    let wanted = |o: &Object| algorithm.or(o.checksum.as_ref().map(|c| c.algorithm)).unwrap_or(Algorithm::Crc64Nvme);
    let (from, stored) = source.copy(visit, whole, wanted).await?;

    let mut attributes = from.attributes.clone();
    if new_metadata {
        (attributes.headers, attributes.metadata) = (given.headers, given.metadata);
    }
    if new_tags {
        attributes.tags = given.tags;
    }
    if !attributes.tags.is_empty() {
        let allowed = visit.authorise_object("s3:PutObjectTagging", &input.bucket, &input.key).await;
        allowed.inspect_err(|e| visit.objects().abandon(&stored, e))?;
    }
    let object = Object {
        size: stored.size,
        etag: stored.md5(),
        modified: base::Timestamp::default(),
        sequencer: 0,
        data: stored.data.clone(),
        attributes,
        checksum: stored.digest.sum(wanted(&from)).cloned(),
        upload: None,
    };
    let demand = Demand::default();
    let to = Target { bucket: &input.bucket, key: &input.key, demand: &demand, kind: Kind::Copy };
    let object = commit(visit, to, &stored, object).await?;
    let mut result = CopyObjectResult {
        e_tag: quoted(&object.etag),
        last_modified: Some(shown(object.modified)),
        ..Default::default()
    };
    set_sum!(result, &object.checksum);
    result.checksum_type = object.checksum.map(|s| ChecksumType::from_static(s.kind.name()));
    Ok(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() })
}

/// The range in `x-amz-copy-source-range`: `bytes=first-last`, within the source.
pub fn part_range(header: Option<&str>, object: &Object) -> Result<Range<u64>> {
    let Some(header) = header else { return whole(object) };
    let parsed = header.strip_prefix("bytes=").and_then(|r| r.split_once('-'));
    let parsed = parsed.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    let (first, last) = parsed.filter(|(first, last)| first <= last).ok_or_else(|| {
        crate::error::invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        )
    })?;
    if last >= object.size {
        return Err(refused(
            "InvalidArgument",
            format!("Range specified is not valid for source object of size: {}", object.size),
        ));
    }
    if last - first >= PUT_BYTES_MAX {
        return Err(crate::vault::too_large());
    }
    Ok(first..last + 1)
}
