//! Amazon Resource Names: `arn:partition:service:region:account:resource`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A parsed ARN. `region` and `account` may be empty (S3, IAM); `resource` is everything after the fifth colon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Arn {
    pub partition: String,
    pub service: String,
    pub region: String,
    pub account: String,
    pub resource: String,
}

/// The text is not an ARN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an ARN")]
pub struct NotAnArn(pub String);

impl Arn {
    /// An ARN in the `aws` partition.
    pub fn new(service: &str, region: &str, account: &str, resource: impl Into<String>) -> Self {
        Self {
            partition: "aws".into(),
            service: service.into(),
            region: region.into(),
            account: account.into(),
            resource: resource.into(),
        }
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:{}:{}:{}:{}:{}", self.partition, self.service, self.region, self.account, self.resource)
    }
}

impl FromStr for Arn {
    type Err = NotAnArn;

    fn from_str(text: &str) -> Result<Self, NotAnArn> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().map(str::to_owned);
        match (next().as_deref(), next(), next(), next(), next(), next()) {
            (Some("arn"), Some(partition), Some(service), Some(region), Some(account), Some(resource))
                if text.len() <= 2048
                    && !text.contains(char::is_control)
                    && ![&partition, &service, &resource].into_iter().any(String::is_empty) =>
            {
                Ok(Self { partition, service, region, account, resource })
            }
            _ => Err(NotAnArn(text.chars().take(200).collect())),
        }
    }
}

impl TryFrom<String> for Arn {
    type Error = NotAnArn;

    fn try_from(text: String) -> Result<Self, NotAnArn> {
        text.parse()
    }
}

impl From<Arn> for String {
    fn from(arn: Arn) -> String {
        arn.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses() {
        for text in ["arn:aws:lambda:us-east-1:000000000000:function:thumbs:prod", "arn:aws:s3:::photos/a:b"] {
            assert_eq!(text.parse::<Arn>().expect("valid").to_string(), text);
        }
        for text in ["", "arn:aws:s3", "arn:aws:s3:::", "urn:aws:s3:::x", "arn::s3:::x", "arn:aws:s3:::a\nb"] {
            assert!(text.parse::<Arn>().is_err(), "{text}");
        }
    }
}
