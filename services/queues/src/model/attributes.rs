//! The attributes of a queue: read from texts, checked, and written as texts.

use super::redrive::{RedriveAllow, RedrivePolicy};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Bytes of a message with its attributes.
pub const MESSAGE_BYTES_MAX: u32 = 1 << 20;
pub const VISIBILITY_S_MAX: u32 = 43_200;
pub const DELAY_S_MAX: u32 = 900;
pub const WAIT_S_MAX: u32 = 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    pub fifo: bool,
    pub visibility_s: u32,
    pub message_bytes_max: u32,
    pub retention_s: u32,
    pub delay_s: u32,
    pub wait_s: u32,
    pub redrive: Option<RedrivePolicy>,
    pub redrive_allow: Option<RedriveAllow>,
    pub content_dedup: bool,
    /// Message ids are compared within their group alone.
    pub dedup_per_group: bool,
    pub throughput_per_group: bool,
    pub managed_encryption: bool,
}

impl Attributes {
    pub fn new(fifo: bool) -> Self {
        Self {
            fifo,
            visibility_s: 30,
            message_bytes_max: MESSAGE_BYTES_MAX,
            retention_s: 345_600,
            delay_s: 0,
            wait_s: 0,
            redrive: None,
            redrive_allow: None,
            content_dedup: false,
            dedup_per_group: false,
            throughput_per_group: false,
            managed_encryption: true,
        }
    }
}

/// Attributes that can be asked for, but not set.
const READ_ONLY: [&str; 6] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];
const SETTABLE: [&str; 15] = [
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];

/// Is this an attribute's name?
pub fn is_known(name: &str) -> bool {
    READ_ONLY.contains(&name) || SETTABLE.contains(&name)
}

fn bad_value(name: &str) -> Error {
    Error::AttributeValue(format!("Invalid value for the parameter {name}."))
}

fn number(name: &str, text: &str, min: u32, max: u32) -> Result<u32> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|n| plain && (min..=max).contains(n));
    number.ok_or_else(|| bad_value(name))
}

fn boolean(name: &str, text: &str) -> Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(bad_value(name)),
    }
}

fn one_of(name: &str, text: &str, on: &str, off: &str) -> Result<bool> {
    match text {
        t if t == on => Ok(true),
        t if t == off => Ok(false),
        _ => Err(bad_value(name)),
    }
}

/// Encryption with a key of KMS, which Wadi lacks.
fn refuse_kms(name: &str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    Err(Error::AttributeValue(format!("Wadi does not have {name} yet: it has no KMS. Remove it from the request.")))
}

/// What a request to set attributes says beyond [`Attributes`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Others {
    /// `Some(None)` takes the policy away.
    pub policy: Option<Option<Value>>,
}

impl Attributes {
    /// Sets attributes from a request. `creating`: FifoQueue may be said.
    pub fn set(&mut self, given: &BTreeMap<String, String>, creating: bool) -> Result<Others> {
        let mut others = Others::default();
        for (name, text) in given {
            self.set_one(name, text, creating, &mut others)?;
        }
        if self.throughput_per_group && !self.dedup_per_group {
            return Err(Error::AttributeValue(
                "Invalid value for the parameter FifoThroughputLimit. Reason: perMessageGroupId can be set only when \
                 DeduplicationScope is messageGroup."
                    .into(),
            ));
        }
        Ok(others)
    }

