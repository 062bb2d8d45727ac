//! SendMessage and its batch.

use super::*;
use crate::model::attributes::DELAY_S_MAX;
use crate::model::message::{BATCH_BYTES_MAX, Head, Message};
use crate::model::queue::Queue;
use crate::model::{batch, digest};
use crate::send::{Draft, check_kind};

/// A message as both operations ask for it.
struct Asked {
    body: String,
    delay_s: Option<i32>,
    attributes: Option<BTreeMap<String, MessageAttributeValue>>,
    system: Option<BTreeMap<String, MessageSystemAttributeValue>>,
    dedup: Option<String>,
    group: Option<String>,
}

/// What its sender is told besides ids.
struct Sums {
    body: String,
    attributes: Option<String>,
    system: Option<String>,
}

impl Queues {
    fn drafted(&self, cx: &Context, queue: &Queue, asked: Asked) -> Result<(Draft, Sums)> {
        let reason = format!("DelaySeconds must be >= 0 and <= {DELAY_S_MAX}.");
        let delay_s = between(asked.delay_s, "DelaySeconds", 0..=DELAY_S_MAX, &reason)?;
        let attributes = asked.attributes.unwrap_or_default();
        let attributes = attributes.into_iter().map(|(name, value)| Ok((name, attribute_of(value)?)));
        let trace = trace(asked.system.unwrap_or_default())?;
        let head = Head {
            id: self.entropy.uuid(),
            sent: self.now(),
            sender: cx.account().to_owned(),
            group: asked.group,
            dedup: asked.dedup,
            attributes: attributes.collect::<Result<_>>()?,
            ..Head::default()
        };
        let mut message = Message { head, body: asked.body };
        message.check(&queue.attributes)?;
        check_kind(queue.attributes.fifo, &message, queue.attributes.content_dedup, delay_s)?;
        if queue.attributes.fifo && message.head.dedup.is_none() {
            message.head.dedup = Some(digest::content_id(&message.body));
        }
        let sums = Sums {
            body: digest::of_body(&message.body),
            attributes: digest::of_attributes(described(&message.head.attributes)),
            system: trace.as_ref().and_then(|t| digest::of_attributes([("AWSTraceHeader", t)])),
        };
        let given = trace.and_then(|t| match t.value {
            Value::Text(text) => Some(text),
            Value::Bytes(_) => None,
        });
        message.head.trace = given.or_else(|| cx.lineage().map(str::to_owned));
        Ok((Draft { message, delay_s: delay_s.filter(|_| !queue.attributes.fifo) }, sums))
    }
}

/// The one system attribute that a sender may set.
fn trace(system: BTreeMap<String, MessageSystemAttributeValue>) -> Result<Option<Attribute>> {
    let mut trace = None;
    for (name, value) in system {
        let text = value.string_value.filter(|t| !t.is_empty());
        match (name.as_str(), value.data_type.as_str(), text) {
            ("AWSTraceHeader", "String", Some(text)) => {
                trace = Some(Attribute { kind: value.data_type, value: Value::Text(text) });
            }
            ("AWSTraceHeader", ..) => {
                return Err(Error::Invalid(
                    "The message system attribute 'AWSTraceHeader' must be of type String.".into(),
                ));
            }
            (other, ..) => {
                let other = shown(other);
                return Err(Error::Invalid(format!("Message system attribute name '{other}' is invalid.")));
            }
        }
    }
    Ok(trace)
}

pub async fn send(room: Arc<Queues>, cx: Context, input: SendMessageRequest) -> Result<SendMessageResult> {
    let live = room.at(&cx, &input.queue_url).await?;
    let asked = Asked {
        body: input.message_body,
        delay_s: input.delay_seconds,
        attributes: input.message_attributes,
        system: input.message_system_attributes,
        dedup: input.message_deduplication_id,
        group: input.message_group_id,
    };
    let (draft, sums) = room.drafted(&cx, &live.queue(), asked)?;
    let mut sent = room.send(live, vec![draft]).await?;
    let sent = sent.pop();
    Ok(SendMessageResult {
        md5_of_message_body: Some(sums.body),
        md5_of_message_attributes: sums.attributes,
        md5_of_message_system_attributes: sums.system,
        sequence_number: sent.as_ref().and_then(|s| s.sequence_number.clone()),
        message_id: sent.map(|s| s.id),
    })
}

pub async fn send_batch(
    room: Arc<Queues>,
    cx: Context,
    input: SendMessageBatchRequest,
) -> Result<SendMessageBatchResult> {
    batch::check("SendMessageBatchRequestEntry", input.entries.iter().map(|e| e.id.as_str()))?;
    let live = room.at(&cx, &input.queue_url).await?;
    let queue = live.queue();
    let (mut drafts, mut sums, mut failed, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for entry in input.entries {
        let asked = Asked {
            body: entry.message_body,
            delay_s: entry.delay_seconds,
            attributes: entry.message_attributes,
            system: entry.message_system_attributes,
            dedup: entry.message_deduplication_id,
            group: entry.message_group_id,
        };
        bytes += asked.body.len();
        match room.drafted(&cx, &queue, asked) {
            Ok((draft, sum)) => {
                bytes += draft.message.bytes() - draft.message.body.len();
                drafts.push(draft);
                sums.push((entry.id, sum));
            }
            Err(error) => failed.push(failure(entry.id, &error)),
        }
    }
    if bytes > BATCH_BYTES_MAX {
        return Err(Error::BatchTooLong { sent: bytes, max: BATCH_BYTES_MAX });
    }
    let sent = if drafts.is_empty() { Vec::new() } else { room.send(live, drafts).await? };
    let successful = sent.into_iter().zip(sums).map(|(sent, (id, sums))| SendMessageBatchResultEntry {
        id,
        message_id: sent.id,
        md5_of_message_body: sums.body,
        md5_of_message_attributes: sums.attributes,
        md5_of_message_system_attributes: sums.system,
        sequence_number: sent.sequence_number,
    });
    Ok(SendMessageBatchResult { successful: successful.collect(), failed })
}

pub fn failure(id: String, error: &Error) -> BatchResultErrorEntry {
    let code = SERVICE.query.as_ref().map_or(error.code(), |q| q.code(error.code()));
    BatchResultErrorEntry {
        id,
        sender_fault: error.sender_fault(),
        code: code.to_owned(),
        message: Some(error.to_string()),
    }
}
