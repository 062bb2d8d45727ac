//! Policies of resources, as services keep them that have AddPermission: what one says of a service that sends something to its
//! resource, and the statements in it.

use super::{Decision, Policy, Principal, Request};
use base::Source;
use base::port::Denied;
use serde_json::{Value, json};

/// Does a resource's policy let the service behind `from` do `action` (`sqs:SendMessage`)? Where there is no service it is an
/// identity, whom the gate has authorised.
pub fn lets(policy: Option<&Policy>, action: &str, resource: &str, from: &Source) -> Result<(), Denied> {
    let Some(service) = from.service.as_deref() else { return Ok(()) };
    let arn = from.arn.as_ref().map(ToString::to_string);
    let mut context = vec![("aws:SourceAccount", from.account.as_str())];
    context.extend(arn.as_deref().map(|arn| ("aws:SourceArn", arn)));
    let request = Request { principal: Principal::Service(service), action, resource, context: &context };
    match policy.map(|policy| policy.evaluate(&request)) {
        Some(Decision::Allow) => Ok(()),
        _ => Err(Denied(format!(
            "{service} is not authorized to perform: {action} on resource: {resource} because no resource-based policy \
             allows the {action} action"
        ))),
    }
}

/// The statement by which AddPermission lets accounts do something. AWS writes a list of one as its item.
pub fn statement(label: &str, accounts: &[String], actions: impl Iterator<Item = String>, resource: &str) -> Value {
    let one_or_all =
        |mut texts: Vec<String>| -> Value { if texts.len() == 1 { texts.remove(0).into() } else { texts.into() } };
    let principals = accounts.iter().map(|account| format!("arn:aws:iam::{account}:root")).collect();
    json!({
        "Sid": label,
        "Effect": "Allow",
        "Principal": {"AWS": one_or_all(principals)},
        "Action": one_or_all(actions.collect()),
        "Resource": resource,
    })
}

/// The statements of a document, as a list even if it has one that stands alone.
pub fn statements(document: &mut Value) -> &mut Vec<Value> {
    let statements = &mut document["Statement"];
    if !statements.is_array() {
        *statements = Value::Array(vec![statements.take()]);
    }
    statements.as_array_mut().expect("made one a line ago")
}
