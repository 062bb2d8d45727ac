//! What becomes of a message: one event for each subscription that wants it, committed before anybody is told that it was
//! accepted.

use crate::Topics;
use crate::error::{Error, Result};
use crate::model::filter::Seen;
use crate::model::message::{Message, check_id};
use crate::model::name::Named;
use crate::notice::{Envelope, signed_text};
use crate::signer::Version;
use crate::store::{Sent, Sequence, Space, Topic};
use crate::subscribers::{Compiled, Subscriber};
use ::store::Tx;
use base::{Event, Source, Terms};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a FIFO topic knows a message again.
pub const DEDUP_FOR: Duration = Duration::from_secs(300);
/// Bytes of events that one transaction commits; a message with more goes on in further ones.
const STEP_BYTES_MAX: usize = 4 << 20;
/// Where a message goes on: the id of the subscription that was the last.
pub const AFTER: &str = "after";

/// Who publishes to a FIFO topic waits for who did before, so that numbers and order are those of the commits.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<Named, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    fn of(&self, named: &Named) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.0.lock();
        // Only those that somebody holds or waits for are needed.
        if all.len() >= 1_000 {
            all.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        all.entry(named.clone()).or_default().clone()
    }
}

/// What a publisher is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    pub id: String,
    pub sequence: Option<u64>,
}

/// Signatures of one message, by what was signed for.
type Signatures = HashMap<String, String>;

impl Topics {
    /// Accepts messages in their order, all or none.
    pub(crate) async fn publish(&self, named: &Named, messages: Vec<Message>) -> Result<Vec<Accepted>> {
        let turn = named.is_fifo().then(|| self.turns.of(named));
        let _turn = match &turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        self.store
            .transact(async |tx: Tx| {
                let compiled = self.compiled(&tx, named).await?;
                let mut accepted = Vec::with_capacity(messages.len());
                for message in &messages {
                    accepted.push(self.accept(&tx, named, &compiled, message.clone()).await?);
                }
                Ok::<_, Error>(accepted)
            })
            .await
    }

    /// Checks what depends on the topic's kind.
    pub(crate) fn check_kind(compiled: &Compiled, message: &Message) -> Result<()> {
        if let Some(group) = &message.group {
            check_id("MessageGroupId", group)?;
        }
        if let Some(dedup) = &message.dedup {
            check_id("MessageDeduplicationId", dedup)?;
        }
        let fifo = compiled.topic.fifo;
        if fifo && message.group.is_none() {
            return Err(Error::invalid("The MessageGroupId parameter is required for FIFO topics"));
        }
        if fifo && message.dedup.is_none() && !compiled.topic.is("ContentBasedDeduplication", "true") {
            return Err(Error::invalid(
                "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
                 explicitly",
            ));
        }
        if !fifo && message.dedup.is_some() {
            return Err(Error::invalid(
                "The request includes MessageDeduplicationId parameter that is not valid for this topic type",
            ));
        }
        Ok(())
    }

    pub(crate) async fn accept(
        &self,
        tx: &Tx,
        named: &Named,
        compiled: &Compiled,
        mut message: Message,
    ) -> Result<Accepted> {
        Self::check_kind(compiled, &message)?;
        if compiled.topic.fifo
            && let Some(known) = number(tx, compiled, &mut message).await?
        {
            return Ok(known);
        }
        for event in self.events(named, compiled, &message, None).await? {
            tx.emit(&event)?;
        }
        Ok(Accepted { id: message.id, sequence: message.sequence })
    }

    /// One event for each subscription behind `after` that wants the message, as many as one transaction may have; then
    /// one that goes on.
    pub(crate) async fn events(
        &self,
        named: &Named,
        compiled: &Compiled,
        message: &Message,
        after: Option<&str>,
    ) -> Result<Vec<Event>> {
        let wanted = wanted(compiled, message, after);
        let (mut events, mut bytes) = (Vec::new(), 0);
        let mut signatures = Signatures::new();
        for (at, subscriber) in wanted.iter().copied().enumerate() {
            let event = self.event(named, compiled, message, (subscriber, &mut signatures)).await?;
            bytes += event.payload.get().len();
            events.push(event);
            let more = at + 1 < wanted.len();
            // A FIFO topic has few subscriptions, and goes on to none of them later than to others.
            if more && bytes > STEP_BYTES_MAX && !compiled.topic.fifo {
                events.push(self.rest(named, message, &subscriber.subscription.id)?);
                break;
            }
        }
        Ok(events)
    }

