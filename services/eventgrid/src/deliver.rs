//! Subscriptions as targets: one request an attempt, Event Grid's pace, dead letters into a bucket.

use crate::EventGrid;
use crate::error::Error;
use crate::model::{self, Death, Schema};
use crate::store::{Space, State, Subscription, Topic};
use async_trait::async_trait;
use base::port::{Denied, SendError, Target};
use base::{Arn, Event, Source, Terms, Verdict};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use serde_json::Value;
use serde_json::value::to_raw_value;
use std::time::Duration;

/// "Event Grid waits 30 seconds for a response."
pub const TIMEOUT: Duration = Duration::from_secs(30);
const STORE_RETRY: Duration = Duration::from_secs(1);

/// `arn:aws:eventgrid:<region>:<account>:subscription/<topic>/<name>`: what delivery knows a subscription by.
pub fn target_of(topic: &Topic, subscription: &str) -> Arn {
    let (region, account) = (topic.scope.region.as_str(), topic.scope.account.as_str());
    Arn::new("eventgrid", region, account, format!("subscription/{}/{subscription}", topic.name))
}

/// Topic and subscription.
fn named(target: &Arn) -> Option<(&str, &str)> {
    target.resource.strip_prefix("subscription/")?.split_once('/')
}

#[async_trait]
impl Target for EventGrid {
    async fn accepts(&self, target: &Arn, _: &Source) -> Result<(), Denied> {
        let denied = || Denied(format!("{target} is not an event subscription"));
        let (topic, name) = named(target).ok_or_else(denied)?;
        let found = self.store.get::<Subscription>(&Space::Subscription(topic, name).key()).await;
        found.map_err(|why| Denied(why.to_string()))?.map(drop).ok_or_else(denied)
    }

    async fn deliver(&self, event: &Event, attempt: u32) -> Verdict {
        let Some((topic, name)) = named(&event.target) else {
            return Verdict::Dead { reason: format!("{} is not an event subscription", event.target) };
        };
        let found = async {
            let subscription = self.store.get::<Subscription>(&Space::Subscription(topic, name).key()).await?;
            Ok::<_, Error>(subscription.zip(self.store.get::<Topic>(&Space::Topic(topic).key()).await?))
        };
        match found.await {
            Ok(Some((subscription, topic))) => self.attempt(&topic, &subscription, event, attempt).await,
            // Who deleted the subscription wants nothing more.
            Ok(None) => Verdict::Done,
            Err(later) => Verdict::Retry { after: STORE_RETRY, reason: later.to_string() },
        }
    }

    /// A subscription has a retry policy of its own.
    fn patient(&self, _: &Arn) -> bool {
        true
    }
}

impl EventGrid {
    async fn attempt(&self, topic: &Topic, subscription: &Subscription, event: &Event, attempt: u32) -> Verdict {
        let answer = match subscription.state {
            State::Succeeded => self.courier.send(notification(subscription, event, attempt), TIMEOUT).await,
            State::Awaiting(_) => Err(SendError::Failed("the webhook has not been validated".into())),
        };
        let (status, outcome) = match &answer {
            Ok(answer) if (200..=204).contains(&answer.status().as_u16()) => return Verdict::Done,
            Ok(answer) => (Some(answer.status().as_u16()), outcome(answer)),
            Err(SendError::Late(_)) => (None, "TimedOut".to_owned()),
            Err(_) => (None, "Unreachable".to_owned()),
        };
        let why = answer.map_or_else(|error| error.to_string(), |a| format!("HTTP status {}", a.status().as_u16()));
        let after = model::pause(attempt, status);
        let age = self.clock.now().since(event.created);
        let ttl = Duration::from_secs(u64::from(subscription.retry.event_time_to_live_in_minutes) * 60);
        let reason = match status {
            Some(status) if model::is_final(status) => "UndeliverableEvent",
            _ if attempt >= subscription.retry.max_delivery_attempts => "MaxDeliveryAttemptsExceeded",
            _ if age + after > ttl => "TimeToLiveExceeded",
            _ => return Verdict::Retry { after, reason: format!("{}: {why}", subscription.endpoint) },
        };
        let death = Death { reason, outcome, attempts: attempt };
        self.given_up(topic, subscription, event, (&death, &why))
    }

    fn given_up(
        &self,
        topic: &Topic,
        subscription: &Subscription,
        event: &Event,
        (death, why): (&Death, &str),
    ) -> Verdict {
        let now = self.clock.now();
        let reason = format!("{} after {} attempts: {}: {why}", death.reason, death.attempts, subscription.endpoint);
        let Some(bucket) = &subscription.dead_letter else { return Verdict::Dead { reason } };
        let told: Value = serde_json::from_str(event.payload.get()).unwrap_or_default();
        let Ok(payload) = to_raw_value(&model::letter(&told, death, event.created, now)) else {
            return Verdict::Dead { reason };
        };
        let id = self.entropy.uuid();
        let key = model::letter_key(&topic.name, subscription, now, &id);
        let letter = Event {
            target: Arn::new("s3", "", "", bucket.clone()),
            source: event.source.clone(),
            created: now,
            payload,
            attributes: serde_json::Map::from_iter([("Key".to_owned(), key.into())]),
            terms: Terms { origin: Some(event.id.clone()), ..Terms::default() },
            id,
        };
        Verdict::Over { failure: Some(reason), then: vec![letter] }
    }
}

fn outcome(answer: &Response<Bytes>) -> String {
    let reason = answer.status().canonical_reason().unwrap_or("Unknown");
    reason.split(' ').collect()
}

/// The request: an array of one event, or one CloudEvent in structured mode.
fn notification(subscription: &Subscription, event: &Event, attempt: u32) -> Request<Bytes> {
    let payload = event.payload.get();
    let (kind, body) = match subscription.schema {
        Schema::EventGridSchema => ("application/json; charset=utf-8", format!("[{payload}]")),
        Schema::CloudEventSchemaV1_0 => ("application/cloudevents+json; charset=utf-8", payload.to_owned()),
    };
    let version = event.attributes.get("dataVersion").and_then(Value::as_str).unwrap_or_default();
    let request = Request::post(&subscription.endpoint)
        .header(CONTENT_TYPE, kind)
        .header("aeg-event-type", "Notification")
        .header("aeg-subscription-name", subscription.name.to_uppercase())
        .header("aeg-delivery-count", attempt.saturating_sub(1).to_string())
        .header("aeg-data-version", version)
        .header("aeg-metadata-version", "1");
    request.body(body.into()).unwrap_or_default()
}
