//! GetObject and HeadObject: ranges, parts, conditions, overridden headers (those by `s3s` itself).

use super::{check_version, from_seconds, quoted, seconds, shown};
use crate::change::matches;
use crate::digest::{Sum, set_sum};
use crate::error::{Error, Result, invalid_request, no_such_key, precondition_failed, refused};
use crate::model::{Data, Object};
use crate::store::{PartList, Space};
use crate::vault::{ByteStream, Vault};
use crate::visit::Visit;
use futures::TryStreamExt;
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::S3Request;
use s3s::dto::{Range as Asked, *};
use std::ops::Range;

/// How often a record is read again when its bytes were replaced while they were being opened.
const TRIES_MAX: usize = 8;

/// What a read demands of the object (`If-*`).
pub struct Conditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
    pub if_modified_since: Option<Timestamp>,
    pub if_unmodified_since: Option<Timestamp>,
}

/// What the conditions come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Holds {
    Yes,
    /// The client's copy is current.
    Unchanged,
    No,
}

impl Conditions {
    /// RFC 9110 §13.2.2: a date counts only where there is no ETag.
    pub fn check(&self, object: &Object) -> Holds {
        let modified = (object.modified.millis() / 1000) as i64;
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(wanted), _) if !matches(wanted, &object.etag) => return Holds::No,
            (None, Some(since)) if modified > seconds(since) => return Holds::No,
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(unwanted), _) if matches(unwanted, &object.etag) => Holds::Unchanged,
            (None, Some(since)) if modified <= seconds(since) => Holds::Unchanged,
            _ => Holds::Yes,
        }
    }
}

macro_rules! conditions_in {
    ($input:expr) => {
        Conditions {
            if_match: $input.if_match.take(),
            if_none_match: $input.if_none_match.take(),
            if_modified_since: $input.if_modified_since.take(),
            if_unmodified_since: $input.if_unmodified_since.take(),
        }
    };
}

fn check(conditions: &Conditions, object: &Object) -> Result<()> {
    match conditions.check(object) {
        Holds::Yes => Ok(()),
        Holds::No => Err(precondition_failed()),
        Holds::Unchanged => {
            let mut headers = http::HeaderMap::new();
            let mut date = Vec::new();
            let written = shown(object.modified).format(TimestampFormat::HttpDate, &mut date);
            if let (Ok(()), Ok(date)) = (written, http::HeaderValue::from_bytes(&date)) {
                headers.insert(http::header::LAST_MODIFIED, date);
            }
            if let Ok(etag) = http::HeaderValue::try_from(format!("\"{}\"", object.etag)) {
                headers.insert(http::header::ETAG, etag);
            }
            Err(Error::NotModified(Box::new(headers)))
        }
    }
}

/// The bytes of an object that a request means.
struct Selection {
    range: Range<u64>,
    /// `Content-Range`, if it is not the whole.
    content_range: Option<String>,
    checksum: Option<Sum>,
    parts: Option<i32>,
}

async fn select(vault: &Vault, object: &Object, range: Option<&Asked>, part: Option<i32>) -> Result<Selection> {
    let within = |r: &Range<u64>| format!("bytes {}-{}/{}", r.start, r.end.saturating_sub(1), object.size);
    match (range, part) {
        (Some(_), Some(_)) => Err(invalid_request("Cannot specify both Range header and partNumber query parameter")),
        (None, None) => {
            Ok(Selection { range: 0..object.size, content_range: None, checksum: object.checksum.clone(), parts: None })
        }
        (Some(asked), None) => {
            let range = asked.check(object.size).ok().filter(|r| !r.is_empty());
            let range = range.ok_or_else(|| refused("InvalidRange", "The requested range is not satisfiable"))?;
            let content_range = Some(within(&range));
            Ok(Selection { range, content_range, checksum: None, parts: None })
        }
        (None, Some(number)) => {
            let (range, checksum, parts) = part_of(vault, object, number).await?;
            let content_range = (!range.is_empty()).then(|| within(&range));
            Ok(Selection { range, content_range, checksum, parts })
        }
    }
}

/// Where part `number` of an object lies. An object that was put whole has one.
async fn part_of(vault: &Vault, object: &Object, number: i32) -> Result<(Range<u64>, Option<Sum>, Option<i32>)> {
    let none = || refused("InvalidPartNumber", "The requested partnumber is not satisfiable");
    let Data::Parts { id, count } = &object.data else {
        return if number == 1 { Ok((0..object.size, object.checksum.clone(), None)) } else { Err(none()) };
    };
    let index = usize::try_from(number - 1).map_err(|_| none())?;
    let PartList(parts) = vault.store.get(&Space::List(id).key()).await?.ok_or(Error::Vanished)?;
    let part = parts.get(index).ok_or_else(none)?;
    let start = parts[..index].iter().map(|p| p.size).sum();
    Ok((start..start + part.size, part.checksum.clone(), Some(*count as i32)))
}

