//! CreateBucket, HeadBucket, ListBuckets, DeleteBucket, GetBucketLocation, GetBucketVersioning.

use super::shown;
use crate::error::{Result, invalid_argument, not_implemented, refused};
use crate::list::{After, Entry, Query, page};
use crate::model::{Bucket as Record, bucket_name_may_be_new};
use crate::store::{Owned, Space};
use crate::visit::{Visit, owner};
use s3s::S3Request;
use s3s::dto::*;
use store::record;

/// Where a bucket asked for by a request signed for `signed` is made, by AWS's rules for regional endpoints.
fn region(signed: &str, asked: Option<&str>) -> Result<String> {
    let incompatible = |what: &str| {
        let text = format!(
            "The {what} location constraint is incompatible for the region specific endpoint this request was sent to."
        );
        refused("IllegalLocationConstraintException", text)
    };
    match asked.filter(|a| !a.is_empty()) {
        None if signed == "us-east-1" => Ok(signed.to_owned()),
        None => Err(incompatible("unspecified")),
        Some("us-east-1") if signed == "us-east-1" => {
            Err(refused("InvalidLocationConstraint", "The specified location-constraint is not valid"))
        }
        Some(asked) if base::Region::parse(asked).is_none() && asked != "EU" => {
            Err(refused("InvalidLocationConstraint", "The specified location-constraint is not valid"))
        }
        Some("EU") if signed == "us-east-1" || signed == "eu-west-1" => Ok("eu-west-1".to_owned()),
        Some(asked) if signed == "us-east-1" || asked == signed => Ok(asked.to_owned()),
        Some(asked) => Err(incompatible(asked)),
    }
}

fn check(input: &CreateBucketInput) -> Result<()> {
    if !bucket_name_may_be_new(&input.bucket) {
        return Err(refused("InvalidBucketName", "The specified bucket is not valid."));
    }
    let grants = [
        &input.grant_full_control,
        &input.grant_read,
        &input.grant_read_acp,
        &input.grant_write,
        &input.grant_write_acp,
    ];
    if input.acl.as_ref().is_some_and(|a| a.as_str() != "private") || grants.iter().any(|g| g.is_some()) {
        return Err(refused(
            "InvalidBucketAclWithObjectOwnership",
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        ));
    }
    if let Some(ownership) = input.object_ownership.as_ref().filter(|o| o.as_str() != "BucketOwnerEnforced") {
        return Err(not_implemented(format_args!("the object ownership {}", ownership.as_str())));
    }
    if input.create_bucket_configuration.as_ref().is_some_and(|c| c.bucket.is_some() || c.location.is_some()) {
        return Err(not_implemented("directory buckets"));
    }
    Ok(())
}

pub async fn create(visit: &Visit, request: S3Request<CreateBucketInput>) -> Result<CreateBucketOutput> {
    let input = request.input;
    check(&input)?;
    let asked = input.create_bucket_configuration.and_then(|c| c.location_constraint);
    let signed = visit.facts().region.as_str();
    let bucket = Record {
        name: input.bucket,
        account: visit.account()?.to_owned(),
        region: region(signed, asked.as_ref().map(|a| a.as_str()))?,
        created: visit.now(),
        tags: Vec::new(),
        notifications: Vec::new(),
        event_bridge: false,
    };
    let new = &bucket;
    let make = async |tx: store::Tx| {
        let key = Space::Bucket(&new.name).key();
        match tx.get::<Record>(&key).await? {
            None => {
                tx.put(&key, new)?;
                let owned = Owned { region: new.region.clone(), created: new.created };
                tx.put(&Space::Owned { account: &new.account, bucket: &new.name }.key(), &owned)?;
                Ok(())
            }
            Some(old) if old.account != new.account => Err(refused(
                "BucketAlreadyExists",
                "The requested bucket name is not available. The bucket namespace is shared by all users of the \
                 system. Please select a different name and try again.",
            )),
            // us-east-1 alone answers 200 when it is yours already.
            Some(old) if old.region == "us-east-1" && new.region == "us-east-1" => Ok(()),
            Some(_) => Err(refused(
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own it.",
            )),
        }
    };
    visit.objects().store().transact(make).await?;
    Ok(CreateBucketOutput { location: Some(format!("/{}", bucket.name)) })
}

