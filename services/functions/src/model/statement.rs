//! Statements of resource policies, as AddPermission writes them.

use crate::error::{Error, Result};
use serde_json::{Map, Value, json};

/// What AddPermission may say.
#[derive(Clone, Debug, Default)]
pub struct Grant<'a> {
    pub id: &'a str,
    pub action: &'a str,
    pub principal: &'a str,
    pub resource: &'a str,
    pub source_arn: Option<&'a str>,
    pub source_account: Option<&'a str>,
    pub event_source_token: Option<&'a str>,
    pub organisation: Option<&'a str>,
    /// `NONE` or `AWS_IAM`
    pub url_auth: Option<&'a str>,
    pub via_url: Option<bool>,
}

/// The statement, member by member as AWS stores it.
pub fn write(grant: &Grant<'_>) -> Result<Value> {
    let mut equals = Map::new();
    let mut add = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            equals.insert(key.to_owned(), value.into());
        }
    };
    add("AWS:SourceAccount", grant.source_account);
    add("lambda:EventSourceToken", grant.event_source_token);
    add("aws:PrincipalOrgID", grant.organisation);
    add("lambda:FunctionUrlAuthType", grant.url_auth);
    let mut condition = Map::new();
    if !equals.is_empty() {
        condition.insert("StringEquals".into(), equals.into());
    }
    if let Some(arn) = grant.source_arn {
        condition.insert("ArnLike".into(), json!({ "AWS:SourceArn": arn }));
    }
    if let Some(via_url) = grant.via_url {
        condition.insert("Bool".into(), json!({ "lambda:InvokedViaFunctionUrl": via_url.to_string() }));
    }
    let mut statement = json!({
        "Sid": grant.id,
        "Effect": "Allow",
        "Principal": principal(grant.principal)?,
        "Action": grant.action,
        "Resource": grant.resource,
    });
    if !condition.is_empty() {
        statement["Condition"] = condition.into();
    }
    Ok(statement)
}

/// The whole document around statements.
pub fn document(statements: &[Value]) -> Value {
    json!({ "Version": "2012-10-17", "Id": "default", "Statement": statements })
}

fn principal(text: &str) -> Result<Value> {
    let is_account = |t: &str| base::AccountId::parse(t).is_some();
    if text == "*" {
        return Ok("*".into());
    }
    if is_account(text) {
        return Ok(json!({ "AWS": format!("arn:aws:iam::{text}:root") }));
    }
    if let Ok(arn) = text.parse::<base::Arn>() {
        let known = matches!(arn.service.as_str(), "iam" | "sts") && is_account(&arn.account);
        return if known { Ok(json!({ "AWS": text })) } else { Err(bad_principal()) };
    }
    let service = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let is_service =
        (text.ends_with(".amazonaws.com") || text.ends_with(".alexa.com") || text.ends_with(".aws.internal"))
            && text.chars().all(service);
    if is_service { Ok(json!({ "Service": text })) } else { Err(bad_principal()) }
}

fn bad_principal() -> Error {
    Error::Invalid("The provided principal was invalid. Please check the principal and try again.".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_notification() {
        let statement = write(&Grant {
            id: "s3",
            action: "lambda:InvokeFunction",
            principal: "s3.amazonaws.com",
            resource: "arn:aws:lambda:us-east-1:000000000000:function:f",
            source_arn: Some("arn:aws:s3:::photos"),
            source_account: Some("000000000000"),
            ..Grant::default()
        });
        let expect = json!({
            "Sid": "s3", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "lambda:InvokeFunction", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:f",
            "Condition": {
                "StringEquals": {"AWS:SourceAccount": "000000000000"},
                "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::photos"},
            },
        });
        assert_eq!(statement.expect("valid"), expect);
    }

    #[test]
    fn principals() {
        assert_eq!(principal("*").expect("all"), json!("*"));
        let root = json!({"AWS": "arn:aws:iam::123456789012:root"});
        assert_eq!(principal("123456789012").expect("account"), root);
        assert!(principal("arn:aws:iam::123456789012:role/x").is_ok());
        for bad in ["someone", "s3.example.com", "arn:aws:s3:::b", "12345"] {
            assert!(principal(bad).is_err(), "{bad}");
        }
    }
}
