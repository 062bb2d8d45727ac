//! DeleteMessage, ChangeMessageVisibility and their batches.

use super::messages::failure;
use super::*;
use crate::model::attributes::VISIBILITY_S_MAX;
use crate::model::batch;
use wire::Empty;

pub async fn delete(room: Arc<Queues>, cx: Context, input: DeleteMessageRequest) -> Result<Empty> {
    let live = room.at(&cx, &input.queue_url).await?;
    let outcomes = room.delete(&live, vec![input.receipt_handle]).await?;
    outcomes.into_iter().collect::<Result<()>>()?;
    Ok(Empty {})
}

pub async fn delete_batch(
    room: Arc<Queues>,
    cx: Context,
    input: DeleteMessageBatchRequest,
) -> Result<DeleteMessageBatchResult> {
    batch::check("DeleteMessageBatchRequestEntry", input.entries.iter().map(|e| e.id.as_str()))?;
    let live = room.at(&cx, &input.queue_url).await?;
    let (ids, handles): (Vec<_>, Vec<_>) = input.entries.into_iter().map(|e| (e.id, e.receipt_handle)).unzip();
    let outcomes = room.delete(&live, handles).await?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, outcome) in ids.into_iter().zip(outcomes) {
        match outcome {
            Ok(()) => successful.push(DeleteMessageBatchResultEntry { id }),
            Err(error) => failed.push(failure(id, &error)),
        }
    }
    Ok(DeleteMessageBatchResult { successful, failed })
}

fn seconds(given: i32) -> Result<u32> {
    let reason = format!("VisibilityTimeout must be an integer between 0 and {VISIBILITY_S_MAX}");
    Ok(between(Some(given), "VisibilityTimeout", 0..=VISIBILITY_S_MAX, &reason)?.unwrap_or(0))
}

pub async fn change_visibility(room: Arc<Queues>, cx: Context, input: ChangeMessageVisibilityRequest) -> Result<Empty> {
    let live = room.at(&cx, &input.queue_url).await?;
    room.change_visibility(&live, input.receipt_handle, seconds(input.visibility_timeout)?).await?;
    Ok(Empty {})
}

pub async fn change_visibility_batch(
    room: Arc<Queues>,
    cx: Context,
    input: ChangeMessageVisibilityBatchRequest,
) -> Result<ChangeMessageVisibilityBatchResult> {
    batch::check("ChangeMessageVisibilityBatchRequestEntry", input.entries.iter().map(|e| e.id.as_str()))?;
    let live = room.at(&cx, &input.queue_url).await?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in input.entries {
        let timeout = entry.visibility_timeout.map_or(Ok(live.queue().attributes.visibility_s), seconds);
        let outcome = match timeout {
            Ok(seconds) => room.change_visibility(&live, entry.receipt_handle, seconds).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => successful.push(ChangeMessageVisibilityBatchResultEntry { id: entry.id }),
            Err(error) => failed.push(failure(entry.id, &error)),
        }
    }
    Ok(ChangeMessageVisibilityBatchResult { successful, failed })
}
