//! Subscriptions: where they may go, and their attributes.

use super::attributes::flag;
use super::filter::{self, ATTRIBUTES, BODY, Filter};
use super::name::Named;
use super::{retry, shown};
use crate::error::{Error, Result};
use crate::store::Subscription;
use base::Arn;

const ENDPOINT_BYTES_MAX: usize = 2048;
/// Protocols that SNS has and Wadi lacks.
const LACKING: [&str; 5] = ["email", "email-json", "sms", "application", "firehose"];

/// Checks where a subscription is to go. `new` is its whole text in errors: "Subscribe" says more of a parameter.
pub fn check_endpoint(topic: &Named, protocol: &str, endpoint: &str) -> Result<()> {
    if LACKING.contains(&protocol) {
        return Err(Error::lacking(format!("subscriptions with the protocol {protocol}")));
    }
    if endpoint.len() > ENDPOINT_BYTES_MAX {
        return Err(Error::invalid("Endpoint"));
    }
    match protocol {
        "sqs" => {
            let arn = arn_of(endpoint, "sqs").ok_or_else(|| Error::invalid("SQS endpoint ARN"))?;
            if arn.resource.ends_with(".fifo") && !topic.is_fifo() {
                let reason = "FIFO SQS Queues can not be subscribed to standard SNS topics";
                return Err(Error::Invalid(format!("Invalid parameter: Endpoint Reason: {reason}")));
            }
            Ok(())
        }
        _ if topic.is_fifo() && matches!(protocol, "lambda" | "http" | "https") => {
            let reason = format!("FIFO topics can not deliver to the protocol {protocol}: please use an SQS queue");
            Err(Error::Invalid(format!("Invalid parameter: Endpoint Reason: {reason}")))
        }
        "lambda" => match arn_of(endpoint, "lambda").filter(|arn| arn.resource.starts_with("function:")) {
            Some(_) => Ok(()),
            None => Err(Error::invalid("Lambda endpoint ARN")),
        },
        "http" | "https" => check_url(protocol, endpoint),
        other => Err(Error::Invalid(format!("Amazon SNS does not support this protocol string: {}", shown(other)))),
    }
}

fn arn_of(endpoint: &str, service: &str) -> Option<Arn> {
    endpoint.parse().ok().filter(|arn: &Arn| arn.service == service)
}

fn check_url(protocol: &str, endpoint: &str) -> Result<()> {
    let uri = endpoint.parse::<http::Uri>().ok().filter(|uri| uri.host().is_some());
    match uri {
        Some(uri) if uri.scheme_str() == Some(protocol) => Ok(()),
        _ => Err(Error::invalid("Endpoint must match the specified protocol")),
    }
}

/// Sets an attribute; `new` of a subscription that is being made.
pub fn set(subscription: &mut Subscription, name: &str, text: &str, new: bool) -> Result<()> {
    let wrong = |reason: &str| match new {
        true => Error::parameter("Attributes", format!("{name}: {reason}")),
        false => Error::invalid(format!("{name}: {reason}")),
    };
    let web = matches!(subscription.protocol.as_str(), "http" | "https");
    match name {
        "RawMessageDelivery" => {
            let raw = flag(text).ok_or_else(|| wrong("Invalid value. Must be true or false."))?;
            if raw && subscription.protocol == "lambda" {
                return Err(wrong("Delivery protocol [lambda] does not support raw message delivery."));
            }
            subscription.attributes.insert(name.into(), raw.to_string());
            return Ok(());
        }
        "FilterPolicy" => {
            filter::parse(if text.is_empty() { "{}" } else { text }, scope(subscription)).map_err(|w| wrong(&w))?;
        }
        "FilterPolicyScope" => {
            if !matches!(text, ATTRIBUTES | BODY) {
                return Err(wrong(&format!(
                    "Invalid value [{}]. Please use either MessageBody or MessageAttributes",
                    shown(text)
                )));
            }
            if let Some(policy) = subscription.attributes.get("FilterPolicy") {
                filter::parse(policy, text).map_err(|why| wrong(&why))?;
            }
        }
        "RedrivePolicy" if text.is_empty() => {}
        "RedrivePolicy" => drop(dead_letter(text).map_err(|why| wrong(&why))?),
        "DeliveryPolicy" if text.is_empty() => {}
        "DeliveryPolicy" if !web => return Err(wrong("only for HTTP and HTTPS endpoints")),
        "DeliveryPolicy" => drop(retry::of_subscription(text).map_err(|why| wrong(&why))?),
        "ReplayPolicy" => return Err(Error::lacking("ReplayPolicy, replays of FIFO topics,")),
        "SubscriptionRoleArn" => return Err(Error::lacking("SubscriptionRoleArn, which firehose subscriptions need,")),
        _ if new => return Err(Error::parameter("Attributes", format!("Unknown attribute {}", shown(name)))),
        _ => return Err(Error::invalid("AttributeName")),
    }
    match text.is_empty() {
        true => subscription.attributes.remove(name),
        false => subscription.attributes.insert(name.to_owned(), text.to_owned()),
    };
    Ok(())
}

