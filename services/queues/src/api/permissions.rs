//! AddPermission and RemovePermission.

use super::*;
use crate::model::policy::{self, Grant};
use wire::Empty;

pub async fn add(room: Arc<Queues>, cx: Context, input: AddPermissionRequest) -> Result<Empty> {
    let live = room.at(&cx, &input.queue_url).await?;
    let grant = Grant { label: &input.label, accounts: &input.aws_account_ids, actions: &input.actions };
    room.change(&live, |_, queue| {
        queue.policy = Some(policy::add(queue.policy.take(), &queue.named, &grant)?);
        Ok(())
    })
    .await?;
    Ok(Empty {})
}

pub async fn remove(room: Arc<Queues>, cx: Context, input: RemovePermissionRequest) -> Result<Empty> {
    let live = room.at(&cx, &input.queue_url).await?;
    room.change(&live, |_, queue| {
        queue.policy = policy::remove(queue.policy.take(), &input.label)?;
        Ok(())
    })
    .await?;
    Ok(Empty {})
}
