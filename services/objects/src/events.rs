//! What the room emits, in the transaction of the change: S3's event notifications, one event a matching configuration,
//! and what EventBridge is told where a bucket wants that.

use crate::error::{Error, Result, invalid_argument, not_implemented};
use crate::model::{Bucket, Object, url_encoded};
use base::{Arn, Event, Source, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::Tx;

/// A configuration that sends events of a bucket to a function, a queue or a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    pub id: String,
    #[serde(alias = "function")]
    pub target: Arn,
    /// As given: `s3:ObjectCreated:*`, `s3:ObjectRemoved:Delete`, …
    pub events: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suffix: String,
}

/// What happens to an object, as far as anybody can ask to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Put,
    Copy,
    Completed,
    Deleted,
    Tagged,
    Untagged,
}

impl Kind {
    /// The `eventName`; configurations put `s3:` before it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Put => "ObjectCreated:Put",
            Kind::Copy => "ObjectCreated:Copy",
            Kind::Completed => "ObjectCreated:CompleteMultipartUpload",
            Kind::Deleted => "ObjectRemoved:Delete",
            Kind::Tagged => "ObjectTagging:Put",
            Kind::Untagged => "ObjectTagging:Delete",
        }
    }
}

/// Events a configuration may name, emitted or (`ObjectCreated:Post`, delete markers) never happening here yet.
const KNOWN: [&str; 11] = [
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:ObjectTagging:*",
    "s3:ObjectTagging:Put",
    "s3:ObjectTagging:Delete",
];

/// Events of parts of S3 that Wadi lacks.
const LACKING: [&str; 6] = [
    "s3:ReducedRedundancyLostObject",
    "s3:ObjectRestore:",
    "s3:Replication:",
    "s3:LifecycleExpiration:",
    "s3:LifecycleTransition",
    "s3:IntelligentTiering",
];

/// Refuses an event name that S3 does not know, or whose cause Wadi lacks.
pub fn check_event(name: &str) -> Result<()> {
    if KNOWN.contains(&name) {
        return Ok(());
    }
    if LACKING.iter().any(|l| name.starts_with(l)) || name == "s3:ObjectAcl:Put" {
        return Err(not_implemented(format_args!("the S3 event {name}")));
    }
    Err(invalid_argument("The event is not supported for notifications"))
}

fn covers(configured: &str, event: &str) -> bool {
    let configured = configured.strip_prefix("s3:").unwrap_or(configured);
    match configured.strip_suffix('*') {
        Some(start) => event.starts_with(start),
        None => configured == event,
    }
}

impl Notification {
    pub fn wants(&self, kind: Kind, key: &str) -> bool {
        key.starts_with(&self.prefix)
            && key.ends_with(&self.suffix)
            && self.events.iter().any(|configured| covers(configured, kind.name()))
    }

    /// Could one change of one key match both?
    fn overlaps(&self, other: &Self) -> bool {
        let share = |a: &str, b: &str| {
            let (a, b) = (a.trim_start_matches("s3:"), b.trim_start_matches("s3:"));
            covers(a, b) || covers(b, a)
        };
        let prefixes = self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix);
        let suffixes = self.suffix.ends_with(&other.suffix) || other.suffix.ends_with(&self.suffix);
        prefixes && suffixes && self.events.iter().any(|a| other.events.iter().any(|b| share(a, b)))
    }
}

/// Refuses configurations of which two could match the same change, as S3 does.
pub fn check_overlaps(all: &[Notification]) -> Result<()> {
    for (i, one) in all.iter().enumerate() {
        if all[..i].iter().any(|other| one.overlaps(other)) {
            return Err(invalid_argument(
                "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes \
                 are overlapping for the same event type.",
            ));
        }
        if all[..i].iter().any(|other| one.id == other.id) {
            return Err(invalid_argument("Same ID used for multiple configurations. IDs must be unique."));
        }
    }
    Ok(())
}

/// The request behind a change, as an event tells of it.
pub struct Cause<'a> {
    pub request_id: &'a str,
    pub source_ip: std::net::IpAddr,
    /// The ARN of who asked.
    pub principal: &'a str,
    pub at: Timestamp,
    /// The trace header, if it says which functions asked.
    pub trace: Option<&'a str>,
}

/// A change of an object that configurations may want to hear of.
pub struct Change<'a> {
    pub kind: Kind,
    pub key: &'a str,
    /// The object as it is now; `None` if it has been deleted.
    pub object: Option<&'a Object>,
    pub sequencer: u64,
}

/// What an event says of who sends it: the principal a function's resource policy names.
pub fn source(bucket: &Bucket) -> Source {
    Source { service: Some("s3.amazonaws.com".into()), arn: Some(bucket.arn()), account: bucket.account.clone() }
}

/// Puts one event a matching configuration into the transaction's outbox.
pub fn emit(tx: &Tx, bucket: &Bucket, change: &Change<'_>, cause: &Cause<'_>, id: impl Fn() -> String) -> Result<()> {
    for notification in bucket.notifications.iter().filter(|n| n.wants(change.kind, change.key)) {
        let message = payload(bucket, notification, change, cause);
        tx.emit(&event(bucket, notification.target.clone(), &message, cause, id())?)?;
    }
    if bucket.event_bridge {
        tx.emit(&told(bucket, change, cause, id())?)?;
    }
    Ok(())
}

/// The test message that a queue or topic gets when it is configured.
pub fn test(bucket: &Bucket, to: &Arn, cause: &Cause<'_>, id: String) -> Result<Event> {
    let message = json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": cause.at.iso8601(),
        "Bucket": bucket.name,
        "RequestId": cause.request_id,
        "HostId": cause.request_id,
    });
    event(bucket, to.clone(), &message, cause, id)
}

