//! Resource policies: as a document that is set whole, and statement by statement through AddPermission.

use super::name::Named;
use crate::error::{Error, Result};
use base::Source;
use base::port::Denied;
use rules::policy::{Policy, statement, statements};
use serde_json::{Value, json};

const DOCUMENT_BYTES_MAX: usize = 20 << 10;
const STATEMENTS_MAX: usize = 20;
const ACTIONS_MAX: usize = 7;

/// Actions that AddPermission can grant.
const GRANTABLE: [&str; 7] = [
    "*",
    "SendMessage",
    "ReceiveMessage",
    "DeleteMessage",
    "ChangeMessageVisibility",
    "GetQueueAttributes",
    "GetQueueUrl",
];

/// Reads the attribute `Policy`; an empty text is none.
pub fn parse(text: &str) -> Result<Option<Value>> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || Error::AttributeValue("Invalid value for the parameter Policy.".into());
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(invalid());
    }
    let value: Value = serde_json::from_str(text).map_err(|_| invalid())?;
    Policy::from_value(&value)
        .map_err(|why| Error::AttributeValue(format!("Invalid value for the parameter Policy. Reason: {why}")))?;
    Ok(Some(value))
}

/// What AddPermission grants.
pub struct Grant<'a> {
    pub label: &'a str,
    pub accounts: &'a [String],
    pub actions: &'a [String],
}

/// The policy with another statement.
pub fn add(policy: Option<Value>, queue: &Named, grant: &Grant<'_>) -> Result<Value> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !(1..=80).contains(&grant.label.len()) || !grant.label.bytes().all(legal) {
        return Err(Error::invalid(
            super::name::shown(grant.label),
            "Label",
            "Label can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.",
        ));
    }
    if let Some(other) = grant.accounts.iter().find(|a| base::AccountId::parse(a).is_none()) {
        return Err(Error::invalid(super::name::shown(other), "PrincipalId", "Unable to verify."));
    }
    if let Some(other) = grant.actions.iter().find(|a| !GRANTABLE.contains(&a.as_str())) {
        return Err(Error::invalid(
            format!("SQS:{}", super::name::shown(other)),
            "ActionName",
            "Only the queue owner is allowed to invoke this action.",
        ));
    }
    if grant.actions.is_empty() || grant.accounts.is_empty() {
        return Err(Error::Missing(if grant.actions.is_empty() { "Actions" } else { "AWSAccountIds" }.into()));
    }
    if grant.actions.len() > ACTIONS_MAX {
        return Err(Error::OverLimit(format!("{ACTIONS_MAX} actions are the most of a permission.")));
    }
    let arn = queue.arn().to_string();
    let mut policy = policy
        .unwrap_or_else(|| json!({"Version": "2012-10-17", "Id": format!("{arn}/SQSDefaultPolicy"), "Statement": []}));
    let actions = grant.actions.iter().map(|action| format!("SQS:{action}"));
    let statement = statement(grant.label, grant.accounts, actions, &arn);
    let statements = statements(&mut policy);
    if statements.iter().any(|s| s["Sid"] == grant.label) {
        return Err(Error::invalid(grant.label, "Label", "Already exists."));
    }
    if statements.len() == STATEMENTS_MAX {
        return Err(Error::OverLimit(format!("{STATEMENTS_MAX} statements are the most of a policy.")));
    }
    statements.push(statement);
    Ok(policy)
}

/// The policy without a statement; `None` if that was its last.
pub fn remove(policy: Option<Value>, label: &str) -> Result<Option<Value>> {
    let absent = || Error::invalid(super::name::shown(label), "Label", "can't find label on existing policy.");
    let mut policy = policy.ok_or_else(absent)?;
    let statements = statements(&mut policy);
    let before = statements.len();
    statements.retain(|s| s["Sid"] != label);
    if statements.len() == before {
        return Err(absent());
    }
    Ok(if statements.is_empty() { None } else { Some(policy) })
}

/// Does the queue's policy let a service send to it for `from`?
pub fn may_send(policy: Option<&Value>, queue: &Named, from: &Source) -> Result<(), Denied> {
    let policy = policy.and_then(|policy| Policy::from_value(policy).ok());
    rules::policy::lets(policy.as_ref(), "sqs:SendMessage", &queue.arn().to_string(), from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Named {
        Named { scope: kit::scope(), name: "q".into() }
    }

    #[test]
    fn statements_come_and_go() {
        let accounts = ["111122223333".to_owned()];
        let actions = ["SendMessage".to_owned()];
        let grant = Grant { label: "one", accounts: &accounts, actions: &actions };
        let policy = add(None, &queue(), &grant).expect("valid");
        assert_eq!(policy["Statement"][0]["Action"], "SQS:SendMessage");
        assert_eq!(policy["Statement"][0]["Principal"]["AWS"], "arn:aws:iam::111122223333:root");
        assert!(add(Some(policy.clone()), &queue(), &grant).is_err(), "the label is taken");
        assert!(remove(Some(policy.clone()), "two").is_err());
        assert_eq!(remove(Some(policy), "one").expect("removes"), None);
        for (label, account, action) in
            [("a b", "111122223333", "SendMessage"), ("a", "x", "SendMessage"), ("a", "111122223333", "DeleteQueue")]
        {
            let grant = Grant { label, accounts: &[account.to_owned()], actions: &[action.to_owned()] };
            assert!(add(None, &queue(), &grant).is_err(), "{label} {account} {action}");
        }
    }

    #[test]
    fn services() {
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": queue().arn().to_string(),
            "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::photos"}},
        }]});
        let from = |bucket: &str| Source {
            service: Some("s3.amazonaws.com".into()),
            arn: Some(bucket.parse().expect("an ARN")),
            account: "000000000000".into(),
        };
        assert!(may_send(Some(&policy), &queue(), &from("arn:aws:s3:::photos")).is_ok());
        assert!(may_send(Some(&policy), &queue(), &from("arn:aws:s3:::other")).is_err());
        assert!(may_send(None, &queue(), &from("arn:aws:s3:::photos")).is_err());
        let identity = Source { service: None, arn: None, account: "000000000000".into() };
        assert!(may_send(None, &queue(), &identity).is_ok());
        assert!(parse("{}").is_err() && parse("x").is_err());
        assert_eq!(parse("").expect("none"), None);
    }
}
