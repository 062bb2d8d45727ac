//! The operations: the table, and what several of them share.

mod messages;
mod moves;
mod permissions;
mod queues;
mod receive;
mod settle;
#[rustfmt::skip]
mod shapes;
mod tags;

use crate::Queues;
use crate::error::{Error, Result};
use crate::live::Live;
use crate::model::message::{Attribute, Value};
use crate::model::name::{Named, shown};
use crate::receive::Received;
use base::port::Access;
use room::{Context, Table};
use std::collections::BTreeMap;
use std::sync::Arc;

pub use shapes::*;

/// A message is 1 MiB; as JSON or in a form it may be larger.
const SEND_BODY_BYTES_MAX: usize = 8 << 20;

/// An entry whose input has a `queue_url`.
macro_rules! on_queue {
    ($table:expr, $name:literal, $input:ty, $run:path) => {
        $table.op($name, |cx, i: &$input| on_url(cx, concat!("sqs:", $name), &i.queue_url), $run)
    };
}

/// Each operation, what it touches, and the function that does it.
pub fn table() -> Table<Queues> {
    let t = Table::new(&shapes::SERVICE)
        .op(
            "CreateQueue",
            |cx, i: &CreateQueueRequest| on_name(cx, "sqs:CreateQueue", &i.queue_name, None),
            queues::create,
        )
        .op(
            "GetQueueUrl",
            |cx, i: &GetQueueUrlRequest| {
                on_name(cx, "sqs:GetQueueUrl", &i.queue_name, i.queue_owner_aws_account_id.as_deref())
            },
            queues::url,
        )
        .op("ListQueues", |cx, _: &ListQueuesRequest| on_name(cx, "sqs:ListQueues", "", None), queues::list)
        .large_op(
            "SendMessage",
            SEND_BODY_BYTES_MAX,
            |cx, i: &SendMessageRequest| on_url(cx, "sqs:SendMessage", &i.queue_url),
            messages::send,
        )
        .large_op(
            "SendMessageBatch",
            SEND_BODY_BYTES_MAX,
            |cx, i: &SendMessageBatchRequest| on_url(cx, "sqs:SendMessage", &i.queue_url),
            messages::send_batch,
        )
        .op(
            "DeleteMessageBatch",
            |cx, i: &DeleteMessageBatchRequest| on_url(cx, "sqs:DeleteMessage", &i.queue_url),
            settle::delete_batch,
        )
        .op(
            "ChangeMessageVisibilityBatch",
            |cx, i: &ChangeMessageVisibilityBatchRequest| on_url(cx, "sqs:ChangeMessageVisibility", &i.queue_url),
            settle::change_visibility_batch,
        )
        .op(
            "StartMessageMoveTask",
            |_, i: &StartMessageMoveTaskRequest| on_arn("sqs:StartMessageMoveTask", &i.source_arn),
            moves::start,
        )
        .op(
            "CancelMessageMoveTask",
            |cx, i: &CancelMessageMoveTaskRequest| moves::on_task(cx, &i.task_handle),
            moves::cancel,
        )
        .op(
            "ListMessageMoveTasks",
            |_, i: &ListMessageMoveTasksRequest| on_arn("sqs:ListMessageMoveTasks", &i.source_arn),
            moves::list,
        );
    let t = on_queue!(t, "DeleteQueue", DeleteQueueRequest, queues::delete);
    let t = on_queue!(t, "PurgeQueue", PurgeQueueRequest, queues::purge);
    let t = on_queue!(t, "GetQueueAttributes", GetQueueAttributesRequest, queues::attributes);
    let t = on_queue!(t, "SetQueueAttributes", SetQueueAttributesRequest, queues::set_attributes);
    let t = on_queue!(t, "ListDeadLetterSourceQueues", ListDeadLetterSourceQueuesRequest, queues::list_sources);
    let t = on_queue!(t, "ReceiveMessage", ReceiveMessageRequest, receive::receive);
    let t = on_queue!(t, "DeleteMessage", DeleteMessageRequest, settle::delete);
    let t = on_queue!(t, "ChangeMessageVisibility", ChangeMessageVisibilityRequest, settle::change_visibility);
    let t = on_queue!(t, "TagQueue", TagQueueRequest, tags::tag);
    let t = on_queue!(t, "UntagQueue", UntagQueueRequest, tags::untag);
    let t = on_queue!(t, "ListQueueTags", ListQueueTagsRequest, tags::list);
    let t = on_queue!(t, "AddPermission", AddPermissionRequest, permissions::add);
    on_queue!(t, "RemovePermission", RemovePermissionRequest, permissions::remove)
}