/// Reads the record, then opens its bytes; again if they were replaced in between.
async fn open(
    visit: &Visit,
    (bucket, key): (&str, &str),
    conditions: &Conditions,
    (range, part): (Option<&Asked>, Option<i32>),
    with_bytes: bool,
) -> Result<(Object, Selection, Option<ByteStream>)> {
    let vault = &visit.objects().vault;
    visit.bucket(bucket).await?;
    for _ in 0..TRIES_MAX {
        let object: Option<Object> = vault.store.get(&Space::Object { bucket, key }.key()).await?;
        let object = object.ok_or_else(no_such_key)?;
        check(conditions, &object)?;
        let selection = match select(vault, &object, range, part).await {
            Err(Error::Vanished) => continue,
            other => other?,
        };
        if !with_bytes {
            return Ok((object, selection, None));
        }
        match vault.open(&object.data, selection.range.clone()).await {
            Err(Error::Vanished) => continue,
            bytes => return Ok((object, selection, Some(bytes?))),
        }
    }
    Err(Error::Vanished)
}

/// Fills what the outputs of GetObject and HeadObject share.
macro_rules! describe {
    ($out:expr, $object:expr, $selection:expr, $with_sum:expr) => {{
        let (object, selection) = ($object, $selection);
        let headers = object.attributes.headers;
        $out.accept_ranges = Some("bytes".into());
        $out.cache_control = headers.cache_control;
        $out.content_disposition = headers.content_disposition;
        $out.content_encoding = headers.content_encoding;
        $out.content_language = headers.content_language;
        $out.content_type = Some(headers.content_type.unwrap_or_else(|| "binary/octet-stream".into()));
        $out.content_length = Some((selection.range.end - selection.range.start) as i64);
        $out.content_range = selection.content_range;
        $out.e_tag = quoted(&object.etag);
        $out.expires = headers.expires.and_then(from_seconds);
        $out.last_modified = Some(shown(object.modified));
        $out.metadata =
            (!object.attributes.metadata.is_empty()).then(|| object.attributes.metadata.into_iter().collect());
        $out.parts_count = selection.parts;
        if $with_sum && let Some(sum) = selection.checksum {
            set_sum!($out, Some(&sum));
            $out.checksum_type = Some(ChecksumType::from_static(sum.kind.name()));
        }
    }};
}

pub async fn get_object(visit: &Visit, request: S3Request<GetObjectInput>) -> Result<GetObjectOutput> {
    let mut input = request.input;
    check_version(input.version_id.as_deref())?;
    let conditions = conditions_in!(input);
    let what = (input.range.as_ref(), input.part_number);
    let (object, selection, bytes) = open(visit, (&input.bucket, &input.key), &conditions, what, true).await?;
    let mut output = GetObjectOutput::default();
    let tags = object.attributes.tags.len();
    output.tag_count = (tags > 0).then_some(tags as i32);
    output.body = bytes.map(body);
    let with_sum = input.checksum_mode.as_ref().is_some_and(|m| m.as_str() == "ENABLED");
    describe!(output, object, selection, with_sum);
    Ok(output)
}

pub async fn head_object(visit: &Visit, request: S3Request<HeadObjectInput>) -> Result<HeadObjectOutput> {
    let mut input = request.input;
    check_version(input.version_id.as_deref())?;
    let conditions = conditions_in!(input);
    let what = (input.range.as_ref(), input.part_number);
    let (object, selection, _) = open(visit, (&input.bucket, &input.key), &conditions, what, false).await?;
    let mut output = HeadObjectOutput::default();
    let with_sum = input.checksum_mode.as_ref().is_some_and(|m| m.as_str() == "ENABLED");
    describe!(output, object, selection, with_sum);
    Ok(output)
}

fn body(bytes: ByteStream) -> StreamingBlob {
    let frames = bytes.map_ok(Frame::data).map_err(|e| Box::new(e) as s3s::StdError);
    StreamingBlob::from(s3s::Body::http_body_unsync(StreamBody::new(frames)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Attributes;

    #[test]
    fn an_etag_counts_before_a_date() {
        let object = Object {
            size: 1,
            etag: "abc".into(),
            modified: base::Timestamp(1_000_900),
            sequencer: 0,
            data: Data::Empty,
            attributes: Attributes::default(),
            checksum: None,
            upload: None,
        };
        let tag = |t: &str| Some(ETagCondition::ETag(ETag::Strong(t.into())));
        let at = |s: i64| from_seconds(s);
        let check = |if_match, if_none_match, if_modified_since, if_unmodified_since| {
            Conditions { if_match, if_none_match, if_modified_since, if_unmodified_since }.check(&object)
        };
        assert_eq!(check(None, None, None, None), Holds::Yes);
        assert_eq!(check(tag("abc"), None, None, at(1)), Holds::Yes);
        assert_eq!(check(tag("x"), None, None, None), Holds::No);
        assert_eq!(check(None, None, None, at(999)), Holds::No);
        assert_eq!(check(None, None, None, at(1000)), Holds::Yes);
        assert_eq!(check(None, tag("abc"), at(1), None), Holds::Unchanged);
        assert_eq!(check(None, tag("x"), at(5000), None), Holds::Yes);
        assert_eq!(check(None, None, at(1000), None), Holds::Unchanged);
        assert_eq!(check(None, None, at(999), None), Holds::Yes);
    }
}
