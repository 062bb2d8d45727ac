//! Events that queues receive from other rooms: each becomes a message.
//!
//! The body is the event's payload. Attributes of the event that this room reads, each optional:
//! `MessageGroupId`, `MessageDeduplicationId` and `AWSTraceHeader` (texts); `MessageAttributes` (by name, each
//! `{"DataType", "StringValue" or "BinaryValue" (base64)}`); `RawBody` (`true`: the payload is a JSON text, and what it
//! says is the body). A FIFO queue takes the event's id for the deduplication id where there is none, so that an event
//! that is delivered twice is one message.

use crate::Queues;
use crate::api::attribute_of;
use crate::error::Error;
use crate::live::Live;
use crate::model::digest;
use crate::model::message::{Head, Message};
use crate::model::name::Named;
use crate::model::policy;
use crate::send::{Draft, check_kind};
use async_trait::async_trait;
use base::port::{Denied, Target};
use base::{Arn, Event, Source, Verdict};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Before an event is tried again that storage did not take: doubled up to the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Groups of events for a FIFO queue that name none.
const GROUP: &str = "events";

#[async_trait]
impl Target for Queues {
    async fn accepts(&self, target: &Arn, from: &Source) -> Result<(), Denied> {
        let absent = || Denied(format!("The specified queue does not exist: {target}"));
        let named = Named::of_arn(target).ok_or_else(absent)?;
        let live = self.live(&named).await.map_err(|e| match e {
            Error::NoSuchQueue => absent(),
            other => Denied(other.to_string()),
        })?;
        let queue = live.queue();
        policy::may_send(queue.policy.as_ref(), &named, from)
    }

    async fn deliver(&self, event: &Event, attempt: u32) -> Verdict {
        match self.attempt(event).await {
            Ok(()) => Verdict::Done,
            Err(Failure::Store(error)) => {
                let after = PAUSE_MIN.saturating_mul(1 << attempt.min(10)).min(PAUSE_MAX);
                Verdict::Retry { after, reason: error.to_string() }
            }
            Err(Failure::Never(reason)) => Verdict::Dead { reason },
        }
    }
}

enum Failure {
    Store(Error),
    Never(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(_) => Self::Store(error),
            other => Self::Never(other.to_string()),
        }
    }
}

impl Queues {
    async fn attempt(&self, event: &Event) -> Result<(), Failure> {
        let absent = || Failure::Never(format!("The specified queue does not exist: {}", event.target));
        let named = Named::of_arn(&event.target).ok_or_else(absent)?;
        let live = self.live(&named).await?;
        let queue = live.queue();
        // A permission may have been taken away since the event was made.
        policy::may_send(queue.policy.as_ref(), &named, &event.source).map_err(|denied| Failure::Never(denied.0))?;
        let draft = self.draft(&live, event)?;
        self.send(live, vec![draft]).await?;
        Ok(())
    }

    fn draft(&self, live: &Arc<Live>, event: &Event) -> Result<Draft, Failure> {
        let queue = live.queue();
        let text = |name: &str| event.attributes.get(name).and_then(|v| v.as_str()).map(str::to_owned);
        let raw = event.attributes.get("RawBody").is_some_and(|v| v == &serde_json::Value::Bool(true));
        let body = match raw {
            true => serde_json::from_str(event.payload.get()).map_err(|e| Failure::Never(e.to_string()))?,
            false => event.payload.get().to_owned(),
        };
        let mut attributes = BTreeMap::new();
        if let Some(given) = event.attributes.get("MessageAttributes") {
            let given: BTreeMap<String, crate::api::MessageAttributeValue> =
                serde_json::from_value(given.clone()).map_err(|e| Failure::Never(e.to_string()))?;
            for (name, value) in given {
                attributes.insert(name, attribute_of(value)?);
            }
        }
        let mut head = Head {
            id: self.entropy.uuid(),
            sent: self.now(),
            sender: event.source.service.clone().unwrap_or_else(|| event.source.account.clone()),
            group: text("MessageGroupId"),
            dedup: text("MessageDeduplicationId"),
            trace: text("AWSTraceHeader"),
            attributes,
            ..Head::default()
        };
        if queue.attributes.fifo {
            head.group.get_or_insert_with(|| GROUP.into());
            let own = if queue.attributes.content_dedup { digest::content_id(&body) } else { event.id.clone() };
            head.dedup.get_or_insert(own);
        } else {
            head.dedup = None;
        }
        let message = Message { head, body };
        message.check(&queue.attributes)?;
        check_kind(queue.attributes.fifo, &message, queue.attributes.content_dedup, None)?;
        Ok(Draft { message, delay_s: None })
    }
}
