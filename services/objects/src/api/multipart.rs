//! CreateMultipartUpload, CompleteMultipartUpload, AbortMultipartUpload.

use super::put::attributes_in;
use super::{check_acl, check_storage_class, quoted};
use crate::change::{Demand, Freed, Site};
use crate::digest::{Algorithm, Sum, SumKind, etag_of_parts, of_parts, set_sum, sums_in};
use crate::error::{Result, invalid_request, no_such_upload, refused};
use crate::events::Kind;
use crate::model::{Data, OBJECT_BYTES_MAX, Object, PART_BYTES_MIN, PARTS_MAX, Part, Upload};
use crate::store::{PartList, Space};
use crate::vault::forget_simple;
use crate::visit::Visit;
use s3s::S3Request;
use s3s::dto::*;
use std::collections::BTreeMap;
use store::{Tx, record};

pub async fn create(
    visit: &Visit,
    request: S3Request<CreateMultipartUploadInput>,
) -> Result<CreateMultipartUploadOutput> {
    let mut input = request.input;
    let grants = [&input.grant_full_control, &input.grant_read, &input.grant_read_acp, &input.grant_write_acp];
    check_acl(input.acl.as_ref().map(|a| a.as_str()), &grants)?;
    check_storage_class(input.storage_class.as_ref().map(|c| c.as_str()))?;
    let attributes = attributes_in!(input);
    if !attributes.tags.is_empty() {
        visit.authorise_object("s3:PutObjectTagging", &input.bucket, &input.key).await?;
    }
    let algorithm = input.checksum_algorithm.as_ref().map(|a| Algorithm::parse(a.as_str())).transpose()?;
    let asked_kind = input.checksum_type.as_ref().map(|t| t.as_str());
    if algorithm.is_none() && asked_kind.is_some() {
        return Err(invalid_request(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
        ));
    }
    let kind = algorithm.unwrap_or(Algorithm::Crc64Nvme).kind(asked_kind)?;
    let at = visit.now();
    let initiator = visit.caller()?.principal.clone();
    let upload = Upload { initiated: at, initiator, attributes, algorithm, kind };
    // An id that begins with the time, so that uploads of a key are listed in the order they began.
    let id = visit.fresh().data_id().replace('-', "");
    let key = Space::Upload { bucket: &input.bucket, key: &input.key, id: &id }.key();
    let begin = async |tx: Tx| {
        visit.bucket_in(&tx, &input.bucket).await?;
        Ok::<_, crate::Error>(tx.put(&key, &upload)?)
    };
    visit.objects().store().transact(begin).await?;
    Ok(CreateMultipartUploadOutput {
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: algorithm.map(|_| ChecksumType::from_static(kind.name())),
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        ..Default::default()
    })
}

/// A part as the client lists it.
struct Listed {
    number: i32,
    etag: String,
    sums: Vec<(Algorithm, String)>,
}

fn listed(given: Option<CompletedMultipartUpload>) -> Result<Vec<Listed>> {
    let parts = given.and_then(|g| g.parts).unwrap_or_default();
    if parts.is_empty() || parts.len() > PARTS_MAX as usize {
        return Err(refused(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
        ));
    }
    let parts = parts.into_iter().map(|p| Listed {
        number: p.part_number.unwrap_or_default(),
        sums: sums_in!(p),
        etag: p.e_tag.map(ETag::into_value).unwrap_or_default(),
    });
    let parts: Vec<Listed> = parts.collect();
    if parts.windows(2).any(|w| w[0].number >= w[1].number) {
        return Err(refused(
            "InvalidPartOrder",
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
        ));
    }
    Ok(parts)
}

/// The uploaded parts that the client lists, in its order; what it does not list stays in `uploaded`.
fn choose(listed: &[Listed], uploaded: &mut BTreeMap<i32, Part>, upload: &Upload) -> Result<Vec<Part>> {
    let invalid = || {
        refused(
            "InvalidPart",
            "One or more of the specified parts could not be found.  The part may not have been uploaded, or the \
             specified entity tag may not match the part's entity tag.",
        )
    };
    let mut chosen = Vec::with_capacity(listed.len());
    for (i, wanted) in listed.iter().enumerate() {
        let part = uploaded.remove(&wanted.number).filter(|p| p.md5 == wanted.etag).ok_or_else(invalid)?;
        if i + 1 < listed.len() && part.size < PART_BYTES_MIN {
            return Err(refused("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size"));
        }
        check_sum(wanted, &part, upload)?;
        chosen.push(part);
    }
    Ok(chosen)
}

