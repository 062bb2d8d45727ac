//! Buckets as targets: what is sent to a bucket's ARN becomes the object that its attribute `Key` names.

use crate::Objects;
use crate::api::put::{Target as Place, commit};
use crate::change::Demand;
use crate::digest::Algorithm;
use crate::error::{Error, Result};
use crate::events::Kind;
use crate::model::{Attributes, Headers, Object};
use crate::visit::{Facts, Visit};
use async_trait::async_trait;
use base::port::{Denied, Target};
use base::{AccountId, Arn, Caller, Event, Region, Scope, Source, Timestamp, Verdict};
use bytes::Bytes;
use futures::{StreamExt, stream};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// The attribute with the object's key.
const KEY: &str = "Key";
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Takes events for buckets.
pub struct Inbox(pub Arc<Objects>);

#[async_trait]
impl Target for Inbox {
    async fn accepts(&self, target: &Arn, from: &Source) -> std::result::Result<(), Denied> {
        let visit = self.visit(from, "-", None).ok_or_else(|| Denied(format!("{} is no account", from.account)))?;
        visit.bucket(&target.resource).await.map(drop).map_err(|why| Denied(format!("{target}: {why}")))
    }

    async fn deliver(&self, event: &Event, _: u32) -> Verdict {
        let key = event.attributes.get(KEY).and_then(|key| key.as_str());
        let trace = event.attributes.get("trace_id").and_then(|trace| trace.as_str());
        let (Some(visit), Some(key)) = (self.visit(&event.source, &event.id, trace), key) else {
            return Verdict::Dead { reason: "what came does not say which object it is".into() };
        };
        match put(&visit, &event.target.resource, key, event.payload.get()).await {
            Ok(()) => Verdict::Done,
            Err(Error::Store(cause)) => Verdict::Retry { after: RETRY_AFTER, reason: cause.to_string() },
            Err(why) => Verdict::Dead { reason: why.to_string() },
        }
    }
}

impl Inbox {
    /// A visit by who sends.
    fn visit(&self, from: &Source, request_id: &str, trace: Option<&str>) -> Option<Visit> {
        let arn = from.arn.as_ref();
        let region = arn.and_then(|arn| Region::parse(&arn.region)).or_else(|| Region::parse("us-east-1"))?;
        let caller = Caller {
            scope: Scope::new(AccountId::parse(&from.account)?, region.clone()),
            access_key: String::new(),
            principal: arn.map(Arn::to_string).unwrap_or_default(),
        };
        let facts = Facts {
            request_id: request_id.to_owned(),
            source_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            token: None,
            region,
            expected_owner: None,
            trace: trace.map(str::to_owned),
        };
        Some(Visit::by(self.0.clone(), facts, caller))
    }
}

async fn put(visit: &Visit, bucket: &str, key: &str, text: &str) -> Result<()> {
    visit.bucket(bucket).await?;
    let body = stream::iter([Ok(Bytes::copy_from_slice(text.as_bytes()))]).boxed();
    let algorithm = Algorithm::Crc64Nvme;
    let stored = visit.objects().vault.write(body, text.len() as u64, &[algorithm], &visit.fresh()).await?;
    let headers = Headers { content_type: Some("application/json".into()), ..Headers::default() };
    let object = Object {
        size: stored.size,
        etag: stored.md5(),
        modified: Timestamp::default(),
        sequencer: 0,
        data: stored.data.clone(),
        attributes: Attributes { headers, ..Attributes::default() },
        checksum: stored.digest.sum(algorithm).cloned(),
        upload: None,
    };
    let place = Place { bucket, key, demand: &Demand::default(), kind: Kind::Put };
    commit(visit, place, &stored, object).await.map(drop)
}
