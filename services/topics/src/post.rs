//! Messages for HTTP endpoints: one attempt, and what SNS makes of the answer.

use crate::Topics;
use crate::error::{Error, Result};
use crate::events::pause;
use crate::model::feedback::{Answer, answered};
use crate::model::name::Named;
use crate::model::retry::{self, Effective};
use crate::notice::Handshake;
use crate::publish::version;
use crate::store::{Space, State, Subscription, Topic};
use ::store::Tx;
use base::{Event, Source, Terms, Verdict};
use bytes::Bytes;
use http::Request;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::time::Duration;

/// How long an endpoint may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const CONTENT_TYPE: &str = "text/plain; charset=UTF-8";
const AGENT: &str = "Amazon Simple Notification Service Agent";
/// Endpoints whose pace is remembered; over it those are forgotten that may be sent to.
const PACED_MAX: usize = 10_000;
/// What a notice is, in the attributes of its event; a notification says nothing.
const KIND: &str = "type";

/// When the next message may be sent, of endpoints that take only so many a second.
#[derive(Default)]
pub struct Pace(Mutex<HashMap<String, Duration>>);

impl Pace {
    /// How long to wait for one's turn, which is taken.
    fn turn(&self, subscription: &str, a_second: u32, now: Duration) -> Duration {
        let mut all = self.0.lock();
        if all.len() >= PACED_MAX {
            all.retain(|_, next| *next > now);
        }
        let next = all.entry(subscription.to_owned()).or_default();
        let turn = now.max(*next);
        *next = turn + Duration::from_secs(1) / a_second.max(1);
        turn - now
    }
}

/// What came of an attempt.
enum Came {
    /// What it answered is in here.
    Taken(Answer),
    /// It makes no sense to try again.
    Refused(String),
    Failed(String),
}

impl Topics {
    pub(crate) async fn subscription(&self, named: &Named, id: &str) -> Result<Subscription> {
        let key = Space::Subscription(&named.scope, &named.name, id).key();
        self.store.get(&key).await?.ok_or(Error::NotFound("Subscription"))
    }

    /// One attempt to bring an event to an endpoint.
    pub(crate) async fn post(&self, named: &Named, id: &str, event: &Event, attempt: u32) -> Verdict {
        let (subscription, policy) = match self.endpoint(named, id).await {
            Ok(found) => found,
            Err(later @ Error::Store(_)) => {
                return Verdict::Retry { after: pause(attempt), reason: later.to_string() };
            }
            Err(gone) => return Verdict::Dead { reason: gone.to_string() },
        };
        let is_notification = event.attributes.get(KIND).is_none();
        if is_notification && subscription.state != State::Confirmed {
            return Verdict::Dead { reason: "the subscription has ended".into() };
        }
        if let Some(a_second) = policy.throttle.max_receives_per_second {
            self.clock.sleep(self.pace.turn(id, a_second, self.clock.elapsed())).await;
        }
        let came = match request(named, &subscription, event, &policy) {
            Ok(request) => self.answer(request).await,
            Err(why) => Came::Refused(why),
        };
        match came {
            Came::Taken(answer) => match self.taken(named, event, attempt, &answer) {
                Some(entry) => Verdict::Over { failure: None, then: vec![entry] },
                None => Verdict::Done,
            },
            Came::Refused(reason) => Verdict::Dead { reason },
            Came::Failed(reason) => match policy.retry.delay(attempt) {
                Some(after) => Verdict::Retry { after, reason },
                None => Verdict::Dead { reason: format!("tried {attempt} times; the last: {reason}") },
            },
        }
    }

    async fn endpoint(&self, named: &Named, id: &str) -> Result<(Subscription, Effective)> {
        let subscription = self.subscription(named, id).await?;
        let topic = self.topic(named).await?;
        let of = |attributes: &std::collections::BTreeMap<String, String>| attributes.get("DeliveryPolicy").cloned();
        let policy = retry::effective(of(&topic.attributes).as_deref(), of(&subscription.attributes).as_deref());
        Ok((subscription, policy))
    }

