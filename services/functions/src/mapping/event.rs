//! The event that a function gets of a batch, and what its answer says of it.

use base::{Arn, QueuedMessage};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The largest event, in bytes: what Invoke takes.
const EVENT_BYTES_MAX: usize = crate::model::PAYLOAD_BYTES_MAX;

/// A message as the documentation shows it ("Using Lambda with Amazon SQS", example event).
pub fn record(message: &QueuedMessage, queue: &Arn) -> Value {
    let mut record = json!({
        "messageId": message.id,
        "receiptHandle": message.handle,
        "body": message.body,
        "attributes": message.attributes,
        "messageAttributes": message.message_attributes,
        "md5OfBody": message.body_md5,
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.to_string(),
        "awsRegion": queue.region,
    });
    if let Some(sum) = &message.message_attributes_md5 {
        record["md5OfMessageAttributes"] = sum.as_str().into();
    }
    record
}

/// A batch and its event.
pub struct Batch {
    pub messages: Vec<QueuedMessage>,
    pub event: Bytes,
}

impl Batch {
    /// The trace of the message that has come through functions most often.
    pub fn trace(&self) -> Option<&str> {
        let traces = self.messages.iter().filter_map(|message| message.attributes.get("AWSTraceHeader"));
        traces.map(String::as_str).max_by_key(|trace| crate::lineage::longest(trace))
    }
}

/// Messages in events of a size that functions take, in order.
pub fn batches(messages: Vec<QueuedMessage>, queue: &Arn) -> Vec<Batch> {
    const FRAME: (&[u8], &[u8]) = (b"{\"Records\":[", b"]}");
    let mut batches = Vec::new();
    let (mut within, mut event): (Vec<QueuedMessage>, Vec<u8>) = (Vec::new(), FRAME.0.to_vec());
    for message in messages {
        let record = record(&message, queue).to_string();
        if !within.is_empty() && event.len() + record.len() + 1 + FRAME.1.len() > EVENT_BYTES_MAX {
            event.extend(FRAME.1);
            batches.push(Batch { messages: std::mem::take(&mut within), event: event.into() });
            event = FRAME.0.to_vec();
        }
        if !within.is_empty() {
            event.push(b',');
        }
        event.extend(record.as_bytes());
        within.push(message);
    }
    if !within.is_empty() {
        event.extend(FRAME.1);
        batches.push(Batch { messages: within, event: event.into() });
    }
    batches
}

/// Which messages the function says it could not handle (`ReportBatchItemFailures`). `None`: its answer makes no sense,
/// and so all of them.
pub fn failures(answer: &[u8], messages: &[QueuedMessage]) -> Option<BTreeSet<String>> {
    if answer.iter().all(u8::is_ascii_whitespace) {
        return Some(BTreeSet::new());
    }
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let failures = match (&answer, answer.get("batchItemFailures")) {
        (Value::Null, _) | (Value::Object(_), None | Some(Value::Null)) => return Some(BTreeSet::new()),
        (Value::String(text), _) if text.is_empty() => return Some(BTreeSet::new()),
        (_, Some(Value::Array(failures))) => failures,
        _ => return None,
    };
    let known = |id: &str| messages.iter().any(|m| m.id == id);
    let one = |failure: &Value| failure.get("itemIdentifier")?.as_str().filter(|id| known(id)).map(str::to_owned);
    failures.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, body: &str) -> QueuedMessage {
        QueuedMessage {
            id: id.into(),
            handle: "h".into(),
            body: body.into(),
            body_md5: "m".into(),
            attributes: [("SentTimestamp".to_owned(), "1".to_owned())].into(),
            message_attributes: serde_json::Map::new(),
            message_attributes_md5: None,
        }
    }

    fn queue() -> Arn {
        "arn:aws:sqs:us-east-1:000000000000:q".parse().expect("an ARN")
    }

    #[test]
    fn an_event() {
        let batches = batches(vec![message("a", "\"1\""), message("b", "2")], &queue());
        assert_eq!(batches.len(), 1);
        let event: Value = serde_json::from_slice(&batches[0].event).expect("JSON");
        let expect = json!({
            "messageId": "a", "receiptHandle": "h", "body": "\"1\"", "attributes": {"SentTimestamp": "1"},
            "messageAttributes": {}, "md5OfBody": "m", "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:q", "awsRegion": "us-east-1",
        });
        assert_eq!((&event["Records"][0], event["Records"].as_array().map(Vec::len)), (&expect, Some(2)));
    }

    #[test]
    fn large_batches_are_cut() {
        let large = "x".repeat(1 << 20);
        let batches = batches((0..10).map(|n| message(&n.to_string(), &large)).collect(), &queue());
        let ids: Vec<&str> = batches.iter().flat_map(|b| &b.messages).map(|m| m.id.as_str()).collect();
        assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        assert!(batches.len() >= 2 && batches.iter().all(|b| b.event.len() <= EVENT_BYTES_MAX));
        batches.iter().for_each(|b| drop(serde_json::from_slice::<Value>(&b.event).expect("JSON")));
    }

    #[test]
    fn answers() {
        let messages = [message("a", ""), message("b", "")];
        let failures = |answer: &str| failures(answer.as_bytes(), &messages).map(|f| f.into_iter().collect::<Vec<_>>());
        for all_well in ["", "null", "\"\"", "{}", r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":null}"#] {
            assert_eq!(failures(all_well), Some(vec![]), "{all_well}");
        }
        assert_eq!(failures(r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#), Some(vec!["b".to_owned()]));
        for nonsense in [
            "x",
            "\"fine\"",
            r#"{"batchItemFailures":"b"}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
            r#"{"batchItemFailures":[{"id":"b"}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"c"}]}"#,
        ] {
            assert_eq!(failures(nonsense), None, "{nonsense}");
        }
    }
}