fn check_sum(wanted: &Listed, part: &Part, upload: &Upload) -> Result<()> {
    let Some(kept) = &part.checksum else { return Ok(()) };
    let given = wanted.sums.iter().find(|(a, _)| *a == kept.algorithm);
    match given {
        Some((_, value)) if *value != kept.value => Err(refused(
            "InvalidPart",
            "One or more of the specified parts could not be found.  The part may not have been uploaded, or the \
             specified entity tag may not match the part's entity tag.",
        )),
        None if upload.kind == SumKind::Composite => {
            let name = kept.algorithm.name().to_ascii_lowercase();
            Err(invalid_request(format!(
                "The upload was created using a {name} checksum. The complete request must include the checksum for \
                 each part. It was missing for part {} in the request.",
                wanted.number
            )))
        }
        _ => Ok(()),
    }
}

/// What the client claims of the whole.
struct Whole {
    size: Option<i64>,
    kind: Option<String>,
    sums: Vec<(Algorithm, String)>,
}

impl Whole {
    fn check(&self, size: u64, sum: Option<&Sum>, upload: &Upload) -> Result<()> {
        if self.size.is_some_and(|s| u64::try_from(s) != Ok(size)) {
            return Err(invalid_request(
                "The provided 'x-amz-mp-object-size' header value does not match what was computed.",
            ));
        }
        if self.kind.as_ref().is_some_and(|k| k != upload.kind.name()) {
            return Err(invalid_request(format!(
                "The upload was created using the {} checksum mode. The complete request must use the same checksum \
                 mode.",
                upload.kind.name()
            )));
        }
        for (algorithm, claimed) in &self.sums {
            let computed = sum.filter(|s| s.algorithm == *algorithm).map(|s| s.value.as_str());
            // A composite may be claimed with or without its count.
            let bare = computed.and_then(|c| c.split('-').next());
            if computed != Some(claimed) && bare != Some(claimed) {
                return Err(refused(
                    "BadDigest",
                    format!("The {} you specified did not match the calculated checksum.", algorithm.name()),
                ));
            }
        }
        Ok(())
    }
}

pub async fn complete(
    visit: &Visit,
    request: S3Request<CompleteMultipartUploadInput>,
) -> Result<CompleteMultipartUploadOutput> {
    let mut input = request.input;
    let demand = Demand::of(input.if_match.take(), input.if_none_match.take())?;
    let whole = Whole {
        size: input.mpu_object_size,
        kind: input.checksum_type.take().map(|k| k.as_str().to_owned()),
        sums: sums_in!(input),
    };
    let parts = listed(input.multipart_upload.take())?;
    let finish = Finish { visit, bucket: &input.bucket, key: &input.key, id: &input.upload_id };
    let (list_id, at) = (visit.fresh().data_id(), visit.now());
    let (finish, parts, whole, demand, list_id) = (&finish, &parts, &whole, &demand, &list_id);
    let change = async |tx: Tx| finish.run(&tx, parts, whole, demand, list_id, at).await;
    let (object, freed, unlisted) = visit.objects().store().transact(change).await?;
    visit.objects().release(freed);
    visit.objects().release(unlisted);

    let host = request.headers.get("host").and_then(|h| h.to_str().ok()).unwrap_or("localhost");
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("http://{host}/{}/{}", input.bucket, crate::model::url_encoded(&input.key))),
        e_tag: quoted(&object.etag),
        ..Default::default()
    };
    set_sum!(output, &object.checksum);
    output.checksum_type = object.checksum.map(|s| ChecksumType::from_static(s.kind.name()));
    (output.bucket, output.key) = (Some(input.bucket), Some(input.key));
    Ok(output)
}

/// An upload about to become an object, or to be given up.
struct Finish<'a> {
    visit: &'a Visit,
    bucket: &'a str,
    key: &'a str,
    id: &'a str,
}

