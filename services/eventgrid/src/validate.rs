//! Does the owner of a webhook want events? Asked when a subscription is put: by a validation event, which is answered
//! with its code or, later, by a GET of its URL; or, for CloudEvents, by OPTIONS.

use crate::EventGrid;
use crate::deliver::TIMEOUT;
use crate::error::{Error, Result};
use crate::model::Schema;
use crate::store::{Space, State, Subscription, Topic};
use base::port::SendError;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use serde_json::{Value, json};
use std::time::Duration;

/// How long the validation URL may be asked for.
const MANUAL: Duration = Duration::from_secs(10 * 60);
/// What asks, by the name that it has at Azure.
const ORIGIN: &str = "eventgrid.azure.net";

impl EventGrid {
    /// How the webhook has answered; an error if it does not want events.
    pub(crate) async fn validated(&self, topic: &Topic, new: &Subscription, url: &str) -> Result<State> {
        let refused =
            |why: String| Error::bad(format!("Webhook validation handshake failed for {}. {why}", new.endpoint));
        let answer = match new.schema {
            Schema::EventGridSchema => self.courier.send(self.question(topic, new, url)?, TIMEOUT).await,
            Schema::CloudEventSchemaV1_0 => {
                let asked = Request::options(&new.endpoint).header("WebHook-Request-Origin", ORIGIN);
                let asked = asked.header("WebHook-Request-Callback", url).body(Bytes::new()).map_err(Error::bad)?;
                self.courier.send(asked, TIMEOUT).await
            }
        };
        let answer = answer.map_err(|why: SendError| refused(why.to_string()))?;
        if !answer.status().is_success() {
            return Err(refused(format!("Http POST request returned {}.", answer.status().as_u16())));
        }
        Ok(match agrees(new, &answer) {
            true => State::Succeeded,
            false => State::Awaiting(self.clock.now().plus(MANUAL)),
        })
    }

    fn question(&self, topic: &Topic, new: &Subscription, url: &str) -> Result<Request<Bytes>> {
        let event = json!([{
            "id": self.entropy.uuid(),
            "topic": topic.id,
            "subject": "",
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": self.clock.now().iso8601(),
            "data": {"validationCode": new.code, "validationUrl": url},
            "dataVersion": "2",
            "metadataVersion": "1",
        }]);
        Request::post(&new.endpoint)
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header("aeg-event-type", "SubscriptionValidation")
            .header("aeg-subscription-name", new.name.to_uppercase())
            .body(event.to_string().into())
            .map_err(Error::bad)
    }

    /// The validation URL was asked for.
    pub(crate) async fn validate(&self, topic: &str, name: &str, code: &str) -> Result<()> {
        let (key, now) = (&Space::Subscription(topic, name).key(), self.clock.now());
        self.store
            .transact(async |tx: ::store::Tx| {
                let none = || Error::NotFound("The validation URL is not valid.".into());
                let mut there = tx.get::<Subscription>(key).await?.filter(|s| s.code == code).ok_or_else(none)?;
                match there.state {
                    State::Succeeded => return Ok(()),
                    State::Awaiting(until) if until < now => {
                        return Err(Error::bad("The validation URL has expired."));
                    }
                    State::Awaiting(_) => there.state = State::Succeeded,
                }
                Ok(tx.put(key, &there)?)
            })
            .await
    }
}

fn agrees(new: &Subscription, answer: &Response<Bytes>) -> bool {
    match new.schema {
        Schema::EventGridSchema => {
            let told: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            told.get("validationResponse").and_then(Value::as_str) == Some(&new.code)
        }
        Schema::CloudEventSchemaV1_0 => {
            let allowed = answer.headers().get("webhook-allowed-origin").and_then(|value| value.to_str().ok());
            allowed.is_some_and(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(ORIGIN))
        }
    }
}
