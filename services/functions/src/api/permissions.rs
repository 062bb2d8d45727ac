//! Resource policies of functions: AddPermission, RemovePermission, GetPolicy; one policy a qualifier.

use super::shapes as s;
use crate::Functions;
use crate::error::{Error, Result};
use crate::model::name::{self, Qualifier};
use crate::model::statement::{Grant, document, write};
use crate::model::{LATEST, POLICY_BYTES_MAX};
use crate::records::Policy;
use crate::store::{At, resolve};
use base::FunctionRef;
use room::Context;
use serde_json::Value;
use std::sync::Arc;
use store::Key;
use wire::Empty;

pub async fn add_permission(
    room: Arc<Functions>,
    cx: Context,
    input: s::AddPermissionRequest,
) -> Result<s::AddPermissionResponse> {
    let named = &name::function(cx.scope(), &input.function_name, input.qualifier.as_deref())?;
    if named.qualifier.as_deref() == Some(LATEST) {
        return Err(Error::Invalid("We currently do not support adding policies for $LATEST.".into()));
    }
    let resource = name::arn_of(named).to_string();
    let grant = Grant {
        id: &input.statement_id,
        action: &input.action,
        principal: &input.principal,
        resource: &resource,
        source_arn: input.source_arn.as_deref(),
        source_account: input.source_account.as_deref(),
        event_source_token: input.event_source_token.as_deref(),
        organisation: input.principal_org_id.as_deref(),
        url_auth: input.function_url_auth_type.as_deref(),
        via_url: input.invoked_via_function_url,
    };
    if input.function_url_auth_type.is_some() && !input.action.ends_with("InvokeFunctionUrl") {
        let message = "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action";
        return Err(Error::Invalid(message.into()));
    }
    let statement = &write(&grant)?;
    let (key, input, revision_id) = (&key_of(named), &input, &room.entropy.uuid());
    room.store
        .transact(|tx| async move {
            resolve(&tx, named).await?;
            let mut policy = tx.get::<Policy>(key).await?.unwrap_or_default();
            check_revision(&policy, input.revision_id.as_deref(), "GetPolicy")?;
            add(&mut policy, statement, revision_id)?;
            Ok::<_, Error>(tx.put(key, &policy)?)
        })
        .await?;
    Ok(s::AddPermissionResponse { statement: Some(statement.to_string()) })
}

pub async fn remove_permission(room: Arc<Functions>, cx: Context, input: s::RemovePermissionRequest) -> Result<Empty> {
    let named = &name::function(cx.scope(), &input.function_name, input.qualifier.as_deref())?;
    let (key, input, revision_id) = (&key_of(named), &input, &room.entropy.uuid());
    room.store
        .transact(|tx| async move {
            resolve(&tx, named).await?;
            let no_policy = || Error::NotFound("No policy is associated with the given resource.".into());
            let mut policy = tx.get::<Policy>(key).await?.ok_or_else(no_policy)?;
            check_revision(&policy, input.revision_id.as_deref(), "GetPolicy")?;
            match remove(&mut policy, &input.statement_id, revision_id)? {
                Left::Statements => tx.put(key, &policy)?,
                Left::Nothing => tx.delete(key),
            }
            Ok::<_, Error>(())
        })
        .await?;
    Ok(Empty {})
}

pub async fn get_policy(room: Arc<Functions>, cx: Context, input: s::GetPolicyRequest) -> Result<s::GetPolicyResponse> {
    let named = &name::function(cx.scope(), &input.function_name, input.qualifier.as_deref())?;
    let key = &key_of(named);
    let policy = room
        .store
        .transact(|tx| async move {
            resolve(&tx, named).await?;
            Ok::<_, Error>(tx.get::<Policy>(key).await?)
        })
        .await?;
    let policy = policy.ok_or_else(|| Error::NotFound("The resource you requested does not exist.".into()))?;
    Ok(s::GetPolicyResponse {
        policy: Some(document(&policy.statements).to_string()),
        revision_id: Some(policy.revision_id),
    })
}

fn key_of(named: &FunctionRef) -> Key {
    let qualifier = match Qualifier::of(named.qualifier.as_deref()) {
        Qualifier::Latest => "",
        _ => named.qualifier.as_deref().unwrap_or(""),
    };
    At::Policy(&named.scope, &named.name, qualifier).key()
}

/// `latest` is the operation that tells the latest revision.
pub fn check_revision(policy: &Policy, revision_id: Option<&str>, latest: &'static str) -> Result<()> {
    match revision_id {
        Some(id) if id != policy.revision_id => Err(Error::Precondition(latest)),
        _ => Ok(()),
    }
}

/// Adds a statement whose id is not taken, within the policy's bound.
pub fn add(policy: &mut Policy, statement: &Value, revision_id: &str) -> Result<()> {
    let id = &statement["Sid"];
    if policy.statements.iter().any(|s| s["Sid"] == *id) {
        return Err(Error::Conflict(format!(
            "The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing \
             statement.",
            id.as_str().unwrap_or_default()
        )));
    }
    policy.statements.push(statement.clone());
    let bytes = document(&policy.statements).to_string().len();
    if bytes > POLICY_BYTES_MAX {
        return Err(Error::PolicyTooLong { bytes, max: POLICY_BYTES_MAX });
    }
    revision_id.clone_into(&mut policy.revision_id);
    Ok(())
}

/// What is left of a policy. One without statements is none.
pub enum Left {
    Statements,
    Nothing,
}

pub fn remove(policy: &mut Policy, id: &str, revision_id: &str) -> Result<Left> {
    let before = policy.statements.len();
    policy.statements.retain(|s| s["Sid"] != id);
    if policy.statements.len() == before {
        return Err(Error::NotFound(format!("Statement {id} is not found in resource policy.")));
    }
    revision_id.clone_into(&mut policy.revision_id);
    Ok(if policy.statements.is_empty() { Left::Nothing } else { Left::Statements })
}
