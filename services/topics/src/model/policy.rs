//! Resource policies of topics: as a document that is set whole, and statement by statement through AddPermission.

use super::name::Named;
use crate::error::{Error, Result};
use base::Source;
use base::port::Denied;
use rules::policy::{Policy, statement, statements};
use serde_json::{Value, json};

const DOCUMENT_BYTES_MAX: usize = 30 << 10;
const STATEMENTS_MAX: usize = 100;

/// Actions that a topic's owner has, and that AddPermission can grant.
const ACTIONS: [&str; 8] = [
    "GetTopicAttributes",
    "SetTopicAttributes",
    "AddPermission",
    "RemovePermission",
    "DeleteTopic",
    "Subscribe",
    "ListSubscriptionsByTopic",
    "Publish",
];

/// What a topic has that was given none.
pub fn default(topic: &Named) -> Value {
    let actions: Vec<String> = ACTIONS.iter().map(|action| format!("SNS:{action}")).collect();
    json!({
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [{
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": actions,
            "Resource": topic.arn().to_string(),
            "Condition": {"StringEquals": {"AWS:SourceOwner": topic.scope.account.as_str()}},
        }],
    })
}

/// Reads the attribute `Policy`; an empty text is the default one.
pub fn parse(text: &str) -> Result<Option<Value>> {
    if text.is_empty() {
        return Ok(None);
    }
    let failed = |why: String| Error::invalid(format!("Policy Error: {why}"));
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(failed("null".into()));
    }
    let value: Value = serde_json::from_str(text).map_err(|why| failed(why.to_string()))?;
    Policy::from_value(&value).map_err(|why| failed(why.to_string()))?;
    Ok(Some(value))
}

/// What AddPermission grants.
pub struct Grant<'a> {
    pub label: &'a str,
    pub accounts: &'a [String],
    pub actions: &'a [String],
}

/// The policy with another statement.
pub fn add(policy: Option<Value>, topic: &Named, grant: &Grant<'_>) -> Result<Value> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !(1..=80).contains(&grant.label.len()) || !grant.label.bytes().all(legal) {
        return Err(Error::invalid("Label"));
    }
    if grant.accounts.is_empty() || grant.accounts.iter().any(|a| base::AccountId::parse(a).is_none()) {
        return Err(Error::invalid("AWSAccountId"));
    }
    let known = |action: &String| action == "*" || ACTIONS.contains(&action.as_str());
    if grant.actions.is_empty() || !grant.actions.iter().all(known) {
        return Err(Error::invalid("Policy statement action out of service scope!"));
    }
    let actions = grant.actions.iter().map(|action| format!("SNS:{action}"));
    let statement = statement(grant.label, grant.accounts, actions, &topic.arn().to_string());
    let mut policy = policy.unwrap_or_else(|| default(topic));
    let statements = statements(&mut policy);
    if statements.iter().any(|s| s["Sid"] == grant.label) {
        return Err(Error::invalid("Statement already exists"));
    }
    if statements.len() == STATEMENTS_MAX {
        return Err(Error::invalid(format!("Policy Error: more than {STATEMENTS_MAX} statements")));
    }
    statements.push(statement);
    Ok(policy)
}

/// The policy without a statement. One that is not there is no error.
pub fn remove(policy: Option<Value>, label: &str) -> Option<Value> {
    let mut policy = policy?;
    let statements = statements(&mut policy);
    statements.retain(|s| s["Sid"] != label);
    if statements.is_empty() { None } else { Some(policy) }
}

/// Does the topic's policy let a service publish for `from`?
pub fn may_publish(policy: Option<&Value>, topic: &Named, from: &Source) -> Result<(), Denied> {
    let policy = policy.and_then(|policy| Policy::from_value(policy).ok());
    rules::policy::lets(policy.as_ref(), "sns:Publish", &topic.arn().to_string(), from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Named {
        Named { scope: kit::scope(), name: "t".into() }
    }

    #[test]
    fn statements_come_and_go() {
        let (accounts, actions) = (["111122223333".to_owned()], ["Publish".to_owned()]);
        let grant = Grant { label: "one", accounts: &accounts, actions: &actions };
        let policy = add(None, &topic(), &grant).expect("valid");
        assert_eq!(policy["Statement"][1]["Action"], "SNS:Publish");
        assert!(add(Some(policy.clone()), &topic(), &grant).is_err(), "the label is taken");
        assert_eq!(remove(Some(policy.clone()), "two"), Some(policy.clone()));
        assert_eq!(remove(Some(policy), "one"), Some(default(&topic())));
        for (label, account, action) in
            [("a b", "111122223333", "Publish"), ("a", "x", "Publish"), ("a", "111122223333", "CreateTopic")]
        {
            let grant = Grant { label, accounts: &[account.to_owned()], actions: &[action.to_owned()] };
            assert!(add(None, &topic(), &grant).is_err(), "{label} {account} {action}");
        }
    }

    #[test]
    fn services() {
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sns:Publish",
            "Resource": topic().arn().to_string(),
            "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::photos"}},
        }]});
        let from = |bucket: &str| Source {
            service: Some("s3.amazonaws.com".into()),
            arn: Some(bucket.parse().expect("an ARN")),
            account: "000000000000".into(),
        };
        assert!(may_publish(Some(&policy), &topic(), &from("arn:aws:s3:::photos")).is_ok());
        assert!(may_publish(Some(&policy), &topic(), &from("arn:aws:s3:::other")).is_err());
        assert!(may_publish(None, &topic(), &from("arn:aws:s3:::photos")).is_err());
        assert!(may_publish(Some(&default(&topic())), &topic(), &from("arn:aws:s3:::photos")).is_err());
        let identity = Source { service: None, arn: None, account: "000000000000".into() };
        assert!(may_publish(None, &topic(), &identity).is_ok());
        assert!(parse("{}").is_err() && parse("x").is_err());
        assert_eq!(parse("").expect("none"), None);
    }
}
