//! Tags of objects and buckets: put, get, delete.

use super::check_version;
use crate::change::Site;
use crate::error::{Result, no_such_key, refused};
use crate::events::Kind;
use crate::model::{Bucket, Object, Tags, bucket_tags, object_tags};
use crate::store::Space;
use crate::visit::Visit;
use s3s::S3Request;
use s3s::dto::*;

fn tags_in(given: Tagging) -> Tags {
    given.tag_set.into_iter().map(|t| (t.key.unwrap_or_default(), t.value.unwrap_or_default())).collect()
}

fn shape(tags: Tags) -> TagSet {
    tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect()
}

async fn retag_object(visit: &Visit, bucket: &str, key: &str, tags: &Tags, kind: Kind) -> Result<()> {
    let at = visit.now();
    let change = async |tx: store::Tx| {
        let bucket = visit.bucket_in(&tx, bucket).await?;
        let site = Site { visit, bucket: &bucket, key, at };
        let mut object = site.current(&tx).await?.ok_or_else(no_such_key)?;
        object.attributes.tags = tags.clone();
        site.retag(&tx, &object, kind)
    };
    visit.objects().store().transact(change).await
}

pub async fn put_object(visit: &Visit, request: S3Request<PutObjectTaggingInput>) -> Result<PutObjectTaggingOutput> {
    let input = request.input;
    check_version(input.version_id.as_deref())?;
    let tags = object_tags(tags_in(input.tagging))?;
    retag_object(visit, &input.bucket, &input.key, &tags, Kind::Tagged).await?;
    Ok(PutObjectTaggingOutput::default())
}

pub async fn delete_object(
    visit: &Visit,
    request: S3Request<DeleteObjectTaggingInput>,
) -> Result<DeleteObjectTaggingOutput> {
    let input = request.input;
    check_version(input.version_id.as_deref())?;
    retag_object(visit, &input.bucket, &input.key, &Tags::new(), Kind::Untagged).await?;
    Ok(DeleteObjectTaggingOutput::default())
}

pub async fn get_object(visit: &Visit, request: S3Request<GetObjectTaggingInput>) -> Result<GetObjectTaggingOutput> {
    let input = request.input;
    check_version(input.version_id.as_deref())?;
    visit.bucket(&input.bucket).await?;
    let key = Space::Object { bucket: &input.bucket, key: &input.key }.key();
    let object: Option<Object> = visit.objects().store().get(&key).await?;
    let tags = object.ok_or_else(no_such_key)?.attributes.tags;
    Ok(GetObjectTaggingOutput { tag_set: shape(tags), version_id: None })
}

async fn retag_bucket(visit: &Visit, name: &str, tags: &Tags) -> Result<()> {
    let change = async |tx: store::Tx| {
        let bucket = Bucket { tags: tags.clone(), ..visit.bucket_in(&tx, name).await? };
        Ok(tx.put(&Space::Bucket(name).key(), &bucket)?)
    };
    visit.objects().store().transact(change).await
}

pub async fn put_bucket(visit: &Visit, request: S3Request<PutBucketTaggingInput>) -> Result<PutBucketTaggingOutput> {
    let tags = bucket_tags(tags_in(request.input.tagging))?;
    retag_bucket(visit, &request.input.bucket, &tags).await?;
    Ok(PutBucketTaggingOutput::default())
}

pub async fn delete_bucket(
    visit: &Visit,
    request: S3Request<DeleteBucketTaggingInput>,
) -> Result<DeleteBucketTaggingOutput> {
    retag_bucket(visit, &request.input.bucket, &Tags::new()).await?;
    Ok(DeleteBucketTaggingOutput::default())
}

pub async fn get_bucket(visit: &Visit, request: S3Request<GetBucketTaggingInput>) -> Result<GetBucketTaggingOutput> {
    let tags = visit.bucket(&request.input.bucket).await?.tags;
    if tags.is_empty() {
        return Err(refused("NoSuchTagSet", "The TagSet does not exist"));
    }
    Ok(GetBucketTaggingOutput { tag_set: shape(tags) })
}
