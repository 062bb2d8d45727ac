//! Move tasks.

use super::*;
use crate::model::queue::Queue;
use crate::store::{self, MoveTask, Status};
use ::store::record::decode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

const RATE_MAX: u32 = 500;
const LIST_MAX: u32 = 10;
const SCAN: usize = 500;

/// Opaque to clients: the source queue and the task's id.
fn handle(task: &MoveTask) -> String {
    let source = Named { scope: task.scope.clone(), name: task.source.clone() }.arn().to_string();
    STANDARD.encode(json!({"taskId": task.id, "sourceArn": source}).to_string())
}

fn parse(handle: &str) -> Option<(Named, String)> {
    let value: serde_json::Value = serde_json::from_slice(&STANDARD.decode(handle).ok()?).ok()?;
    let source = Named::of_arn(&value["sourceArn"].as_str()?.parse().ok()?)?;
    Some((source, value["taskId"].as_str()?.to_owned()))
}

pub fn on_task(cx: &Context, handle: &str) -> Access {
    match parse(handle) {
        Some((source, _)) => on_arn("sqs:CancelMessageMoveTask", &source.arn().to_string()),
        None => on_name(cx, "sqs:CancelMessageMoveTask", "", None),
    }
}

pub async fn start(
    room: Arc<Queues>,
    cx: Context,
    input: StartMessageMoveTaskRequest,
) -> Result<StartMessageMoveTaskResult> {
    let source = room.by_arn(&input.source_arn, "SourceArn").await?;
    let reason = format!("Must be between 1 and {RATE_MAX}, if provided.");
    let per_second =
        between(input.max_number_of_messages_per_second, "MaxNumberOfMessagesPerSecond", 1..=RATE_MAX, &reason)?;
    let queue = source.queue();
    if !room.is_dead_letter_queue(&queue).await? {
        return Err(Error::Invalid("Source queue must be configured as a Dead Letter Queue.".into()));
    }
    if let Some(to) = &input.destination_arn {
        let to = room.by_arn(to, "DestinationArn").await?.queue();
        if to.id == queue.id {
            return Err(Error::Invalid("Source queue arn and destination queue arn cannot be the same.".into()));
        }
        if to.attributes.fifo != queue.attributes.fifo {
            return Err(Error::Invalid("Source and destination queues must be of the same type.".into()));
        }
    }
    let task = MoveTask {
        id: room.entropy.uuid(),
        scope: cx.scope().clone(),
        source: queue.named.name.clone(),
        destination: input.destination_arn,
        per_second,
        started: room.clock.now(),
        moved: 0,
        to_move: room.counts(&source).await?.visible,
        status: Status::Running,
        failure: None,
    };
    let task_handle = Some(handle(&task));
    room.start_task(task).await?;
    Ok(StartMessageMoveTaskResult { task_handle })
}

impl Queues {
    async fn is_dead_letter_queue(&self, queue: &Queue) -> Result<bool> {
        let (all, arn) = (store::queues(&queue.named.scope), queue.named.arn());
        let mut from = all.as_bytes().to_vec();
        loop {
            let items = self.store.scan(&from, &all.end(), SCAN).await?;
            for item in &items {
                let other: Queue = decode(&item.value).map_err(Error::from)?;
                if other.attributes.redrive.is_some_and(|r| r.target == arn) {
                    return Ok(true);
                }
            }
            let Some(last) = items.last().filter(|_| items.len() == SCAN) else { return Ok(false) };
            from = [&last.key[..], &[0]].concat();
        }
    }
}

pub async fn cancel(
    room: Arc<Queues>,
    _: Context,
    input: CancelMessageMoveTaskRequest,
) -> Result<CancelMessageMoveTaskResult> {
    let bad = || Error::invalid(shown(&input.task_handle), "TaskHandle", "The task handle is not valid.");
    let (source, id) = parse(&input.task_handle).ok_or_else(bad)?;
    let moved = room.cancel_task(&source, &id).await?;
    Ok(CancelMessageMoveTaskResult { approximate_number_of_messages_moved: Some(moved as i64) })
}

pub async fn list(
    room: Arc<Queues>,
    _: Context,
    input: ListMessageMoveTasksRequest,
) -> Result<ListMessageMoveTasksResult> {
    let source = room.by_arn(&input.source_arn, "SourceArn").await?;
    let reason = format!("Must be between 1 and {LIST_MAX}, if provided.");
    let limit = between(input.max_results, "MaxResults", 1..=LIST_MAX, &reason)?.unwrap_or(1);
    let tasks = room.tasks_of(&source.queue().named, limit as usize).await?;
    let results: Vec<_> = tasks.iter().map(|task| shape(task, &input.source_arn)).collect();
    Ok(ListMessageMoveTasksResult { results: (!results.is_empty()).then_some(results) })
}

fn shape(task: &MoveTask, source: &str) -> ListMessageMoveTasksResultEntry {
    ListMessageMoveTasksResultEntry {
        // Only a running task can be cancelled.
        task_handle: (task.status == Status::Running).then(|| handle(task)),
        status: Some(task.status.word().into()),
        source_arn: Some(source.to_owned()),
        destination_arn: task.destination.clone(),
        max_number_of_messages_per_second: task.per_second.map(|n| n as i32),
        approximate_number_of_messages_moved: Some(task.moved as i64),
        approximate_number_of_messages_to_move: Some(task.to_move as i64),
        failure_reason: task.failure.clone(),
        started_timestamp: Some(task.started.millis() as i64),
    }
}