fn event(bucket: &Bucket, target: Arn, message: &serde_json::Value, cause: &Cause<'_>, id: String) -> Result<Event> {
    let payload = serde_json::value::to_raw_value(message)
        .map_err(|e| Error::Internal(format!("an event could not be written: {e}")))?;
    // A function reads the one, a queue the other.
    let traces = ["trace_id", "AWSTraceHeader"].map(|name| Some((name.to_owned(), cause.trace?.into())));
    let mut attributes: serde_json::Map<_, _> = traces.into_iter().flatten().collect();
    if target.service == "sns" {
        attributes.insert("Subject".into(), "Amazon S3 Notification".into());
    }
    let terms = base::Terms::default();
    Ok(Event { id, target, source: source(bucket), created: cause.at, payload, attributes, terms })
}

/// The event for the default bus of the bucket's account ("EventBridge event message structure").
fn told(bucket: &Bucket, change: &Change<'_>, cause: &Cause<'_>, id: String) -> Result<Event> {
    let (detail_type, reason) = match change.kind {
        Kind::Put => ("Object Created", Some("PutObject")),
        Kind::Copy => ("Object Created", Some("CopyObject")),
        Kind::Completed => ("Object Created", Some("CompleteMultipartUpload")),
        Kind::Deleted => ("Object Deleted", Some("DeleteObject")),
        Kind::Tagged => ("Object Tags Added", None),
        Kind::Untagged => ("Object Tags Deleted", None),
    };
    let mut object = json!({"key": change.key, "sequencer": format!("{:018X}", change.sequencer)});
    if let Some(now) = change.object {
        object["etag"] = json!(now.etag);
        if reason.is_some() {
            object["size"] = json!(now.size);
        }
    }
    let mut detail = json!({
        "version": "0",
        "bucket": {"name": bucket.name},
        "object": object,
        "request-id": cause.request_id,
        "requester": bucket.account,
        "source-ip-address": cause.source_ip.to_string(),
    });
    if let Some(reason) = reason {
        detail["reason"] = json!(reason);
    }
    if change.kind == Kind::Deleted {
        detail["deletion-type"] = json!("Permanently Deleted");
    }
    let time = cause.at.iso8601();
    let message = json!({
        "version": "0",
        "id": id,
        "detail-type": detail_type,
        "source": "aws.s3",
        "account": bucket.account,
        "time": format!("{}Z", time.split('.').next().unwrap_or(&time)),
        "region": bucket.region,
        "resources": [bucket.arn().to_string()],
        "detail": detail,
    });
    let bus = Arn::new("events", &bucket.region, &bucket.account, "event-bus/default");
    event(bucket, bus, &message, cause, id)
}

/// The message of S3's documentation ("Event message structure"), version 2.1.
fn payload(bucket: &Bucket, to: &Notification, change: &Change<'_>, cause: &Cause<'_>) -> serde_json::Value {
    let mut object = json!({
        "key": url_encoded(change.key),
        "sequencer": format!("{:018X}", change.sequencer),
    });
    if let Some(now) = change.object {
        object["size"] = json!(now.size);
        object["eTag"] = json!(now.etag);
    }
    let who = cause.principal.rsplit([':', '/']).next().unwrap_or_default();
    json!({"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": bucket.region,
        "eventTime": cause.at.iso8601(),
        "eventName": change.kind.name(),
        "userIdentity": {"principalId": format!("AWS:{who}")},
        "requestParameters": {"sourceIPAddress": cause.source_ip.to_string()},
        "responseElements": {"x-amz-request-id": cause.request_id, "x-amz-id-2": cause.request_id},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": to.id,
            "bucket": {
                "name": bucket.name,
                "ownerIdentity": {"principalId": bucket.account},
                "arn": bucket.arn().to_string(),
            },
            "object": object,
        },
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(id: &str, events: &[&str], prefix: &str, suffix: &str) -> Notification {
        Notification {
            id: id.into(),
            target: Arn::new("lambda", "us-east-1", "000000000000", "function:f"),
            events: events.iter().map(|&e| e.to_owned()).collect(),
            prefix: prefix.into(),
            suffix: suffix.into(),
        }
    }

    #[test]
    fn filters() {
        let n = configured("a", &["s3:ObjectCreated:*"], "in/", ".jpg");
        assert!(n.wants(Kind::Put, "in/x.jpg") && n.wants(Kind::Completed, "in/.jpg"));
        assert!(
            !n.wants(Kind::Put, "out/x.jpg") && !n.wants(Kind::Put, "in/x.png") && !n.wants(Kind::Deleted, "in/x.jpg")
        );
    }

    #[test]
    fn overlaps() {
        let base = configured("a", &["s3:ObjectCreated:*"], "in/", ".jpg");
        let check = |other| check_overlaps(&[base.clone(), other]).is_ok();
        assert!(check(configured("b", &["s3:ObjectCreated:Put"], "out/", ".jpg")));
        assert!(check(configured("b", &["s3:ObjectCreated:Put"], "in/", ".png")));
        assert!(check(configured("b", &["s3:ObjectRemoved:*"], "in/", ".jpg")));
        assert!(!check(configured("b", &["s3:ObjectCreated:Put"], "in/sub", ".jpg")));
        assert!(!check(configured("b", &["s3:ObjectCreated:Put"], "", "")));
        assert!(!check(configured("a", &["s3:ObjectRemoved:*"], "x", "")));
    }

    #[test]
    fn names() {
        assert!(check_event("s3:ObjectCreated:Put").is_ok());
        assert!(check_event("s3:Replication:*").is_err_and(|e| e.to_string().contains("s3:Replication:*")));
        assert!(check_event("ObjectCreated:Put").is_err());
    }
}
