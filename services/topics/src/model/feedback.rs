//! Delivery status: of which deliveries a topic tells, and how it tells ("Amazon SNS message delivery status").

use super::message::Message;
use super::name::Named;
use crate::error::{Error, Result};
use crate::store::Topic;
use base::{Arn, Fate};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Protocols whose deliveries may be told of, and those of them that there are not here.
const PROTOCOLS: [&str; 3] = ["HTTP", "Lambda", "SQS"];
const LACKING: [&str; 2] = ["Application", "Firehose"];
const SUCCESS: &str = "SuccessFeedbackRoleArn";
const FAILURE: &str = "FailureFeedbackRoleArn";
const RATE: &str = "SuccessFeedbackSampleRate";
const RESPONSE_CHARS_MAX: usize = 1_000;

/// `<protocol>SuccessFeedbackRoleArn`, `<protocol>FailureFeedbackRoleArn`, `<protocol>SuccessFeedbackSampleRate`
pub fn is_attribute(name: &str) -> bool {
    let rest = PROTOCOLS.iter().chain(&LACKING).find_map(|protocol| name.strip_prefix(protocol));
    rest.is_some_and(|rest| [SUCCESS, FAILURE, RATE].contains(&rest))
}

pub fn check(name: &str, text: &str, wrong: impl Fn(&str) -> Error) -> Result<()> {
    if !text.is_empty() && LACKING.iter().any(|protocol| name.starts_with(protocol)) {
        return Err(Error::lacking(format!("{name}: there are no such subscribers here, which")));
    }
    let is_role =
        |text: &str| text.parse::<Arn>().is_ok_and(|arn| arn.service == "iam" && arn.resource.starts_with("role/"));
    let fine = match name.ends_with(RATE) {
        true => text.parse::<u8>().is_ok_and(|rate| rate <= 100),
        false => is_role(text),
    };
    if text.is_empty() || fine { Ok(()) } else { Err(wrong("is not the ARN of a role, or a rate from 0 to 100")) }
}

/// Of which deliveries a topic tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How many of a hundred that succeeded.
    pub successes: u8,
    pub failures: bool,
}

/// For subscribers of a protocol, as subscriptions name it.
pub fn wanted(topic: &Topic, protocol: &str) -> Wanted {
    let of = match protocol {
        "sqs" => "SQS",
        "lambda" => "Lambda",
        _ => "HTTP",
    };
    let attribute = |kind: &str| topic.attributes.get(&format!("{of}{kind}"));
    let rate = || attribute(RATE).and_then(|text| text.parse().ok()).unwrap_or(100);
    Wanted { successes: attribute(SUCCESS).map_or(0, |_| rate()), failures: attribute(FAILURE).is_some() }
}

/// What an entry says of the message and its subscriber, whatever becomes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub notification: Value,
    pub protocol: String,
    pub destination: String,
    /// When it was accepted, in milliseconds.
    pub published: u64,
    /// Is it to be told when it succeeds?
    pub sampled: bool,
}

impl About {
    pub fn of(named: &Named, message: &Message, protocol: &str, destination: &str) -> Self {
        let at = message.at.iso8601();
        let notification = json!({
            "messageMD5Sum": hex::encode(Md5::digest(message.for_protocol(protocol))),
            "messageId": message.id,
            "topicArn": named.arn().to_string(),
            "timestamp": at.replace('T', " ").trim_end_matches('Z'),
        });
        let (protocol, destination) = (protocol.to_owned(), destination.to_owned());
        Self { notification, protocol, destination, published: message.at.0, sampled: false }
    }

    /// The entry in the log group.
    pub fn entry(&self, fate: &Fate, answer: &Answer) -> Value {
        let response: String = answer.response.chars().take(RESPONSE_CHARS_MAX).collect();
        let mut delivery = json!({
            "deliveryId": fate.event,
            "destination": self.destination,
            "providerResponse": response,
            "dwellTimeMs": fate.tried.0.saturating_sub(self.published),
            "attempts": fate.attempts,
        });
        if let Some(status) = answer.status {
            delivery["statusCode"] = status.into();
        }
        let status = if fate.failure.is_some() { "FAILURE" } else { "SUCCESS" };
        json!({"notification": self.notification, "delivery": delivery, "status": status})
    }