    /// The event that goes on with a message behind a subscription.
    fn rest(&self, named: &Named, message: &Message, after: &str) -> Result<Event> {
        let payload = serde_json::value::to_raw_value(message);
        let payload = payload.map_err(|why| ::store::Error::Damaged(why.to_string()))?;
        Ok(Event {
            id: self.entropy.uuid(),
            target: named.arn(),
            source: Source { service: None, arn: Some(named.arn()), account: named.scope.account.to_string() },
            created: self.clock.now(),
            payload,
            attributes: Map::from_iter([(AFTER.to_owned(), after.into())]),
            terms: Terms { origin: Some(message.id.clone()), ..Terms::default() },
        })
    }

    async fn event(
        &self,
        named: &Named,
        compiled: &Compiled,
        message: &Message,
        (subscriber, signatures): (&Subscriber, &mut Signatures),
    ) -> Result<Event> {
        let subscription = &subscriber.subscription;
        let body = message.for_protocol(&subscription.protocol);
        let arn = subscriber.arn.to_string();
        let node = format!("http://{}", subscription.host);
        let mut attributes = Map::new();
        let (payload, letter) = if subscription.is_raw() {
            attributes.insert("RawBody".into(), true.into());
            attributes.insert("MessageAttributes".into(), message.for_queue());
            (Value::from(body).to_string(), None)
        } else {
            let version = version(&compiled.topic);
            let signature = match compiled.topic.fifo {
                true => None,
                false => Some(self.signature(named, message, body, (version, signatures)).await?),
            };
            let certificate = self.certificate_url(&node, signature.is_some()).await?;
            let signature = signature.as_deref().map(|signature| (version, signature, certificate));
            let envelope = Envelope { topic: named, subscription: &arn, node: &node, signature };
            match subscription.protocol.as_str() {
                "lambda" => (envelope.function_event(message, body), Some(envelope.notification(message, body))),
                _ => (envelope.notification(message, body), None),
            }
        };
        for (name, value) in [
            ("MessageGroupId", &message.group),
            ("MessageDeduplicationId", &message.dedup),
            // A queue reads the one, a function the other.
            ("AWSTraceHeader", &message.trace),
            ("trace_id", &message.trace),
        ] {
            attributes.extend(value.as_ref().map(|value| (name.to_owned(), value.as_str().into())));
        }
        if subscriber.dead_letter.is_some() {
            let mut own = attributes.clone();
            own.extend(letter.map(|body| ("body".to_owned(), body.into())));
            attributes.insert("letter".into(), own.into());
        }
        if subscriber.to == subscriber.arn {
            attributes.insert("MessageId".into(), message.id.as_str().into());
        }
        let order = message.group.as_ref().filter(|_| compiled.topic.fifo).map(|group| format!("{arn} {group}"));
        Ok(Event {
            id: self.event_id(message.sequence),
            target: subscriber.to.clone(),
            source: Source {
                service: Some("sns.amazonaws.com".into()),
                arn: Some(named.arn()),
                account: named.scope.account.to_string(),
            },
            created: message.at,
            payload: RawValue::from_string(payload).map_err(|why| ::store::Error::Damaged(why.to_string()))?,
            attributes,
            terms: Terms {
                dead_letter: subscriber.dead_letter.clone(),
                rule: Some(arn),
                origin: Some(message.origin.clone().unwrap_or_else(|| message.id.clone())),
                order,
                receipt: self.receipt(named, &compiled.topic, subscriber, message),
                ..Terms::default()
            },
        })
    }