    fn set_one(&mut self, name: &str, text: &str, creating: bool, others: &mut Others) -> Result<()> {
        let fifo_only = || if self.fifo { Ok(()) } else { Err(Error::AttributeName(name.to_owned())) };
        match name {
            "VisibilityTimeout" => self.visibility_s = number(name, text, 0, VISIBILITY_S_MAX)?,
            "MaximumMessageSize" => self.message_bytes_max = number(name, text, 1024, MESSAGE_BYTES_MAX)?,
            "MessageRetentionPeriod" => self.retention_s = number(name, text, 60, 1_209_600)?,
            "DelaySeconds" => self.delay_s = number(name, text, 0, DELAY_S_MAX)?,
            "ReceiveMessageWaitTimeSeconds" => self.wait_s = number(name, text, 0, WAIT_S_MAX)?,
            "RedrivePolicy" => self.redrive = RedrivePolicy::parse(text)?,
            "RedriveAllowPolicy" => self.redrive_allow = RedriveAllow::parse(text)?,
            "Policy" => others.policy = Some(super::policy::parse(text)?),
            "SqsManagedSseEnabled" => self.managed_encryption = boolean(name, text)?,
            "KmsMasterKeyId" => refuse_kms(name, text)?,
            "KmsDataKeyReusePeriodSeconds" => drop(number(name, text, 60, 86_400)?),
            "FifoQueue" if creating && boolean(name, text)? == self.fifo => {}
            "FifoQueue" => return Err(bad_value(name)),
            "ContentBasedDeduplication" => {
                fifo_only()?;
                self.content_dedup = boolean(name, text)?;
            }
            "DeduplicationScope" => {
                fifo_only()?;
                self.dedup_per_group = one_of(name, text, "messageGroup", "queue")?;
            }
            "FifoThroughputLimit" => {
                fifo_only()?;
                self.throughput_per_group = one_of(name, text, "perMessageGroupId", "perQueue")?;
            }
            _ => return Err(Error::AttributeName(name.to_owned())),
        }
        Ok(())
    }

    /// What can be set, as texts. What is not there has its default.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let flag = |b: bool, on: &str, off: &str| if b { on.to_owned() } else { off.to_owned() };
        let mut all = vec![
            ("VisibilityTimeout", self.visibility_s.to_string()),
            ("MaximumMessageSize", self.message_bytes_max.to_string()),
            ("MessageRetentionPeriod", self.retention_s.to_string()),
            ("DelaySeconds", self.delay_s.to_string()),
            ("ReceiveMessageWaitTimeSeconds", self.wait_s.to_string()),
            ("SqsManagedSseEnabled", self.managed_encryption.to_string()),
        ];
        all.extend(self.redrive.as_ref().map(|r| ("RedrivePolicy", r.text())));
        all.extend(self.redrive_allow.as_ref().map(|r| ("RedriveAllowPolicy", r.text())));
        if self.fifo {
            all.push(("FifoQueue", "true".into()));
            all.push(("ContentBasedDeduplication", self.content_dedup.to_string()));
            all.push(("DeduplicationScope", flag(self.dedup_per_group, "messageGroup", "queue")));
            all.push(("FifoThroughputLimit", flag(self.throughput_per_group, "perMessageGroupId", "perQueue")));
        }
        all.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(fifo: bool, name: &str, text: &str) -> Result<Attributes> {
        let mut attributes = Attributes::new(fifo);
        attributes.set(&BTreeMap::from([(name.to_owned(), text.to_owned())]), true)?;
        Ok(attributes)
    }

    #[test]
    fn bounds() {
        for (name, good, bad) in [
            ("VisibilityTimeout", ["0", "43200"], ["-1", "43201"]),
            ("MaximumMessageSize", ["1024", "1048576"], ["1023", "1048577"]),
            ("MessageRetentionPeriod", ["60", "1209600"], ["59", "1209601"]),
            ("DelaySeconds", ["0", "900"], ["901", "x"]),
            ("ReceiveMessageWaitTimeSeconds", ["0", "20"], ["21", ""]),
            ("SqsManagedSseEnabled", ["true", "false"], ["yes", ""]),
        ] {
            good.iter().for_each(|text| assert_eq!(set(false, name, text).expect("valid").texts()[name], *text));
            for text in bad {
                let error = set(false, name, text).expect_err(name);
                assert_eq!(error.to_string(), format!("Invalid value for the parameter {name}."));
            }
        }
    }

    #[test]
    fn fifo_alone() {
        for name in ["ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"] {
            assert!(matches!(set(false, name, "true"), Err(Error::AttributeName(_))), "{name}");
        }
        assert!(matches!(set(true, "FifoThroughputLimit", "perMessageGroupId"), Err(Error::AttributeValue(_))));
        assert!(set(true, "DeduplicationScope", "messageGroup").expect("valid").dedup_per_group);
        assert!(set(true, "FifoQueue", "false").is_err() && set(false, "FifoQueue", "true").is_err());
    }

    #[test]
    fn what_cannot_be_set() {
        for name in ["QueueArn", "Nothing", "All"] {
            assert!(matches!(set(false, name, "1"), Err(Error::AttributeName(_))), "{name}");
        }
        assert!(set(false, "KmsMasterKeyId", "alias/x").expect_err("lacking").to_string().contains("KmsMasterKeyId"));
    }
}