    async fn answer(&self, request: Request<Bytes>) -> Came {
        match self.courier.send(request, ANSWER_WITHIN).await {
            Ok(answer) if answer.status().is_success() => {
                let response = String::from_utf8_lossy(answer.body()).into_owned();
                Came::Taken(Answer { status: Some(answer.status().as_u16()), response })
            }
            Ok(answer) => {
                let told = answered(answer.status());
                // "Client-side errors", but for the one that asks for patience, are not tried again.
                match answer.status().as_u16() {
                    429 => Came::Failed(told),
                    300..500 => Came::Refused(told),
                    _ => Came::Failed(told),
                }
            }
            Err(why) => Came::Failed(why.to_string()),
        }
    }

    /// Asks an endpoint to confirm its subscription, or tells it that it is over, in this transaction.
    pub(crate) async fn shake_hands(
        &self,
        tx: &Tx,
        (named, topic): (&Named, &Topic),
        subscription: &Subscription,
        kind: &'static str,
    ) -> Result<()> {
        let arn = named.subscription(&subscription.id);
        let (id, now) = (self.entropy.uuid(), self.clock.now());
        let node = format!("http://{}", subscription.host);
        let shake = Handshake {
            kind,
            id: &id,
            at: now.iso8601(),
            topic: named,
            subscription: &arn.to_string(),
            token: subscription.token.as_deref().unwrap_or_default(),
            node: &node,
        };
        let version = version(topic);
        let signature = self.sign(version, shake.signed_text()).await?;
        let text = shake.document(version, &signature, &self.certificate_url(&node, true).await?);
        tx.emit(&Event {
            id: id.clone(),
            target: arn.clone(),
            source: Source {
                service: Some("sns.amazonaws.com".into()),
                arn: Some(named.arn()),
                account: named.scope.account.to_string(),
            },
            created: now,
            payload: RawValue::from_string(text).map_err(|why| ::store::Error::Damaged(why.to_string()))?,
            attributes: Map::from_iter([
                (KIND.to_owned(), Value::from(kind)),
                ("MessageId".to_owned(), Value::from(id.as_str())),
            ]),
            terms: Terms { rule: Some(arn.to_string()), ..Terms::default() },
        })?;
        Ok(())
    }
}

fn request(
    named: &Named,
    subscription: &Subscription,
    event: &Event,
    policy: &Effective,
) -> std::result::Result<Request<Bytes>, String> {
    let text = |name: &str| event.attributes.get(name).and_then(Value::as_str);
    let kind = text(KIND);
    let is_raw = kind.is_none() && event.attributes.get("RawBody") == Some(&Value::Bool(true));
    let body: String = match is_raw {
        true => serde_json::from_str(event.payload.get()).map_err(|why| why.to_string())?,
        false => event.payload.get().to_owned(),
    };
    let content_type = policy.form.header_content_type.as_deref().filter(|_| kind.is_none()).unwrap_or(CONTENT_TYPE);
    let mut request = Request::post(subscription.endpoint.as_str())
        .header("content-type", content_type)
        .header("user-agent", AGENT)
        .header("x-amz-sns-message-type", kind.unwrap_or("Notification"))
        .header("x-amz-sns-message-id", text("MessageId").unwrap_or(&event.id))
        .header("x-amz-sns-topic-arn", named.arn().to_string());
    if kind != Some("SubscriptionConfirmation") {
        request = request.header("x-amz-sns-subscription-arn", event.target.to_string());
    }
    if is_raw {
        request = request.header("x-amz-sns-rawdelivery", "true");
    }
    request.body(Bytes::from(body)).map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_sent_to_at_its_pace() {
        let (pace, now) = (Pace::default(), Duration::from_secs(10));
        let turns: Vec<u128> = (0..3).map(|_| pace.turn("a", 4, now).as_millis()).collect();
        assert_eq!(turns, [0, 250, 500]);
        assert_eq!(pace.turn("b", 4, now), Duration::ZERO);
        assert_eq!(pace.turn("a", 4, now + Duration::from_secs(1)), Duration::ZERO);
    }
}
