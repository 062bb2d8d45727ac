//! AddPermission and RemovePermission.

use super::*;
use crate::model::policy::{self, Grant};
use std::sync::Arc;
use wire::Empty;

pub async fn add(room: Arc<Topics>, _: Context, input: AddPermissionInput) -> Result<Empty> {
    let named = Named::of_topic(&input.topic_arn)?;
    let grant = Grant { label: &input.label, accounts: &input.aws_account_id, actions: &input.action_name };
    topics::change(&room, &named, |topic| {
        topic.policy = Some(policy::add(topic.policy.take(), &named, &grant)?);
        Ok(())
    })
    .await?;
    Ok(Empty {})
}

pub async fn remove(room: Arc<Topics>, _: Context, input: RemovePermissionInput) -> Result<Empty> {
    let named = Named::of_topic(&input.topic_arn)?;
    topics::change(&room, &named, |topic| {
        topic.policy = policy::remove(topic.policy.take(), &input.label);
        Ok(())
    })
    .await?;
    Ok(Empty {})
}
