//! Publish and PublishBatch.

use super::*;
use crate::model::message::{BATCH_MAX, BYTES_MAX, Message};
use crate::publish::Accepted;
use ::store::Tx;
use base::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is published to: a topic, under either name.
pub fn target(input: &PublishInput) -> Option<&str> {
    input.topic_arn.as_deref().or(input.target_arn.as_deref())
}

/// A message as it is given, alone or in a batch.
struct Given {
    body: String,
    subject: Option<String>,
    structure: Option<String>,
    attributes: Option<BTreeMap<String, MessageAttributeValue>>,
    dedup: Option<String>,
    group: Option<String>,
    trace: Option<String>,
}

impl Given {
    fn message(self, id: String, at: Timestamp) -> Result<Message> {
        let mut attributes = BTreeMap::new();
        for (name, value) in self.attributes.unwrap_or_default() {
            attributes.insert(name, attribute_of(value)?);
        }
        let Self { body, subject, group, dedup, trace, .. } = self;
        let mut message = Message { id, at, subject, body, attributes, group, dedup, trace, ..Message::default() };
        message.check()?;
        match self.structure.as_deref() {
            None => {}
            Some("json") => message.structured()?,
            Some(_) => return Err(Error::invalid("MessageStructure")),
        }
        Ok(message)
    }
}

pub async fn one(room: Arc<Topics>, cx: Context, input: PublishInput) -> Result<PublishResponse> {
    if input.phone_number.is_some() {
        return Err(Error::lacking("messages to phones, PhoneNumber,"));
    }
    let arn = target(&input)
        .ok_or_else(|| Error::Invalid("TopicArn or TargetArn Reason: no value for required parameter".into()))?;
    if arn.contains(":endpoint/") {
        return Err(Error::lacking("messages to mobile endpoints"));
    }
    let named = Named::of_topic(arn)?;
    let given = Given {
        body: input.message,
        subject: input.subject,
        structure: input.message_structure,
        attributes: input.message_attributes,
        dedup: input.message_deduplication_id,
        group: input.message_group_id,
        trace: cx.lineage().map(str::to_owned),
    };
    let message = given.message(room.entropy.uuid(), room.clock.now())?;
    let accepted = room.publish(&named, vec![message]).await?.pop();
    let Accepted { id, sequence } = accepted.expect("one for each message");
    Ok(PublishResponse { message_id: Some(id), sequence_number: sequence.map(crate::notice::sequence_text) })
}

pub async fn batch(room: Arc<Topics>, cx: Context, input: PublishBatchInput) -> Result<PublishBatchResponse> {
    let named = Named::of_topic(&input.topic_arn)?;
    let entries = input.publish_batch_request_entries;
    check_entries(&entries)?;
    let compiled = room.store.transact(async |tx: Tx| room.compiled(&tx, &named).await).await?;
    let (mut ids, mut messages, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        let given = Given {
            body: entry.message,
            subject: entry.subject,
            structure: entry.message_structure,
            attributes: entry.message_attributes,
            dedup: entry.message_deduplication_id,
            group: entry.message_group_id,
            trace: cx.lineage().map(str::to_owned),
        };
        let message = given.message(room.entropy.uuid(), room.clock.now());
        match message.and_then(|message| Topics::check_kind(&compiled, &message).map(|()| message)) {
            Ok(message) => {
                ids.push(entry.id);
                messages.push(message);
            }
            Err(error) => failed.push(BatchResultErrorEntry {
                id: entry.id,
                code: error.code().to_owned(),
                message: Some(error.to_string()),
                sender_fault: error.sender_fault(),
            }),
        }
    }
    if messages.iter().map(Message::bytes).sum::<usize>() > BYTES_MAX {
        return Err(Error::BatchTooLong);
    }
    let accepted = if messages.is_empty() { Vec::new() } else { room.publish(&named, messages).await? };
    let shape = |(id, accepted): (String, Accepted)| PublishBatchResultEntry {
        id: Some(id),
        message_id: Some(accepted.id),
        sequence_number: accepted.sequence.map(crate::notice::sequence_text),
    };
    Ok(PublishBatchResponse {
        successful: Some(ids.into_iter().zip(accepted).map(shape).collect()),
        failed: Some(failed),
    })
}

fn check_entries(entries: &[PublishBatchRequestEntry]) -> Result<()> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if entries.is_empty() {
        return Err(Error::EmptyBatch);
    }
    if entries.len() > BATCH_MAX {
        return Err(Error::TooManyEntries);
    }
    for (at, entry) in entries.iter().enumerate() {
        if !(1..=80).contains(&entry.id.len()) || !entry.id.bytes().all(legal) {
            return Err(Error::EntryId);
        }
        if entries[..at].iter().any(|other| other.id == entry.id) {
            return Err(Error::NotDistinct);
        }
    }
    if entries.iter().map(|entry| entry.message.len()).sum::<usize>() > BYTES_MAX {
        return Err(Error::BatchTooLong);
    }
    Ok(())
}
