//! PutObject.

use super::{check_acl, check_storage_class, quoted};
use crate::change::{Demand, Site};
use crate::digest::{Algorithm, Claims, set_sum, sums_in};
use crate::error::Result;
use crate::events::Kind;
use crate::model::Object;
use crate::vault::{Incoming, Stored};
use crate::visit::Visit;
use base::Timestamp;
use s3s::S3Request;
use s3s::dto::*;

/// The attributes in the fields that PutObject, CopyObject and CreateMultipartUpload share.
macro_rules! attributes_in {
    ($input:expr) => {{
        let headers = $crate::model::Headers {
            content_type: $input.content_type.take(),
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $crate::model::content_encoding($input.content_encoding.take()),
            content_language: $input.content_language.take(),
            expires: $input.expires.take().map(|at| $crate::api::seconds(&at)),
        };
        $crate::model::Attributes {
            headers,
            metadata: $crate::model::metadata($input.metadata.take())?,
            tags: $crate::model::tags_in_header($input.tagging.as_deref())?,
        }
    }};
}
pub(crate) use attributes_in;

/// How many bytes of content the request says it has, aws-chunked framing not counted.
pub fn length<T>(request: &S3Request<T>, content_length: Option<i64>) -> Option<u64> {
    let decoded = request.headers.get("x-amz-decoded-content-length").and_then(|v| v.to_str().ok()?.parse().ok());
    decoded.or(content_length.and_then(|n| u64::try_from(n).ok()))
}

/// A header as text.
pub fn header<'r, T>(request: &'r S3Request<T>, name: &str) -> Option<&'r str> {
    request.headers.get(name).and_then(|v| v.to_str().ok())
}

pub async fn put_object(visit: &Visit, mut request: S3Request<PutObjectInput>) -> Result<PutObjectOutput> {
    let length = length(&request, request.input.content_length);
    let claims = Claims::of(
        request.input.content_md5.as_deref(),
        sums_in!(request.input),
        header(&request, "x-amz-trailer"),
        header(&request, "x-amz-sdk-checksum-algorithm"),
    )?;
    let trailers = request.trailing_headers.take();
    let mut input = request.input;
    let grants = [&input.grant_full_control, &input.grant_read, &input.grant_read_acp, &input.grant_write_acp];
    check_acl(input.acl.as_ref().map(|a| a.as_str()), &grants)?;
    check_storage_class(input.storage_class.as_ref().map(|c| c.as_str()))?;
    let attributes = attributes_in!(input);
    let demand = Demand::of(input.if_match.take(), input.if_none_match.take())?;
    if !attributes.tags.is_empty() {
        visit.authorise_object("s3:PutObjectTagging", &input.bucket, &input.key).await?;
    }
    // Before the bytes come, so that a put that cannot succeed does not read them.
    visit.bucket(&input.bucket).await?;
    let algorithm = claims.sum.as_ref().map_or(Algorithm::Crc64Nvme, |(a, _)| *a);
    let incoming = Incoming { body: input.body.take(), length, claims, trailers };
    let stored = visit.objects().vault.take(incoming, &[algorithm], &visit.fresh()).await?;
    let object = Object {
        size: stored.size,
        etag: stored.md5(),
        modified: Timestamp::default(),
        sequencer: 0,
        data: stored.data.clone(),
        attributes,
        checksum: stored.digest.sum(algorithm).cloned(),
        upload: None,
    };
    let to = Target { bucket: &input.bucket, key: &input.key, demand: &demand, kind: Kind::Put };
    let object = commit(visit, to, &stored, object).await?;
    let mut output = PutObjectOutput { e_tag: quoted(&object.etag), ..Default::default() };
    set_sum!(output, &object.checksum);
    output.checksum_type = object.checksum.map(|s| ChecksumType::from_static(s.kind.name()));
    Ok(output)
}

/// Where an object goes and what it demands of what is there.
pub struct Target<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    pub demand: &'a Demand,
    pub kind: Kind,
}

/// Commits `object` with its bytes and its events; gives up the bytes if that fails.
pub async fn commit(visit: &Visit, to: Target<'_>, stored: &Stored, object: Object) -> Result<Object> {
    let (objects, at, object) = (visit.objects(), visit.now(), &object);
    let change = async |tx: store::Tx| {
        let bucket = visit.bucket_in(&tx, to.bucket).await?;
        let site = Site { visit, bucket: &bucket, key: to.key, at };
        let old = site.current(&tx).await?;
        to.demand.check(old.as_ref())?;
        stored.keep(&tx)?;
        site.replace(&tx, old, object.clone(), to.kind).await
    };
    match objects.store().transact(change).await {
        Ok((object, freed)) => {
            objects.release(freed);
            Ok(object)
        }
        Err(e) => {
            objects.abandon(stored, &e);
            Err(e)
        }
    }
}
