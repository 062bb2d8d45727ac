//! The queues as other rooms read them: [`QueueReader`].

use crate::Queues;
use crate::api::{described, system_attributes};
use crate::error::Error;
use crate::live::Live;
use crate::model::digest;
use crate::model::message::{Attribute, Value};
use crate::model::name::Named;
use crate::receive::{Ask, Received};
use async_trait::async_trait;
use base::port::QueueReader;
use base::{Arn, QueueError, QueueFacts, QueuedMessage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

#[async_trait]
impl QueueReader for Queues {
    async fn facts(&self, queue: &Arn) -> Result<QueueFacts, QueueError> {
        let queue = self.named(queue).await?.queue();
        let visibility = Duration::from_secs(queue.attributes.visibility_s.into());
        let redrives = queue.attributes.redrive.is_some();
        Ok(QueueFacts { fifo: queue.attributes.fifo, visibility, redrives })
    }

    async fn receive(&self, queue: &Arn, max: usize, wait: Option<Duration>) -> Result<Vec<QueuedMessage>, QueueError> {
        let live = self.named(queue).await?;
        let ask = Ask { max, visibility_s: None, attempt: None };
        let received = Queues::receive(self, &live, &ask, wait).await?;
        Ok(received.into_iter().map(queued).collect())
    }

    async fn delete(&self, queue: &Arn, handles: Vec<String>) -> Result<(), QueueError> {
        let live = self.named(queue).await?;
        Queues::delete(self, &live, handles).await?;
        Ok(())
    }

    async fn give_back(&self, queue: &Arn, handles: Vec<String>, after: Duration) -> Result<(), QueueError> {
        let live = self.named(queue).await?;
        for handle in handles {
            match self.change_visibility(&live, handle, after.as_secs().min(43_200) as u32).await {
                Err(Error::Store(error)) => return Err(Error::Store(error).into()),
                // It is no longer in flight.
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

impl Queues {
    async fn named(&self, arn: &Arn) -> Result<Arc<Live>, QueueError> {
        let named = Named::of_arn(arn).ok_or(QueueError::NoSuchQueue)?;
        Ok(self.live(&named).await?)
    }
}

impl From<Error> for QueueError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchQueue => Self::NoSuchQueue,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

fn queued(received: Received) -> QueuedMessage {
    let attributes = system_attributes(&received, |_| true);
    let head = &received.message.head;
    QueuedMessage {
        id: head.id.clone(),
        handle: received.handle.text(),
        body_md5: digest::of_body(&received.message.body),
        message_attributes: head.attributes.iter().map(|(name, a)| (name.clone(), attribute(a))).collect(),
        message_attributes_md5: digest::of_attributes(described(&head.attributes)),
        attributes,
        body: received.message.body,
    }
}

/// As a function's event has it.
fn attribute(attribute: &Attribute) -> serde_json::Value {
    let mut value = json!({"stringListValues": [], "binaryListValues": [], "dataType": attribute.kind});
    match &attribute.value {
        Value::Text(text) => value["stringValue"] = text.as_str().into(),
        Value::Bytes(bytes) => value["binaryValue"] = STANDARD.encode(bytes.as_ref()).into(),
    }
    value
}