    /// A UUID; those of numbered messages sort as they do.
    fn event_id(&self, sequence: Option<u64>) -> String {
        let id = self.entropy.uuid();
        let Some(sequence) = sequence else { return id };
        let hex = format!("{sequence:016x}");
        format!("{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..], &id[19..])
    }

    async fn signature(
        &self,
        named: &Named,
        message: &Message,
        body: &str,
        (version, signatures): (Version, &mut Signatures),
    ) -> Result<String> {
        if let Some(known) = signatures.get(body) {
            return Ok(known.clone());
        }
        let signature = self.sign(version, signed_text(named, message, body)).await?;
        signatures.insert(body.to_owned(), signature.clone());
        Ok(signature)
    }

    pub(crate) async fn certificate_url(&self, node: &str, is_signed: bool) -> Result<String> {
        if !is_signed {
            return Ok(String::new());
        }
        Ok(format!("{node}{}", self.signer().await?.path()))
    }
}

/// The subscriptions behind `after` that want a message.
fn wanted<'c>(compiled: &'c Compiled, message: &Message, after: Option<&str>) -> Vec<&'c Subscriber> {
    let seen = Seen::new(message);
    let behind = |s: &&Subscriber| after.is_none_or(|after| s.subscription.id.as_str() > after);
    let wants = |s: &&Subscriber| s.filter.as_ref().is_none_or(|filter| filter.wants(&seen));
    compiled.subscribers.iter().filter(behind).filter(wants).collect()
}

pub fn version(topic: &Topic) -> Version {
    if topic.is("SignatureVersion", "2") { Version::Two } else { Version::One }
}

/// Gives a FIFO topic's message its number; or what an earlier one got that it repeats.
async fn number(tx: &Tx, compiled: &Compiled, message: &mut Message) -> Result<Option<Accepted>> {
    let topic = &compiled.topic;
    let dedup = message.dedup.get_or_insert_with(|| hex::encode(Sha256::digest(message.body.as_bytes()))).clone();
    let group = message.group.as_deref().filter(|_| topic.is("FifoThroughputScope", "MessageGroup"));
    let mut sum = Sha256::new();
    sum.update((dedup.len() as u32).to_be_bytes());
    sum.update(&dedup);
    sum.update(group.unwrap_or_default());
    let digest = sum.finalize();
    let key = Space::Sent(&topic.id, &digest[..16]).key();
    if let Some(sent) = tx.get::<Sent>(&key).await?
        && message.at < sent.until
    {
        return Ok(Some(Accepted { id: sent.message, sequence: Some(sent.sequence) }));
    }
    let counter = Space::Sequence(&topic.id).key();
    let last: Sequence = tx.get(&counter).await?.unwrap_or_default();
    // The clock may have been put back; the order may not.
    message.at = message.at.max(last.at);
    let next = Sequence { last: last.last + 1, at: message.at };
    message.sequence = Some(next.last);
    let until = message.at.plus(DEDUP_FOR);
    tx.put(&counter, &next)?;
    tx.put(&key, &Sent { message: message.id.clone(), sequence: next.last, until })?;
    tx.put_bytes(&Space::Until(until, &topic.id, &digest[..16]).key(), Vec::new())?;
    Ok(None)
}

/// The message of an event that another room sends to a topic.
pub fn of_event(event: &Event, at: base::Timestamp) -> std::result::Result<Message, String> {
    let text = |name: &str| event.attributes.get(name).and_then(Value::as_str).map(str::to_owned);
    let body = match event.attributes.get("RawBody") == Some(&json!(true)) {
        true => serde_json::from_str(event.payload.get()).map_err(|why| why.to_string())?,
        false => event.payload.get().to_owned(),
    };
    let mut attributes = std::collections::BTreeMap::new();
    if let Some(given) = event.attributes.get("MessageAttributes") {
        let given: HashMap<String, crate::api::MessageAttributeValue> =
            serde_json::from_value(given.clone()).map_err(|why| why.to_string())?;
        for (name, value) in given {
            attributes.insert(name, crate::api::attribute_of(value).map_err(|why| why.to_string())?);
        }
    }
    Ok(Message {
        id: event.id.clone(),
        at,
        subject: text("Subject"),
        body,
        attributes,
        group: text("MessageGroupId"),
        dedup: text("MessageDeduplicationId"),
        trace: text("AWSTraceHeader"),
        origin: Some(event.terms.origin.clone().unwrap_or_else(|| event.id.clone())),
        ..Message::default()
    })
}
