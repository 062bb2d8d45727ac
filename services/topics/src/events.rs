//! Events that come here: those that other rooms send to a topic, each a message, and those of our own that are for
//! endpoints, go on with a message that has many subscribers, or tell what became of one.
//!
//! The body is the event's payload. Attributes of the event that this room reads, each optional: `Subject`,
//! `MessageGroupId`, `MessageDeduplicationId` and `AWSTraceHeader` (texts); `MessageAttributes` and `RawBody` as queues
//! read them.

use crate::Topics;
use crate::error::{Error, Result};
use crate::feedback::RECEIPT;
use crate::model::name::Named;
use crate::model::policy;
use crate::publish::{AFTER, of_event};
use ::store::Tx;
use async_trait::async_trait;
use base::port::{Denied, Target};
use base::{Arn, Event, Source, Verdict};
use std::time::Duration;

/// Before an event is tried again that storage did not take: doubled up to the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Groups of events for a FIFO topic that name none.
const GROUP: &str = "events";

#[async_trait]
impl Target for Topics {
    async fn accepts(&self, target: &Arn, from: &Source) -> std::result::Result<(), Denied> {
        match Named::of_arn(target) {
            Some((named, None)) => {
                let topic = self.topic(&named).await.map_err(|why| Denied(format!("{why}: {target}")))?;
                policy::may_publish(topic.policy.as_ref(), &named, from)
            }
            // Endpoints are there for this room's own events, whose subscription may have gone.
            Some((named, Some(id))) => match self.subscription(&named, id).await {
                Ok(_) => Ok(()),
                Err(why) => Err(Denied(format!("{why}: {target}"))),
            },
            None => Err(Denied(format!("Topic does not exist: {target}"))),
        }
    }

    async fn deliver(&self, event: &Event, attempt: u32) -> Verdict {
        let done = match Named::of_arn(&event.target) {
            None => Err(Failure::Never(format!("Topic does not exist: {}", event.target))),
            Some((named, Some(_))) if event.attributes.contains_key(RECEIPT) => return self.told(&named, event),
            Some((named, Some(id))) => return self.post(&named, id, event, attempt).await,
            Some((named, None)) => self.spread(&named, event).await,
        };
        match done {
            Ok(then) => Verdict::Over { failure: None, then },
            Err(Failure::Never(reason)) => Verdict::Dead { reason },
            Err(Failure::Store(error)) => Verdict::Retry { after: pause(attempt), reason: error.to_string() },
        }
    }

    /// The delivery policies of endpoints are theirs.
    fn patient(&self, target: &Arn) -> bool {
        Named::of_arn(target).is_some_and(|(_, id)| id.is_some())
    }
}

pub fn pause(attempt: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1 << attempt.min(10)).min(PAUSE_MAX)
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

impl Topics {
    /// What follows from an event for a topic.
    async fn spread(&self, named: &Named, event: &Event) -> Result<Vec<Event>, Failure> {
        let after = event.attributes.get(AFTER).and_then(|after| after.as_str());
        let mut message = match after {
            Some(_) => serde_json::from_str(event.payload.get()).map_err(|why| why.to_string()),
            None => of_event(event, self.clock.now()),
        }
        .map_err(Failure::Never)?;
        let topic = self.topic(named).await?;
        if after.is_none() {
            // A permission may have been taken away since the event was made.
            policy::may_publish(topic.policy.as_ref(), named, &event.source)
                .map_err(|denied| Failure::Never(denied.0))?;
        }
        if topic.fifo {
            message.group.get_or_insert_with(|| GROUP.into());
            if !topic.is("ContentBasedDeduplication", "true") {
                message.dedup.get_or_insert_with(|| event.id.clone());
            }
            message.check()?;
            // Numbers are given in a transaction of this room's; when it is delivered again, the topic knows it again.
            self.publish(named, vec![message]).await?;
            return Ok(Vec::new());
        }
        message.dedup = None;
        message.check()?;
        let compiled = self.store.transact(async |tx: Tx| self.compiled(&tx, named).await).await?;
        Ok(self.events(named, &compiled, &message, after).await?)
    }
}
