//! The resource policy of a bus: PutPermission and RemovePermission.

use super::*;
use serde_json::{Value, json};
use std::sync::Arc;
use wire::Empty;

/// AWS's bound on the document.
const POLICY_BYTES_MAX: usize = 10_240;

/// The policy as a document; `None` without statements.
pub fn document(_: &Scope, _: &str, statements: &[Value]) -> Option<String> {
    let document = json!({ "Version": "2012-10-17", "Statement": statements });
    (!statements.is_empty()).then(|| document.to_string())
}

pub async fn put(bus: Arc<Bus>, cx: Context, input: PutPermissionRequest) -> Result<Empty> {
    let name = input.event_bus_name.as_deref().unwrap_or(model::DEFAULT);
    let new = match &input.policy {
        Some(policy) => whole(policy)?,
        None => vec![statement(&cx, name, &input)?],
    };
    buses::change(&bus, cx.scope(), name, |record| {
        if input.policy.is_some() {
            record.statements.clone_from(&new);
        } else {
            record.statements.retain(|s| s["Sid"].as_str() != input.statement_id.as_deref());
            record.statements.extend(new.iter().cloned());
        }
        match document(cx.scope(), name, &record.statements) {
            Some(text) if text.len() > POLICY_BYTES_MAX => Err(Error::PolicyTooLong),
            _ => Ok(()),
        }
    })
    .await?;
    Ok(Empty {})
}

/// The statements of a whole document.
fn whole(policy: &str) -> Result<Vec<Value>> {
    ::rules::policy::Policy::parse(policy).map_err(|why| Error::invalid(why.to_string()))?;
    let document: Value = serde_json::from_str(policy).map_err(|why| Error::invalid(why.to_string()))?;
    Ok(match document.get("Statement") {
        Some(Value::Array(statements)) => statements.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    })
}

fn statement(cx: &Context, bus: &str, input: &PutPermissionRequest) -> Result<Value> {
    let (Some(action), Some(principal), Some(id)) = (&input.action, &input.principal, &input.statement_id) else {
        return Err(Error::invalid("Parameter(s) Action, Principal, StatementId must be specified."));
    };
    let principal = match principal.as_str() {
        "*" => json!("*"),
        account => json!({ "AWS": format!("arn:aws:iam::{account}:root") }),
    };
    let mut statement = json!({
        "Sid": id,
        "Effect": "Allow",
        "Principal": principal,
        "Action": action,
        "Resource": model::bus_arn(cx.scope(), bus).to_string(),
    });
    if let Some(condition) = &input.condition {
        statement["Condition"] = json!({ &condition.type_: { &condition.key: condition.value } });
    }
    Ok(statement)
}

pub async fn remove(bus: Arc<Bus>, cx: Context, input: RemovePermissionRequest) -> Result<Empty> {
    let name = input.event_bus_name.as_deref().unwrap_or(model::DEFAULT);
    let all = input.remove_all_permissions == Some(true);
    if !all && input.statement_id.is_none() {
        return Err(Error::invalid("Parameter StatementId is required."));
    }
    buses::change(&bus, cx.scope(), name, |record| {
        let before = record.statements.len();
        record.statements.retain(|s| !all && s["Sid"].as_str() != input.statement_id.as_deref());
        if !all && record.statements.len() == before {
            return Err(Error::NotFound("Statement with the provided id does not exist.".into()));
        }
        Ok(())
    })
    .await?;
    Ok(Empty {})
}