fn on_arn(action: &str, resource: &str) -> Access {
    Access { action: action.to_owned(), resource: resource.to_owned() }
}

/// What a URL means; what is none will be refused, and is authorised until then as it is written.
fn on_url(cx: &Context, action: &str, url: &str) -> Access {
    match Named::of_url(cx.scope(), url) {
        Ok(named) => on_arn(action, &named.arn().to_string()),
        Err(_) => on_arn(action, url),
    }
}

fn on_name(cx: &Context, action: &str, name: &str, account: Option<&str>) -> Access {
    on_arn(action, &format!("arn:aws:sqs:{}:{}:{name}", cx.region(), account.unwrap_or(cx.account())))
}

impl Queues {
    /// The queue that a request's URL means.
    async fn at(&self, cx: &Context, url: &str) -> Result<Arc<Live>> {
        self.live(&Named::of_url(cx.scope(), url)?).await
    }

    /// The queue that an ARN means; `parameter` is where the request has it.
    async fn by_arn(&self, arn: &str, parameter: &str) -> Result<Arc<Live>> {
        let named = arn.parse().ok().and_then(|arn| Named::of_arn(&arn));
        let named = named.ok_or_else(|| Error::invalid(shown(arn), parameter, "Please check the ARN."))?;
        self.live(&named).await.map_err(|error| match error {
            Error::NoSuchQueue => {
                Error::NotFound(format!("The resource that you specified for the {parameter} parameter doesn't exist."))
            }
            other => other,
        })
    }
}

/// A number that must lie between two.
fn between(
    value: Option<i32>,
    parameter: &str,
    range: std::ops::RangeInclusive<u32>,
    reason: &str,
) -> Result<Option<u32>> {
    let check = |value: i32| {
        let number = u32::try_from(value).ok().filter(|n| range.contains(n));
        number.ok_or_else(|| Error::invalid(value, parameter, reason))
    };
    value.map(check).transpose()
}

/// From the API's form.
pub fn attribute_of(given: MessageAttributeValue) -> Result<Attribute> {
    if given.string_list_values.is_some_and(|l| !l.is_empty())
        || given.binary_list_values.is_some_and(|l| !l.is_empty())
    {
        return Err(Error::Unsupported("Message attribute list values are not supported.".into()));
    }
    let value = match (given.string_value, given.binary_value) {
        (Some(text), None) => Value::Text(text),
        (None, Some(bytes)) => Value::Bytes(bytes),
        (None, None) => Value::Text(String::new()),
        (Some(_), Some(_)) => {
            return Err(Error::Invalid("A message attribute has one value: StringValue or BinaryValue.".into()));
        }
    };
    Ok(Attribute { kind: given.data_type, value })
}

/// Attributes as their digest is made of.
pub fn described(attributes: &BTreeMap<String, Attribute>) -> impl Iterator<Item = (&str, &Attribute)> {
    attributes.iter().map(|(name, attribute)| (name.as_str(), attribute))
}

/// The system attributes of a received message that are wanted.
pub fn system_attributes(received: &Received, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    let head = &received.message.head;
    let number = || received.handle.place.sequence_number();
    let all = [
        ("SenderId", Some(head.sender.clone())),
        ("SentTimestamp", Some(head.sent.to_string())),
        ("ApproximateReceiveCount", Some(received.receives().to_string())),
        ("ApproximateFirstReceiveTimestamp", Some(received.held.first_received.to_string())),
        ("AWSTraceHeader", head.trace.clone()),
        ("DeadLetterQueueSourceArn", head.source.clone()),
        ("MessageGroupId", head.group.clone()),
        ("MessageDeduplicationId", head.dedup.clone()),
        // Only a FIFO queue's messages have a deduplication id, and a number.
        ("SequenceNumber", head.dedup.as_ref().map(|_| number())),
    ];
    let given = all.into_iter().filter(|(name, _)| wanted(name));
    given.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
