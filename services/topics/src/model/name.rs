//! Names of topics and subscriptions.

use crate::error::{Error, Result};
use base::{AccountId, Arn, Region, Scope};

/// A topic: whose, where, and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    pub scope: Scope,
    pub name: String,
}

impl Named {
    pub fn arn(&self) -> Arn {
        Arn::new("sns", self.scope.region.as_str(), self.scope.account.as_str(), self.name.as_str())
    }

    /// The ARN of one of its subscriptions.
    pub fn subscription(&self, id: &str) -> Arn {
        Arn { resource: format!("{}:{id}", self.name), ..self.arn() }
    }

    pub fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    /// The topic an ARN means, and the subscription if it means one.
    pub fn of_arn(arn: &Arn) -> Option<(Self, Option<&str>)> {
        if arn.service != "sns" {
            return None;
        }
        let scope = Scope::new(AccountId::parse(&arn.account)?, Region::parse(&arn.region)?);
        let (name, id) = match arn.resource.split_once(':') {
            Some((name, id)) => (name, Some(id)),
            None => (arn.resource.as_str(), None),
        };
        Some((Self { scope, name: name.to_owned() }, id))
    }

    /// The topic that a request's ARN means.
    pub fn of_topic(arn: &str) -> Result<Self> {
        match Self::of_arn(&parsed(arn, "TopicArn")?) {
            Some((named, None)) => Ok(named),
            _ => Err(Error::invalid("TopicArn")),
        }
    }

    /// The topic and subscription that a request's ARN means.
    pub fn of_subscription(arn: &str) -> Result<(Self, String)> {
        let arn = parsed(arn, "SubscriptionArn")?;
        match Self::of_arn(&arn) {
            Some((named, Some(id))) if !id.is_empty() => Ok((named, id.to_owned())),
            _ => Err(Error::parameter("SubscriptionArn", "An ARN of a subscription must have 7 elements")),
        }
    }
}

fn parsed(arn: &str, parameter: &str) -> Result<Arn> {
    arn.parse().map_err(|_| {
        let parts = arn.split(':').count();
        let reason = match parts {
            0..6 => format!("An ARN must have at least 6 elements, not {parts}"),
            _ => "An ARN must not have empty elements".to_owned(),
        };
        Error::parameter(parameter, reason)
    })
}

/// Checks the name of a new topic.
pub fn check(name: &str, fifo: bool) -> Result<()> {
    let stem = if fifo { name.strip_suffix(".fifo") } else { Some(name) };
    let legal = |stem: &str| stem.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if stem.is_some_and(|stem| !stem.is_empty() && legal(stem)) && name.len() <= 256 {
        return Ok(());
    }
    Err(match fifo {
        true => Error::invalid(
            "Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII letters, \
             numbers, underscores, and hyphens, and must be between 1 and 256 characters long.",
        ),
        false => Error::invalid("Topic Name"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_arns() {
        assert!(check("a-B_9", false).is_ok() && check("a.fifo", true).is_ok());
        for (name, fifo) in [("", false), ("a b", false), ("a.fifo", false), ("a", true), (".fifo", true)] {
            assert!(check(name, fifo).is_err(), "{name} {fifo}");
        }
        assert!(check(&"x".repeat(256), false).is_ok() && check(&"x".repeat(257), false).is_err());
        let named = Named { scope: kit::scope(), name: "t".into() };
        assert_eq!(Named::of_topic("arn:aws:sns:us-east-1:000000000000:t").expect("a topic"), named);
        let of = |arn: &str| Named::of_topic(arn).expect_err(arn).to_string();
        assert_eq!(of("t"), "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1");
        assert_eq!(of("arn:aws:sqs:us-east-1:000000000000:t"), "Invalid parameter: TopicArn");
        assert_eq!(of("arn:aws:sns:us-east-1:000000000000:t:id"), "Invalid parameter: TopicArn");
        let (topic, id) = Named::of_subscription("arn:aws:sns:us-east-1:000000000000:t:id").expect("a subscription");
        assert_eq!((topic.subscription(&id), id.as_str()), (named.subscription("id"), "id"));
        assert!(Named::of_subscription("arn:aws:sns:us-east-1:000000000000:t").is_err());
    }
}
