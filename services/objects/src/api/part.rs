//! UploadPart and UploadPartCopy.

use super::copy::{part_range, source_in};
use super::put::{header, length};
use super::{quoted, shown};
use crate::digest::{Algorithm, Claims, Sum, set_sum, sums_in};
use crate::error::{Result, invalid_argument, invalid_request, no_such_upload};
use crate::model::{PARTS_MAX, Part as Record, Upload};
use crate::store::Space;
use crate::vault::{Incoming, Stored, forget_simple};
use crate::visit::Visit;
use s3s::S3Request;
use s3s::dto::*;

/// Which part of which upload.
struct Place<'a> {
    bucket: &'a str,
    key: &'a str,
    upload: &'a str,
    number: i32,
}

impl Place<'_> {
    fn check(&self) -> Result<()> {
        if !(1..=PARTS_MAX).contains(&self.number) {
            return Err(invalid_argument("Part number must be an integer between 1 and 10000, inclusive"));
        }
        Ok(())
    }

    fn upload_key(&self) -> store::Key {
        Space::Upload { bucket: self.bucket, key: self.key, id: self.upload }.key()
    }

    async fn find(&self, visit: &Visit) -> Result<Upload> {
        self.check()?;
        visit.bucket(self.bucket).await?;
        visit.objects().store().get(&self.upload_key()).await?.ok_or_else(no_such_upload)
    }

    /// Commits the part; one of the same number that was there before goes.
    async fn commit(&self, visit: &Visit, stored: &Stored, checksum: Option<Sum>) -> Result<Record> {
        let objects = visit.objects();
        let part = Record {
            number: self.number,
            size: stored.size,
            md5: stored.md5(),
            modified: visit.now(),
            data: stored.data.clone(),
            checksum,
        };
        let key = Space::Part { upload: self.upload, number: self.number }.key();
        let new = &part;
        let change = async |tx: store::Tx| {
            visit.bucket_in(&tx, self.bucket).await?;
            tx.get::<Upload>(&self.upload_key()).await?.ok_or_else(no_such_upload)?;
            let old: Option<Record> = tx.get(&key).await?;
            let mut freed = Vec::new();
            if let Some(old) = &old {
                forget_simple(&tx, &old.data, &mut freed);
            }
            stored.keep(&tx)?;
            tx.put(&key, new)?;
            Ok(old.map(|old| (old.data, freed)))
        };
        match objects.store().transact(change).await {
            Ok(freed) => objects.release(freed),
            Err(e) => {
                objects.abandon(stored, &e);
                return Err(e);
            }
        }
        Ok(part)
    }
}

pub async fn upload_part(visit: &Visit, mut request: S3Request<UploadPartInput>) -> Result<UploadPartOutput> {
    let length = length(&request, request.input.content_length);
    let claims = Claims::of(
        request.input.content_md5.as_deref(),
        sums_in!(request.input),
        header(&request, "x-amz-trailer"),
        header(&request, "x-amz-sdk-checksum-algorithm"),
    )?;
    let trailers = request.trailing_headers.take();
    let mut input = request.input;
    let place = Place { bucket: &input.bucket, key: &input.key, upload: &input.upload_id, number: input.part_number };
    let upload = place.find(visit).await?;
    let claimed = claims.sum.as_ref().map(|(a, _)| *a);
    if let (Some(wanted), Some(claimed)) = (upload.algorithm, claimed)
        && wanted != claimed
    {
        return Err(invalid_request(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            wanted.name().to_ascii_lowercase(),
            claimed.name().to_ascii_lowercase(),
        )));
    }
    // The upload's own algorithm makes the whole's checksum; another that came with the part is checked and shown.
    let kept = upload.summed_with();
    let mut algorithms = vec![kept];
    algorithms.extend(claimed.filter(|c| *c != kept));
    let incoming = Incoming { body: input.body.take(), length, claims, trailers };
    let stored = visit.objects().vault.take(incoming, &algorithms, &visit.fresh()).await?;
    let sum_of = |a: Algorithm| stored.digest.sum(a).cloned();
    let part = place.commit(visit, &stored, sum_of(kept)).await?;
    let mut output = UploadPartOutput { e_tag: quoted(&part.md5), ..Default::default() };
    set_sum!(output, sum_of(claimed.unwrap_or(kept)));
    Ok(output)
}

pub async fn upload_part_copy(visit: &Visit, request: S3Request<UploadPartCopyInput>) -> Result<UploadPartCopyOutput> {
    let mut input = request.input;
    let source = source_in!(input)?;
    let place = Place { bucket: &input.bucket, key: &input.key, upload: &input.upload_id, number: input.part_number };
    let algorithm = place.find(visit).await?.summed_with();
    let range = input.copy_source_range.as_deref();
    let (_, stored) = source.copy(visit, |object| part_range(range, object), |_| algorithm).await?;
    let part = place.commit(visit, &stored, stored.digest.sum(algorithm).cloned()).await?;
    let mut result =
        CopyPartResult { e_tag: quoted(&part.md5), last_modified: Some(shown(part.modified)), ..Default::default() };
    set_sum!(result, &part.checksum);
    Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() })
}