    /// What queues and functions answer on AWS where they take or refuse a message, and endpoints that refused it.
    pub fn answer(&self, fate: &Fate) -> Answer {
        let request = if self.protocol == "sqs" { "sqsRequestId" } else { "lambdaRequestId" };
        let Some(reason) = &fate.failure else {
            let status = if self.protocol == "sqs" { 200 } else { 202 };
            return Answer { status: Some(status), response: json!({request: fate.event}).to_string() };
        };
        let (status, code) = match self.protocol.as_str() {
            "sqs" if reason.contains("does not exist") => (400, "AWS.SimpleQueueService.NonExistentQueue"),
            "sqs" if reason.contains("not authorized") => (403, "AccessDenied"),
            "sqs" => (400, "InvalidParameterValue"),
            "lambda" if reason.contains("not found") => (404, "ResourceNotFoundException"),
            "lambda" if reason.contains("not authorized") => (403, "AccessDeniedException"),
            "lambda" => (500, "ServiceException"),
            _ => return Answer { status: status_in(reason), response: reason.clone() },
        };
        let response = json!({"ErrorCode": code, "ErrorMessage": reason, request: fate.event}).to_string();
        Answer { status: Some(status), response }
    }
}

/// What a subscriber answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `None` if it did not answer.
    pub status: Option<u16>,
    pub response: String,
}

const ANSWERED: &str = "the endpoint answered ";

/// Why a message has not come to an endpoint that answered.
pub fn answered(status: http::StatusCode) -> String {
    format!("{ANSWERED}{status}")
}

/// The status in such a reason.
fn status_in(reason: &str) -> Option<u16> {
    let (_, rest) = reason.rsplit_once(ANSWERED)?;
    rest.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Timestamp;

    fn about(protocol: &str) -> About {
        let scope = base::Scope::new(
            base::AccountId::parse("000000000000").expect("an account"),
            base::Region::parse("us-east-1").expect("a region"),
        );
        let named = Named { scope, name: "t".into() };
        let message =
            Message { id: "m".into(), at: Timestamp(1_795_449_064_123), body: "hello".into(), ..Message::default() };
        About::of(&named, &message, protocol, "there")
    }

    fn fate(failure: Option<&str>) -> Fate {
        let failure = failure.map(str::to_owned);
        Fate { event: "e".into(), attempts: 2, tried: Timestamp(1_795_449_064_173), failure }
    }

    #[test]
    fn an_entry_has_the_documented_shape() {
        let (about, fate) = (about("sqs"), fate(None));
        let expect = json!({
            "notification": {
                "messageMD5Sum": "5d41402abc4b2a76b9719d911017c592",
                "messageId": "m",
                "topicArn": "arn:aws:sns:us-east-1:000000000000:t",
                "timestamp": "2026-11-23 15:51:04.123",
            },
            "delivery": {
                "deliveryId": "e",
                "destination": "there",
                "providerResponse": "{\"sqsRequestId\":\"e\"}",
                "dwellTimeMs": 50,
                "attempts": 2,
                "statusCode": 200,
            },
            "status": "SUCCESS",
        });
        assert_eq!(about.entry(&fate, &about.answer(&fate)), expect);
    }

    #[test]
    fn failures_have_their_codes() {
        for (protocol, reason, status) in [
            ("sqs", "The specified queue does not exist: q", Some(400)),
            ("sqs", "sns.amazonaws.com is not authorized to perform: sqs:SendMessage", Some(403)),
            ("lambda", "Function not found: f", Some(404)),
            ("http", "tried 4 times; the last: the endpoint answered 503 Service Unavailable", Some(503)),
            ("https", "no answer within 15s", None),
        ] {
            let (about, fate) = (about(protocol), fate(Some(reason)));
            let answer = about.answer(&fate);
            assert_eq!(answer.status, status, "{protocol} {reason}");
            let entry = about.entry(&fate, &answer);
            assert_eq!(entry["status"], "FAILURE");
            assert!(entry["delivery"]["providerResponse"].as_str().is_some_and(|text| text.contains(reason)));
            assert_eq!(entry["delivery"].get("statusCode").is_some(), status.is_some());
        }
        assert_eq!(status_in(&answered(http::StatusCode::BAD_GATEWAY)), Some(502));
    }
}
