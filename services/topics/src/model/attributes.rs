//! Attributes of topics.

use super::{feedback, policy, retry, shown};
use crate::error::{Error, Result};
use crate::store::Topic;

/// Attributes that only say how a topic stands.
const READ_ONLY: [&str; 7] = [
    "TopicArn",
    "Owner",
    "SubscriptionsPending",
    "SubscriptionsConfirmed",
    "SubscriptionsDeleted",
    "EffectiveDeliveryPolicy",
    "BeginningArchiveTime",
];

/// Sets an attribute; `new` of a topic that is being created.
pub fn set(topic: &mut Topic, name: &str, text: &str, new: bool) -> Result<()> {
    let wrong = |reason: &str| match new {
        true => Error::parameter("Attributes", format!("{name}: {reason}")),
        false => Error::invalid(format!("{name}: {reason}")),
    };
    match name {
        "DisplayName" if text.chars().count() > 100 || text.contains(char::is_control) => {
            return Err(wrong("Must be at most 100 printable characters"));
        }
        "DisplayName" => {}
        "Policy" => {
            topic.policy = policy::parse(text)?;
            return Ok(());
        }
        "DeliveryPolicy" if text.is_empty() => {}
        "DeliveryPolicy" => drop(retry::of_topic(text).map_err(|why| wrong(&why))?),
        "FifoTopic" if new => {
            topic.fifo = flag(text).ok_or_else(|| wrong("must be true or false"))?;
            return Ok(());
        }
        "FifoTopic" => return Err(Error::invalid("AttributeName")),
        "ContentBasedDeduplication" if !topic.fifo => return Err(wrong("only for FIFO topics")),
        "ContentBasedDeduplication" => drop(flag(text).ok_or_else(|| wrong("must be true or false"))?),
        "FifoThroughputScope" if !topic.fifo => return Err(wrong("only for FIFO topics")),
        "FifoThroughputScope" if !matches!(text, "Topic" | "MessageGroup") => {
            return Err(wrong("must be Topic or MessageGroup"));
        }
        "FifoThroughputScope" => {}
        "SignatureVersion" if !matches!(text, "1" | "2") => {
            return Err(wrong("Invalid SignatureVersion: must be 1 or 2"));
        }
        "SignatureVersion" => {}
        "TracingConfig" if text == "PassThrough" => {}
        "TracingConfig" if text == "Active" => return Err(Error::lacking("TracingConfig Active")),
        "TracingConfig" => return Err(wrong("must be PassThrough or Active")),
        "KmsMasterKeyId" if text.is_empty() => {}
        "KmsMasterKeyId" => return Err(Error::lacking("KmsMasterKeyId: there is no KMS here, which")),
        "ArchivePolicy" if text.is_empty() || text == "{}" => {}
        "ArchivePolicy" => return Err(Error::lacking("ArchivePolicy, archives of FIFO topics,")),
        _ if feedback::is_attribute(name) => feedback::check(name, text, &wrong)?,
        _ if READ_ONLY.contains(&name) || !new => return Err(Error::invalid("AttributeName")),
        _ => return Err(Error::parameter("Attributes", format!("Unknown attribute {}", shown(name)))),
    }
    match text.is_empty() {
        true => topic.attributes.remove(name),
        false => topic.attributes.insert(name.to_owned(), text.to_owned()),
    };
    Ok(())
}

pub fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Timestamp;

    fn topic(fifo: bool) -> Topic {
        let (attributes, tags) = Default::default();
        Topic { id: "i".into(), created: Timestamp(1), fifo, attributes, policy: None, tags, deleted: 0 }
    }

    #[test]
    fn known_and_unknown() {
        for (fifo, name, text) in [
            (false, "DisplayName", "Shop"),
            (false, "SignatureVersion", "2"),
            (false, "TracingConfig", "PassThrough"),
            (false, "HTTPSuccessFeedbackSampleRate", "100"),
            (false, "SQSFailureFeedbackRoleArn", "arn:aws:iam::000000000000:role/x"),
            (false, "DeliveryPolicy", r#"{"http": {"defaultHealthyRetryPolicy": {"numRetries": 5}}}"#),
            (true, "ContentBasedDeduplication", "true"),
            (true, "FifoThroughputScope", "MessageGroup"),
        ] {
            let mut topic = topic(fifo);
            set(&mut topic, name, text, false).expect(name);
            assert!(topic.is(name, text), "{name}");
        }
        for (fifo, name, text, expect) in [
            (false, "DisplayName", "a\nb", "InvalidParameter"),
            (false, "SignatureVersion", "3", "InvalidParameter"),
            (false, "FifoTopic", "true", "InvalidParameter"),
            (false, "ContentBasedDeduplication", "true", "InvalidParameter"),
            (true, "ContentBasedDeduplication", "yes", "InvalidParameter"),
            (true, "FifoThroughputScope", "Queue", "InvalidParameter"),
            (false, "Owner", "x", "InvalidParameter"),
            (false, "Colour", "x", "InvalidParameter"),
            (false, "HTTPSuccessFeedbackSampleRate", "101", "InvalidParameter"),
            (false, "SQSSuccessFeedbackRoleArn", "arn:aws:s3:::role", "InvalidParameter"),
            (false, "DeliveryPolicy", "{\"https\": 1}", "InvalidParameter"),
        ] {
            assert_eq!(set(&mut topic(fifo), name, text, false).expect_err(name).code(), expect, "{name} {text}");
        }
        for (name, text) in [
            ("KmsMasterKeyId", "alias/x"),
            ("TracingConfig", "Active"),
            ("ArchivePolicy", "{\"a\": 1}"),
            ("FirehoseFailureFeedbackRoleArn", "arn:aws:iam::000000000000:role/x"),
            ("ApplicationSuccessFeedbackSampleRate", "5"),
        ] {
            let error = set(&mut topic(true), name, text, false).expect_err(name).to_string();
            assert!(error.starts_with("Wadi does not have") && error.contains(name), "{error}");
        }
    }
}