pub async fn head(visit: &Visit, request: S3Request<HeadBucketInput>) -> Result<HeadBucketOutput> {
    let bucket = visit.bucket(&request.input.bucket).await?;
    Ok(HeadBucketOutput { bucket_region: Some(bucket.region), ..Default::default() })
}

pub async fn location(visit: &Visit, request: S3Request<GetBucketLocationInput>) -> Result<GetBucketLocationOutput> {
    let region = visit.bucket(&request.input.bucket).await?.region;
    // us-east-1 has no constraint.
    let location_constraint = (region != "us-east-1").then(|| BucketLocationConstraint::from(region));
    Ok(GetBucketLocationOutput { location_constraint })
}

/// No bucket is versioned: the answer is AWS's for a bucket that never was.
pub async fn versioning(
    visit: &Visit,
    request: S3Request<GetBucketVersioningInput>,
) -> Result<GetBucketVersioningOutput> {
    visit.bucket(&request.input.bucket).await?;
    Ok(GetBucketVersioningOutput::default())
}

pub async fn list(visit: &Visit, request: S3Request<ListBucketsInput>) -> Result<ListBucketsOutput> {
    let input = request.input;
    let max = match input.max_buckets {
        None => 10_000,
        Some(max @ 1..=10_000) => max as usize,
        Some(_) => return Err(invalid_argument("Argument max-buckets must be an integer between 1 and 10000")),
    };
    let account = visit.account()?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let after = input.continuation_token.as_deref().map_or(After::Start, After::Name);
    let query = Query { space: Space::owned_by(account), prefix, delimiter: "", after, max };
    let found = page(visit.objects().store(), &query).await?;
    let last = found.entries.last().map(|e| e.name().to_owned());
    let mut buckets = Vec::with_capacity(found.entries.len());
    for entry in found.entries {
        let Entry::Name { name, item, .. } = entry else { continue };
        let owned: Owned = record::decode(&item.value)?;
        if input.bucket_region.as_ref().is_some_and(|r| *r != owned.region) {
            continue;
        }
        buckets.push(Bucket {
            bucket_region: Some(owned.region),
            creation_date: Some(shown(owned.created)),
            name: Some(name),
        });
    }
    let continuation_token = last.filter(|_| found.truncated);
    Ok(ListBucketsOutput {
        buckets: Some(buckets),
        continuation_token,
        owner: Some(owner(account)),
        prefix: input.prefix,
    })
}

pub async fn delete(visit: &Visit, request: S3Request<DeleteBucketInput>) -> Result<DeleteBucketOutput> {
    let name = &request.input.bucket;
    let remove = async |tx: store::Tx| {
        let bucket = visit.bucket_in(&tx, name).await?;
        for space in [Space::objects_in(name), Space::uploads_in(name)] {
            if !tx.scan(space.as_bytes(), &space.end(), 1).await?.is_empty() {
                return Err(refused("BucketNotEmpty", "The bucket you tried to delete is not empty"));
            }
        }
        tx.delete(&Space::Bucket(name).key());
        tx.delete(&Space::Owned { account: &bucket.account, bucket: name }.key());
        Ok(())
    };
    visit.objects().store().transact(remove).await?;
    Ok(DeleteBucketOutput::default())
}

#[cfg(test)]
mod tests {
    use super::region;

    #[test]
    fn regions() {
        let code =
            |signed, asked| region(signed, asked).map_err(|e| e.to_string().split(':').next().map(str::to_owned));
        assert_eq!(code("us-east-1", None).as_deref(), Ok("us-east-1"));
        assert_eq!(code("us-east-1", Some("eu-west-2")).as_deref(), Ok("eu-west-2"));
        assert_eq!(code("eu-west-2", Some("eu-west-2")).as_deref(), Ok("eu-west-2"));
        assert_eq!(code("us-east-1", Some("EU")).as_deref(), Ok("eu-west-1"));
        for (signed, asked) in [
            ("eu-west-2", None),
            ("eu-west-2", Some("us-west-1")),
            ("us-east-1", Some("us-east-1")),
            ("us-east-1", Some("a b")),
        ] {
            assert!(code(signed, asked).is_err(), "{signed} {asked:?}");
        }
    }
}