impl Finish<'_> {
    fn record(&self) -> store::Key {
        Space::Upload { bucket: self.bucket, key: self.key, id: self.id }.key()
    }

    /// No bytes move: the object's record names the parts' data.
    async fn run(
        &self,
        tx: &Tx,
        listed: &[Listed],
        whole: &Whole,
        demand: &Demand,
        list_id: &str,
        at: base::Timestamp,
    ) -> Result<(Object, Freed, Freed)> {
        let bucket = self.visit.bucket_in(tx, self.bucket).await?;
        let site = Site { visit: self.visit, bucket: &bucket, key: self.key, at };
        let old = site.current(tx).await?;
        let Some(upload) = tx.get::<Upload>(&self.record()).await? else {
            // Asked again after it was done, the answer is the same.
            return match old {
                Some(done) if done.upload.as_deref() == Some(self.id) => Ok((done, None, None)),
                _ => Err(no_such_upload()),
            };
        };
        demand.check(old.as_ref())?;
        let mut uploaded = self.parts(tx).await?;
        let chosen = choose(listed, &mut uploaded, &upload)?;
        let object = assemble(&chosen, &upload, whole, list_id, self.id)?;
        tx.put(&Space::List(list_id).key(), &PartList(chosen))?;
        self.remove(tx, listed.iter().map(|l| l.number).chain(uploaded.keys().copied()));
        let unlisted = forget_all(tx, uploaded.values());
        let (object, freed) = site.replace(tx, old, object, Kind::Completed).await?;
        Ok((object, freed, unlisted))
    }

    async fn parts(&self, tx: &Tx) -> Result<BTreeMap<i32, Part>> {
        let space = Space::parts_of(self.id);
        let items = tx.scan(space.as_bytes(), &space.end(), PARTS_MAX as usize).await?;
        let parts = items.iter().map(|i| record::decode::<Part>(&i.value).map(|p| (p.number, p)));
        Ok(parts.collect::<store::Result<_>>()?)
    }

    fn remove(&self, tx: &Tx, numbers: impl Iterator<Item = i32>) {
        tx.delete(&self.record());
        numbers.for_each(|number| tx.delete(&Space::Part { upload: self.id, number }.key()));
    }
}

fn forget_all<'p>(tx: &Tx, parts: impl Iterator<Item = &'p Part>) -> Freed {
    let mut blobs = Vec::new();
    parts.for_each(|part| forget_simple(tx, &part.data, &mut blobs));
    (!blobs.is_empty()).then_some((Data::Empty, blobs))
}

fn assemble(parts: &[Part], upload: &Upload, whole: &Whole, list_id: &str, upload_id: &str) -> Result<Object> {
    let size: u64 = parts.iter().map(|p| p.size).sum();
    if size > OBJECT_BYTES_MAX {
        return Err(crate::vault::too_large());
    }
    let sums: Vec<_> = parts.iter().map(|p| (p.checksum.as_ref(), p.size)).collect();
    let checksum = of_parts(upload.summed_with(), upload.kind, &sums);
    whole.check(size, checksum.as_ref(), upload)?;
    Ok(Object {
        size,
        etag: etag_of_parts(parts.iter().map(|p| p.md5.as_str())),
        modified: base::Timestamp::default(),
        sequencer: 0,
        data: Data::Parts { id: list_id.to_owned(), count: parts.len() as u32 },
        attributes: upload.attributes.clone(),
        checksum,
        upload: Some(upload_id.to_owned()),
    })
}

pub async fn abort(visit: &Visit, request: S3Request<AbortMultipartUploadInput>) -> Result<AbortMultipartUploadOutput> {
    let input = request.input;
    let finish = &Finish { visit, bucket: &input.bucket, key: &input.key, id: &input.upload_id };
    let change = async |tx: Tx| {
        visit.bucket_in(&tx, finish.bucket).await?;
        tx.get::<Upload>(&finish.record()).await?.ok_or_else(no_such_upload)?;
        let parts = finish.parts(&tx).await?;
        finish.remove(&tx, parts.keys().copied());
        Ok::<_, crate::Error>(forget_all(&tx, parts.values()))
    };
    let freed = visit.objects().store().transact(change).await?;
    visit.objects().release(freed);
    Ok(AbortMultipartUploadOutput::default())
}
