//! DeleteObject and DeleteObjects.

use super::check_version;
use crate::change::{Demand, Site};
use crate::error::{Error as Failure, Result, not_implemented, refused};
use crate::visit::Visit;
use futures::StreamExt;
use s3s::dto::*;
use s3s::{S3Error, S3Request};

/// How many keys one DeleteObjects may name.
const KEYS_MAX: usize = 1000;
/// How many of them are deleted at a time.
const TOGETHER_MAX: usize = 64;

/// Deletes one key. Deleting what is not there succeeds, and tells nobody.
async fn delete(visit: &Visit, bucket: &str, key: &str, demand: &Demand) -> Result<()> {
    let (objects, at) = (visit.objects(), visit.now());
    let change = async |tx: store::Tx| {
        let bucket = visit.bucket_in(&tx, bucket).await?;
        let site = Site { visit, bucket: &bucket, key, at };
        let old = site.current(&tx).await?;
        demand.check(old.as_ref())?;
        match old {
            Some(old) => site.remove(&tx, old).await,
            None => Ok(None),
        }
    };
    let freed = objects.store().transact(change).await?;
    objects.release(freed);
    Ok(())
}

pub async fn delete_object(visit: &Visit, request: S3Request<DeleteObjectInput>) -> Result<DeleteObjectOutput> {
    let mut input = request.input;
    check_version(input.version_id.as_deref())?;
    if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
        return Err(not_implemented("deleting by size or time (S3 has it for directory buckets)"));
    }
    let demand = Demand::of(input.if_match.take(), None)?;
    delete(visit, &input.bucket, &input.key, &demand).await?;
    Ok(DeleteObjectOutput::default())
}

pub async fn delete_objects(visit: &Visit, request: S3Request<DeleteObjectsInput>) -> Result<DeleteObjectsOutput> {
    let DeleteObjectsInput { bucket, delete: batch, .. } = request.input;
    visit.bucket(&bucket).await?;
    if batch.objects.is_empty() || batch.objects.len() > KEYS_MAX {
        return Err(refused(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
        ));
    }
    let quiet = batch.quiet.unwrap_or(false);
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    let bucket = bucket.as_str();
    // Together, so that their commits share an fsync; `buffered` keeps the order.
    let each = batch.objects.into_iter().map(|o| async move { (delete_one(visit, bucket, &o).await, o) });
    let mut results = futures::stream::iter(each).buffered(TOGETHER_MAX);
    while let Some((result, object)) = results.next().await {
        match result {
            Ok(()) if quiet => {}
            Ok(()) => deleted.push(DeletedObject { key: Some(object.key), ..Default::default() }),
            Err(e) => {
                let e = S3Error::from(e);
                errors.push(Error {
                    code: Some(e.code().as_str().to_owned()),
                    key: Some(object.key),
                    message: e.message().map(str::to_owned),
                    version_id: object.version_id,
                });
            }
        }
    }
    Ok(DeleteObjectsOutput {
        deleted: (!deleted.is_empty()).then_some(deleted),
        errors: (!errors.is_empty()).then_some(errors),
        request_charged: None,
    })
}

async fn delete_one(visit: &Visit, bucket: &str, object: &ObjectIdentifier) -> Result<(), Failure> {
    if object.key.len() > 1024 {
        return Err(refused("KeyTooLongError", "Your key is too long"));
    }
    visit.authorise_object("s3:DeleteObject", bucket, &object.key).await?;
    check_version(object.version_id.as_deref())?;
    if object.last_modified_time.is_some() || object.size.is_some() {
        return Err(not_implemented("deleting by size or time (S3 has it for directory buckets)"));
    }
    let demand = Demand::of(object.e_tag.clone().map(ETagCondition::ETag), None)?;
    delete(visit, bucket, &object.key, &demand).await
}
