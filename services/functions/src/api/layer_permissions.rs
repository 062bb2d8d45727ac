//! Resource policies of layer versions.

use super::layers::version_number;
use super::permissions::{Left, add as add_statement, check_revision, remove as remove_statement};
use super::shapes as s;
use crate::Functions;
use crate::error::{Error, Result};
use crate::model::name;
use crate::model::statement::{Grant, document, write};
use crate::records::{LayerVersion, Policy};
use crate::store::At;
use room::Context;
use std::sync::Arc;
use store::Key;
use wire::Empty;

pub async fn add(
    room: Arc<Functions>,
    cx: Context,
    input: s::AddLayerVersionPermissionRequest,
) -> Result<s::AddLayerVersionPermissionResponse> {
    let (key, arn) = locate(&cx, &input.layer_name, input.version_number)?;
    let statement = write(&Grant {
        id: &input.statement_id,
        action: &input.action,
        principal: &input.principal,
        resource: &arn,
        organisation: input.organization_id.as_deref(),
        ..Grant::default()
    })?;
    let (key, arn, input, statement, revision_id) = (&key, &arn, &input, &statement, &room.entropy.uuid());
    room.store
        .transact(|tx| async move {
            let mut version = tx.get::<LayerVersion>(key).await?.ok_or_else(|| missing(arn))?;
            let mut policy = version.policy.take().unwrap_or_default();
            check_revision(&policy, input.revision_id.as_deref(), "GetLayerPolicy")?;
            add_statement(&mut policy, statement, revision_id)?;
            version.policy = Some(policy);
            Ok::<_, Error>(tx.put(key, &version)?)
        })
        .await?;
    Ok(s::AddLayerVersionPermissionResponse {
        statement: Some(statement.to_string()),
        revision_id: Some(revision_id.clone()),
    })
}

pub async fn remove(room: Arc<Functions>, cx: Context, input: s::RemoveLayerVersionPermissionRequest) -> Result<Empty> {
    let (key, arn) = locate(&cx, &input.layer_name, input.version_number)?;
    let (key, arn, input, revision_id) = (&key, &arn, &input, &room.entropy.uuid());
    room.store
        .transact(|tx| async move {
            let mut version = tx.get::<LayerVersion>(key).await?.ok_or_else(|| missing(arn))?;
            let mut policy = version.policy.take().ok_or_else(no_policy)?;
            check_revision(&policy, input.revision_id.as_deref(), "GetLayerPolicy")?;
            version.policy = match remove_statement(&mut policy, &input.statement_id, revision_id)? {
                Left::Statements => Some(policy),
                Left::Nothing => None,
            };
            Ok::<_, Error>(tx.put(key, &version)?)
        })
        .await?;
    Ok(Empty {})
}

pub async fn get(
    room: Arc<Functions>,
    cx: Context,
    input: s::GetLayerVersionPolicyRequest,
) -> Result<s::GetLayerVersionPolicyResponse> {
    let (key, arn) = locate(&cx, &input.layer_name, input.version_number)?;
    let version = room.store.get::<LayerVersion>(&key).await?.ok_or_else(|| missing(&arn))?;
    let Policy { statements, revision_id } = version.policy.ok_or_else(no_policy)?;
    Ok(s::GetLayerVersionPolicyResponse {
        policy: Some(document(&statements).to_string()),
        revision_id: Some(revision_id),
    })
}

fn missing(arn: &str) -> Error {
    Error::NotFound(format!("Layer version {arn} does not exist."))
}

fn no_policy() -> Error {
    Error::NotFound("No policy is associated with the given resource.".into())
}

/// Key and ARN of the layer version that a request names.
fn locate(cx: &Context, layer: &str, number: i64) -> Result<(Key, String)> {
    let layer = name::layer(cx.scope(), layer)?;
    let number = version_number(number)?;
    let arn = name::layer_version_arn(cx.scope(), &layer, number).to_string();
    Ok((At::LayerVersion(cx.scope(), &layer, number).key(), arn))
}
