//! Where messages go that nobody could handle, and who may send them to a queue.

use super::name::Named;
use crate::error::{Error, Result};
use base::Arn;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const RECEIVES_MAX: u32 = 1000;
const SOURCES_MAX: usize = 10;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedrivePolicy {
    pub target: Arn,
    pub receives_max: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RedriveAllow {
    All,
    None,
    Queues(Vec<String>),
}

fn bad(name: &str, text: &str, why: &str) -> Error {
    let text = super::name::shown(text);
    Error::Invalid(format!("Value {text} for parameter {name} is invalid. Reason: {why}"))
}

impl RedrivePolicy {
    /// An empty text takes the policy away.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        if text.is_empty() {
            return Ok(None);
        }
        let bad = |why: &str| bad("RedrivePolicy", text, why);
        let value: Value = serde_json::from_str(text).map_err(|_| bad("Redrive policy is not a valid JSON map."))?;
        let Value::Object(map) = &value else { return Err(bad("Redrive policy is not a valid JSON map.")) };
        if let Some(other) = map.keys().find(|k| !["deadLetterTargetArn", "maxReceiveCount"].contains(&k.as_str())) {
            return Err(bad(&format!("Unknown member {other}.")));
        }
        let missing = |name: &str| bad(&format!("Redrive policy does not contain mandatory attribute: {name}."));
        let target = map.get("deadLetterTargetArn").ok_or_else(|| missing("deadLetterTargetArn"))?;
        let receives = map.get("maxReceiveCount").ok_or_else(|| missing("maxReceiveCount"))?;
        let target: Option<Arn> = target.as_str().and_then(|t| t.parse().ok());
        let target = target
            .filter(|arn| Named::of_arn(arn).is_some())
            .ok_or_else(|| bad("Invalid value for deadLetterTargetArn."))?;
        let receives = receives.as_u64().or_else(|| receives.as_str()?.parse().ok());
        let receives = receives.filter(|n| (1..=u64::from(RECEIVES_MAX)).contains(n));
        let why = "Invalid value for maxReceiveCount: it must be an integer between 1 and 1000.";
        Ok(Some(Self { target, receives_max: receives.ok_or_else(|| bad(why))? as u32 }))
    }

    pub fn text(&self) -> String {
        json!({"deadLetterTargetArn": self.target.to_string(), "maxReceiveCount": self.receives_max}).to_string()
    }
}

impl RedriveAllow {
    pub fn parse(text: &str) -> Result<Option<Self>> {
        if text.is_empty() {
            return Ok(None);
        }
        let bad = |why: &str| bad("RedriveAllowPolicy", text, why);
        let value: Value = serde_json::from_str(text).map_err(|_| bad("It is not a valid JSON map."))?;
        let sources = value.get("sourceQueueArns");
        match (value.get("redrivePermission").and_then(Value::as_str), sources) {
            (Some("allowAll"), None) => Ok(Some(Self::All)),
            (Some("denyAll"), None) => Ok(Some(Self::None)),
            (Some("byQueue"), Some(Value::Array(sources))) if (1..=SOURCES_MAX).contains(&sources.len()) => {
                let arns = sources.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<_>>();
                Ok(Some(Self::Queues(arns.ok_or_else(|| bad("sourceQueueArns is a list of ARNs."))?)))
            }
            (Some("byQueue"), _) => Err(bad("sourceQueueArns must have 1 to 10 ARNs with byQueue.")),
            _ => Err(bad("redrivePermission must be allowAll, denyAll or byQueue; only byQueue has sourceQueueArns.")),
        }
    }

    pub fn text(&self) -> String {
        match self {
            Self::All => json!({"redrivePermission": "allowAll"}),
            Self::None => json!({"redrivePermission": "denyAll"}),
            Self::Queues(arns) => json!({"redrivePermission": "byQueue", "sourceQueueArns": arns}),
        }
        .to_string()
    }

    pub fn allows(&self, source: &Arn) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Queues(arns) => arns.iter().any(|arn| *arn == source.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let text = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":"3"}"#;
        let policy = RedrivePolicy::parse(text).expect("valid").expect("a policy");
        assert_eq!((policy.target.resource.as_str(), policy.receives_max), ("dead", 3));
        assert_eq!(RedrivePolicy::parse(&policy.text()).expect("valid"), Some(policy));
        assert_eq!(RedrivePolicy::parse("").expect("none"), None);
        for bad in [
            "x",
            "[]",
            r#"{"maxReceiveCount":3}"#,
            r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead"}"#,
            r#"{"deadLetterTargetArn":"dead","maxReceiveCount":3}"#,
            r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":0}"#,
            r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":1001}"#,
            r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":1,"x":1}"#,
        ] {
            assert!(RedrivePolicy::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn who_may_redrive() {
        let source: Arn = "arn:aws:sqs:us-east-1:000000000000:work".parse().expect("an ARN");
        let allows = |text: &str| RedriveAllow::parse(text).expect("valid").expect("a policy").allows(&source);
        assert!(allows(r#"{"redrivePermission":"allowAll"}"#) && !allows(r#"{"redrivePermission":"denyAll"}"#));
        assert!(allows(&json!({"redrivePermission": "byQueue", "sourceQueueArns": [source.to_string()]}).to_string()));
        assert!(!allows(r#"{"redrivePermission":"byQueue","sourceQueueArns":["arn:aws:sqs:us-east-1:0:x"]}"#));
        for bad in
            ["{}", r#"{"redrivePermission":"byQueue"}"#, r#"{"redrivePermission":"denyAll","sourceQueueArns":[]}"#]
        {
            assert!(RedriveAllow::parse(bad).is_err(), "{bad}");
        }
    }
}
