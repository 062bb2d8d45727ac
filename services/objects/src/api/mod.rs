//! The operations, a file per operation or tight family, and the `s3s` trait that dispatches to them.

mod attributes;
mod buckets;
mod copy;
mod delete;
mod get;
mod listing;
mod multipart;
mod notification;
mod part;
pub(crate) mod put;
mod tagging;
mod uploads;
mod versions;

use crate::error::Result;
use crate::visit::Visit;
use base::Timestamp;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use std::time::{Duration, SystemTime};

/// Writes the methods of the `s3s` trait, each calling the function that does it.
macro_rules! operations {
    ($($name:ident($input:ty) -> $output:ty = $run:path;)*) => {
        #[async_trait::async_trait]
        impl S3 for Visit {
            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                let output: Result<$output> = $run(self, request).await;
                Ok(S3Response::new(output?))
            })*
        }
    };
}

operations! {
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = multipart::abort;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = multipart::complete;
    copy_object(CopyObjectInput) -> CopyObjectOutput = copy::copy_object;
    create_bucket(CreateBucketInput) -> CreateBucketOutput = buckets::create;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = multipart::create;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = buckets::delete;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput = tagging::delete_bucket;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = delete::delete_object;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput = tagging::delete_object;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = delete::delete_objects;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = buckets::location;
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput)
        -> GetBucketNotificationConfigurationOutput = notification::get;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput = tagging::get_bucket;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = buckets::versioning;
    get_object(GetObjectInput) -> GetObjectOutput = get::get_object;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput = attributes::get_object_attributes;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = tagging::get_object;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = buckets::head;
    head_object(HeadObjectInput) -> HeadObjectOutput = get::head_object;
    list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets::list;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = uploads::list_multipart_uploads;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = versions::list_object_versions;
    list_objects(ListObjectsInput) -> ListObjectsOutput = listing::list_objects;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = listing::list_objects_v2;
    list_parts(ListPartsInput) -> ListPartsOutput = uploads::list_parts;
    put_bucket_notification_configuration(PutBucketNotificationConfigurationInput)
        -> PutBucketNotificationConfigurationOutput = notification::put;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput = tagging::put_bucket;
    put_object(PutObjectInput) -> PutObjectOutput = put::put_object;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput = tagging::put_object;
    upload_part(UploadPartInput) -> UploadPartOutput = part::upload_part;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = part::upload_part_copy;
}

/// A time as S3 shows it: whole seconds.
fn shown(at: Timestamp) -> s3s::dto::Timestamp {
    (SystemTime::UNIX_EPOCH + Duration::from_secs(at.millis() / 1000)).into()
}

/// Seconds since the epoch of a time a client gave.
fn seconds(at: &s3s::dto::Timestamp) -> i64 {
    let mut text = Vec::new();
    let formatted = at.format(TimestampFormat::EpochSeconds, &mut text).is_ok();
    let whole = String::from_utf8(text).ok().and_then(|t| t.split('.').next().and_then(|s| s.parse().ok()));
    whole.filter(|_| formatted).unwrap_or_default()
}

/// The other way round, for `Expires`.
fn from_seconds(at: i64) -> Option<s3s::dto::Timestamp> {
    s3s::dto::Timestamp::parse(TimestampFormat::EpochSeconds, &at.to_string()).ok()
}

fn quoted(etag: &str) -> Option<ETag> {
    Some(ETag::Strong(etag.to_owned()))
}

/// Only the current version exists: its id is `null`.
fn check_version(version_id: Option<&str>) -> Result<()> {
    match version_id {
        None | Some("null") => Ok(()),
        Some(_) => Err(crate::error::invalid_argument("Invalid version id specified")),
    }
}

/// ACLs are off in every bucket, as they are in new ones on AWS: only what changes nothing is taken.
fn check_acl(acl: Option<&str>, grants: &[&Option<String>]) -> Result<()> {
    let harmless = matches!(acl, None | Some("private" | "bucket-owner-full-control"));
    if !harmless || grants.iter().any(|g| g.is_some()) {
        return Err(crate::error::refused("AccessControlListNotSupported", "The bucket does not allow ACLs"));
    }
    Ok(())
}

/// There is one storage class.
fn check_storage_class(class: Option<&str>) -> Result<()> {
    match class {
        None | Some("STANDARD") => Ok(()),
        Some(other) => Err(crate::error::not_implemented(format_args!("the storage class {other}"))),
    }
}