fn scope(subscription: &Subscription) -> &str {
    subscription.attributes.get("FilterPolicyScope").map_or(ATTRIBUTES, String::as_str)
}

/// The filter of a subscription, ready; `None` wants everything.
pub fn filter(subscription: &Subscription) -> Result<Option<Filter>, String> {
    match subscription.attributes.get("FilterPolicy") {
        Some(text) => filter::parse(text, scope(subscription)),
        None => Ok(None),
    }
}

/// The queue that a `RedrivePolicy` names.
///
/// # Errors
/// Why it names none.
pub fn dead_letter(text: &str) -> Result<Arn, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|_| "failed to parse JSON.".to_owned())?;
    let arn = value.get("deadLetterTargetArn").and_then(|arn| arn.as_str());
    arn.and_then(|arn| arn_of(arn, "sqs")).ok_or_else(|| "deadLetterTargetArn is an invalid arn".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::State;
    use base::Timestamp;

    fn subscription(protocol: &str) -> Subscription {
        Subscription {
            id: "i".into(),
            protocol: protocol.into(),
            endpoint: "e".into(),
            created: Timestamp(1),
            state: State::Confirmed,
            token: None,
            host: "h".into(),
            authenticated: false,
            guarded: false,
            attributes: Default::default(),
        }
    }

    #[test]
    fn endpoints() {
        let named = |name: &str| Named { scope: kit::scope(), name: name.into() };
        let (queue, function) =
            ("arn:aws:sqs:us-east-1:000000000000:q", "arn:aws:lambda:us-east-1:000000000000:function:f");
        for (topic, protocol, endpoint, expect) in [
            ("t", "sqs", queue, None),
            ("t", "lambda", function, None),
            ("t", "http", "http://127.0.0.1:80/x?y=z", None),
            ("t", "https", "https://example.com", None),
            ("t.fifo", "sqs", "arn:aws:sqs:us-east-1:000000000000:q.fifo", None),
            ("t.fifo", "sqs", queue, None),
            ("t", "sqs", "http://q", Some("SQS endpoint ARN")),
            ("t", "sqs", "arn:aws:sqs:us-east-1:000000000000:q.fifo", Some("can not be subscribed to standard")),
            ("t", "lambda", queue, Some("Lambda endpoint ARN")),
            ("t.fifo", "lambda", function, Some("FIFO topics can not deliver")),
            ("t.fifo", "http", "http://x", Some("FIFO topics can not deliver")),
            ("t", "http", "https://x", Some("must match the specified protocol")),
            ("t", "https", "x", Some("must match the specified protocol")),
            ("t", "email", "a@b.c", Some("protocol email")),
            ("t", "sms", "+1", Some("protocol sms")),
            ("t", "firehose", "x", Some("protocol firehose")),
            ("t", "pigeon", "x", Some("does not support this protocol string: pigeon")),
        ] {
            let checked = check_endpoint(&named(topic), protocol, endpoint);
            match expect {
                None => checked.expect(endpoint),
                Some(text) => {
                    let error = checked.expect_err(endpoint);
                    assert!(error.to_string().contains(text), "{error}");
                    assert_eq!(error.code(), "InvalidParameter");
                }
            }
        }
    }

    #[test]
    fn attributes() {
        let mut s = subscription("sqs");
        set(&mut s, "RawMessageDelivery", "True", false).expect("raw");
        assert!(s.is_raw());
        let dead = r#"{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead"}"#;
        set(&mut s, "RedrivePolicy", dead, false).expect("a queue");
        assert_eq!(s.dead_letter().expect("it").resource, "dead");
        set(&mut s, "RedrivePolicy", "", false).expect("none");
        assert_eq!(s.dead_letter(), None);
        assert!(set(&mut s, "FilterPolicy", r#"{"a": {"b": [1]}}"#, false).is_err(), "nested");
        set(&mut s, "FilterPolicyScope", "MessageBody", false).expect("a scope");
        set(&mut s, "FilterPolicy", r#"{"a": {"b": [1]}}"#, false).expect("of bodies");
        assert!(set(&mut s, "FilterPolicyScope", "MessageAttributes", false).is_err(), "it is nested");
        assert!(filter(&s).expect("reads").is_some());
        for (name, text) in [
            ("RawMessageDelivery", "maybe"),
            ("FilterPolicyScope", "Headers"),
            ("RedrivePolicy", "{}"),
            ("DeliveryPolicy", "{}"),
            ("ReplayPolicy", "{}"),
            ("SubscriptionRoleArn", "arn:aws:iam::000000000000:role/x"),
            ("Colour", "red"),
        ] {
            assert_eq!(set(&mut s, name, text, false).expect_err(name).code(), "InvalidParameter", "{name}");
        }
        assert!(set(&mut subscription("lambda"), "RawMessageDelivery", "true", false).is_err());
        assert!(
            set(&mut subscription("http"), "DeliveryPolicy", r#"{"healthyRetryPolicy": {"numRetries": 1}}"#, false)
                .is_ok()
        );
    }
}
