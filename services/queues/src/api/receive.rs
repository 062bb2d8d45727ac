//! ReceiveMessage.

use super::*;
use crate::model::attributes::{VISIBILITY_S_MAX, WAIT_S_MAX};
use crate::model::{digest, message};
use crate::receive::Ask;
use std::time::Duration;

const SYSTEM: [&str; 10] = [
    "All",
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
];
const NAMES_MAX: usize = 100;

pub async fn receive(room: Arc<Queues>, cx: Context, input: ReceiveMessageRequest) -> Result<ReceiveMessageResult> {
    let live = room.at(&cx, &input.queue_url).await?;
    let queue = live.queue();
    let max = "Must be between 1 and 10, if provided.";
    let max = between(input.max_number_of_messages, "MaxNumberOfMessages", 1..=10, max)?.unwrap_or(1);
    let seconds = |range: u32| format!("Must be >= 0 and <= {range}, if provided.");
    let wait = between(input.wait_time_seconds, "WaitTimeSeconds", 0..=WAIT_S_MAX, &seconds(WAIT_S_MAX))?;
    let visibility_s =
        between(input.visibility_timeout, "VisibilityTimeout", 0..=VISIBILITY_S_MAX, &seconds(VISIBILITY_S_MAX))?;
    if let Some(id) = &input.receive_request_attempt_id {
        if !queue.attributes.fifo {
            let why = "The request includes a parameter that is not valid for this queue type.";
            return Err(Error::invalid(shown(id), "ReceiveRequestAttemptId", why));
        }
        message::check_id("ReceiveRequestAttemptId", id)?;
    }
    let mut system = input.message_system_attribute_names.unwrap_or_default();
    system.extend(input.attribute_names.unwrap_or_default());
    if let Some(unknown) = system.iter().find(|n| !SYSTEM.contains(&n.as_str())) {
        return Err(Error::AttributeName(shown(unknown)));
    }
    let names = input.message_attribute_names.unwrap_or_default();
    if names.len() > NAMES_MAX {
        return Err(Error::invalid(names.len(), "MessageAttributeName", "Too many names."));
    }
    let ask = Ask { max: max as usize, visibility_s, attempt: input.receive_request_attempt_id };
    let wait = Duration::from_secs(u64::from(wait.unwrap_or(queue.attributes.wait_s)));
    let received = room.receive(&live, &ask, Some(wait)).await?;
    let messages: Vec<Message> = received.into_iter().map(|r| shape(r, &system, &names)).collect();
    Ok(ReceiveMessageResult { messages: (!messages.is_empty()).then_some(messages) })
}

/// Is an attribute asked for: by its name, by the start of it (`foo.*`), or with all?
fn is_named(names: &[String], name: &str) -> bool {
    names.iter().any(|wanted| match wanted.strip_suffix(".*").or(wanted.strip_suffix('*')) {
        Some(start) => name.starts_with(start),
        None => wanted == "All" || wanted == name,
    })
}

fn shape(received: Received, system: &[String], names: &[String]) -> Message {
    let system = system_attributes(&received, |name| system.iter().any(|s| s == "All" || s == name));
    let crate::model::message::Message { head, body } = received.message;
    let attributes: BTreeMap<_, _> = head.attributes.into_iter().filter(|(name, _)| is_named(names, name)).collect();
    Message {
        message_id: Some(head.id),
        receipt_handle: Some(received.handle.text()),
        md5_of_body: Some(digest::of_body(&body)),
        body: Some(body),
        attributes: (!system.is_empty()).then_some(system),
        md5_of_message_attributes: digest::of_attributes(described(&attributes)),
        message_attributes: (!attributes.is_empty())
            .then(|| attributes.into_iter().map(|(name, a)| (name, value(a))).collect()),
    }
}

fn value(attribute: Attribute) -> MessageAttributeValue {
    let (string_value, binary_value) = match attribute.value {
        Value::Text(text) => (Some(text), None),
        Value::Bytes(bytes) => (None, Some(bytes)),
    };
    MessageAttributeValue { string_value, binary_value, data_type: attribute.kind, ..Default::default() }
}
