//! `POST /_wadi/eventgrid/<topic>/api/events?api-version=2018-01-01`: events, all of a request or none.

use crate::EventGrid;
use crate::deliver::target_of;
use crate::error::{Error, Result};
use crate::model::{self, BYTES_MAX, EVENTS_MAX, Published, Schema};
use crate::sas;
use crate::store::{Space, Subscription, Topic, subscriptions};
use ::store::record;
use base::{Arn, Event, Scope, Source, Terms, Timestamp};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use rules::cloudevent::{self, BATCH, CloudEvent, STRUCTURED, is_binary, is_media};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

const VERSION: &str = "2018-01-01";

impl EventGrid {
    pub(crate) async fn topic(&self, name: &str) -> Result<Topic> {
        let none = || Error::NotFound(format!("The topic {name} does not exist."));
        self.store.get(&Space::Topic(name).key()).await?.ok_or_else(none)
    }

    pub(crate) async fn subscriptions(&self, topic: &str) -> Result<Vec<Subscription>> {
        let all = subscriptions(topic);
        let items = self.store.scan(all.as_bytes(), &all.end(), model::SUBSCRIPTIONS_MAX).await?;
        items.iter().map(|item| Ok(record::decode(&item.value)?)).collect()
    }

    /// Whether the request may publish: by either of the topic's keys, or by a token signed with one.
    pub(crate) fn check_key(&self, topic: &Topic, parts: &Parts) -> Result<()> {
        let refused = |why: &str| Error::Unauthorized(why.to_owned());
        let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let bearer = || text("authorization").filter(|value| value.starts_with(sas::SCHEME));
        let keys = self.keys(topic)?;
        if let Some(given) = text("aeg-sas-key") {
            let fits = keys.iter().fold(false, |fits, key| fits | bool::from(key.as_bytes().ct_eq(given.as_bytes())));
            return if fits { Ok(()) } else { Err(refused("The request authorization key is not valid.")) };
        }
        let token = text("aeg-sas-token").or_else(bearer);
        let token = token.ok_or_else(|| refused("The request has neither aeg-sas-key nor aeg-sas-token."))?;
        sas::check(token, &keys, parts.uri.path(), self.clock.now()).map_err(refused)
    }

    pub(crate) async fn publish(&self, topic: &Topic, parts: &Parts, body: &Bytes) -> Result<()> {
        let version =
            parts.uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("api-version="));
        if version != Some(VERSION) {
            return Err(Error::bad(format!("The api-version is {VERSION}.")));
        }
        let now = self.clock.now();
        let events = read(topic, parts, body)?;
        let sent = self.sent(topic, &events, now).await?;
        let sent = &sent;
        let emit = async |tx: ::store::Tx| sent.iter().try_for_each(|event| tx.emit(event));
        Ok(self.store.transact(emit).await?)
    }

    /// One event for the bus of the topic's name, and one a subscription that wants it.
    async fn sent(&self, topic: &Topic, events: &[Published], now: Timestamp) -> Result<Vec<Event>> {
        let subscriptions = self.subscriptions(&topic.name).await?;
        let Scope { account, region, .. } = &topic.scope;
        let bus = Arn::new("events", region.as_str(), account.as_str(), format!("event-bus/{}", topic.name));
        let source = source_of(topic);
        let listens = match self.targets.find(&bus) {
            Some(buses) => buses.accepts(&bus, &source).await.is_ok(),
            None => false,
        };
        let mut sent = Vec::new();
        for published in events {
            if listens {
                let told = cloudevent::told(published.event.clone(), &topic.scope, now);
                sent.push(self.event(topic, bus.clone(), raw(&told), now, Map::new()));
            }
            let wanting = subscriptions.iter().filter(|s| s.filter.wants(published, topic));
            for subscription in wanting {
                let payload = raw(&model::shaped(published, topic, subscription.schema, now));
                let version = Map::from_iter([("dataVersion".to_owned(), published.version.as_str().into())]);
                sent.push(self.event(topic, target_of(topic, &subscription.name), payload, now, version));
            }
        }
        Ok(sent)
    }

    fn event(
        &self,
        topic: &Topic,
        target: Arn,
        payload: Box<RawValue>,
        now: Timestamp,
        attributes: Map<String, Value>,
    ) -> Event {
        let (id, source) = (self.entropy.uuid(), source_of(topic));
        Event { id, target, source, created: now, payload, attributes, terms: Terms::default() }
    }
}

fn source_of(topic: &Topic) -> Source {
    let account = topic.scope.account.as_str().to_owned();
    Source { service: Some("eventgrid.azure.net".into()), arn: None, account }
}

fn raw(value: &Value) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The events of a request, in the topic's own schema.
fn read(topic: &Topic, parts: &Parts, body: &Bytes) -> Result<Vec<Published>> {
    if body.len() > BYTES_MAX {
        return Err(Error::TooLarge(format!("The maximum size of a request is {BYTES_MAX} bytes.")));
    }
    let json =
        || serde_json::from_slice::<Value>(body).map_err(|why| Error::bad(format!("The body is not JSON: {why}.")));
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let cloud = |event: CloudEvent| Published { event, version: String::new() };
    let bad = |why: cloudevent::Invalid| Error::bad(format!("{why}."));
    if topic.schema == Schema::EventGridSchema {
        let Value::Array(items) = json()? else { return Err(Error::bad("The body is not an array of events.")) };
        if items.len() > EVENTS_MAX {
            return Err(Error::TooLarge(format!("There are more than {EVENTS_MAX} events in the request.")));
        }
        return items.into_iter().map(|item| model::read(item, topic)).collect();
    }
    if is_media(kind, BATCH) {
        return Ok(CloudEvent::batch(json()?, EVENTS_MAX).map_err(bad)?.into_iter().map(cloud).collect());
    }
    let one = if is_media(kind, STRUCTURED) {
        CloudEvent::from_json(json()?)
    } else if is_binary(parts.headers.keys().map(|name| name.as_str())) {
        CloudEvent::from_binary(parts.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())), body)
    } else {
        return Err(Error::bad("This resource is configured to receive event in 'CloudEventV10' schema."));
    };
    Ok(vec![cloud(one.map_err(bad)?)])
}
