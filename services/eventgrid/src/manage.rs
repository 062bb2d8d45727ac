//! The resource manager's part: topics, their keys, and event subscriptions, as JSON.

use crate::EventGrid;
use crate::error::{Error, Result};
use crate::model::{self, Filter, Retry, Schema};
use crate::store::{self, Space, State, Subscription, Topic};
use base::{Caller, Scope};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicBody {
    location: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    properties: TopicProperties,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TopicProperties {
    #[serde(default)]
    input_schema: Schema,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscriptionBody {
    properties: SubscriptionProperties,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SubscriptionProperties {
    destination: Destination,
    #[serde(default)]
    filter: Filter,
    event_delivery_schema: Option<Schema>,
    #[serde(default)]
    retry_policy: Retry,
    dead_letter_destination: Option<DeadLetter>,
    #[serde(default)]
    labels: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "endpointType")]
enum Destination {
    WebHook { properties: WebHook },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WebHook {
    endpoint_url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "endpointType")]
enum DeadLetter {
    StorageBlob { properties: Blob },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Blob {
    /// Azure's storage account; here buckets have none.
    #[serde(default)]
    #[allow(dead_code)]
    resource_id: String,
    blob_container_name: String,
}

fn parse<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|why| Error::bad(format!("The request content is invalid: {why}.")))
}

/// The endpoint of a topic on the host that somebody asks.
fn endpoint(host: &str, topic: &str) -> String {
    format!("http://{host}{}{topic}/api/events", crate::door::PATH)
}

fn shown(topic: &Topic, host: &str) -> Value {
    json!({
        "id": topic.id,
        "name": topic.name,
        "type": "Microsoft.EventGrid/topics",
        "location": topic.location,
        "tags": topic.tags,
        "properties": {
            "provisioningState": "Succeeded",
            "endpoint": endpoint(host, &topic.name),
            "inputSchema": topic.schema,
            "publicNetworkAccess": "Enabled",
        },
    })
}

fn shown_subscription(topic: &Topic, subscription: &Subscription, now: base::Timestamp) -> Value {
    let state = match subscription.state {
        State::Succeeded => "Succeeded",
        State::Awaiting(until) if until < now => "Failed",
        State::Awaiting(_) => "AwaitingManualAction",
    };
    let base = subscription.endpoint.split('?').next();
    let mut properties = json!({
        "topic": topic.id,
        "provisioningState": state,
        "destination": {"endpointType": "WebHook", "properties": {"endpointBaseUrl": base}},
        "filter": subscription.filter,
        "eventDeliverySchema": subscription.schema,
        "retryPolicy": subscription.retry,
        "labels": subscription.labels,
    });
    if let Some(bucket) = &subscription.dead_letter {
        properties["deadLetterDestination"] =
            json!({"endpointType": "StorageBlob", "properties": {"resourceId": "", "blobContainerName": bucket}});
    }
    json!({
        "id": subscription.id,
        "name": subscription.name,
        "type": "Microsoft.EventGrid/eventSubscriptions",
        "properties": properties,
    })
}

impl EventGrid {
    pub(crate) fn keys(&self, topic: &Topic) -> Result<Vec<String>> {
        let unreadable = |why: ::store::seal::Unreadable| {
            tracing::error!(topic = topic.name, "a topic's keys cannot be read: {why}");
            Error::Conflict("The keys of the topic cannot be read.".into())
        };
        let text = self.seal.open(&topic.id, &topic.keys).map_err(unreadable)?;
        Ok(serde_json::from_slice(&text).unwrap_or_default())
    }

    fn sealed(&self, id: &str, keys: &[String]) -> ::store::Sealed {
        self.seal.seal(id, &serde_json::to_vec(keys).expect("strings serialise"))
    }

    fn key(&self) -> String {
        let mut bytes = [0; 32];
        self.entropy.fill(&mut bytes);
        STANDARD.encode(bytes)
    }

    /// The topic, if it is the caller's.
    pub(crate) async fn own(&self, caller: &Caller, name: &str) -> Result<Topic> {
        let topic = self.topic(name).await?;
        match topic.scope.account == caller.scope.account {
            true => Ok(topic),
            false => Err(Error::NotFound(format!("The topic {name} does not exist."))),
        }
    }

    /// Makes a topic; changes the tags and the location of one that is there.
    pub(crate) async fn put_topic(
        &self,
        caller: &Caller,
        id: &str,
        name: &str,
        host: &str,
        body: &[u8],
    ) -> Result<Value> {
        model::check_name(name)?;
        let given: TopicBody = parse(body)?;
        // Azure's locations have no hyphens.
        let region = base::Region::parse(&given.location).filter(|_| given.location.contains('-'));
        let region = region.unwrap_or_else(|| caller.scope.region.clone());
        let all = store::topics();
        if self.store.scan(all.as_bytes(), &all.end(), model::TOPICS_MAX).await?.len() == model::TOPICS_MAX {
            return Err(Error::Conflict(format!("There are {} topics already.", model::TOPICS_MAX)));
        }
        let new = Topic {
            name: name.to_owned(),
            id: id.to_owned(),
            scope: Scope::new(caller.scope.account.clone(), region),
            location: given.location,
            schema: given.properties.input_schema,
            tags: given.tags,
            created: self.clock.now(),
            keys: self.sealed(id, &[self.key(), self.key()]),
        };
        let (key, new) = (&Space::Topic(name).key(), &new);
        let topic = self
            .store
            .transact(async |tx: ::store::Tx| {
                let mut topic = new.clone();
                if let Some(old) = tx.get::<Topic>(key).await? {
                    if old.scope.account != new.scope.account {
                        return Err(Error::Conflict(format!("The topic name {name} is taken.")));
                    }
                    if old.schema != new.schema {
                        return Err(Error::bad("The inputSchema of a topic cannot be changed."));
                    }
                    topic = Topic { tags: new.tags.clone(), ..old };
                }
                tx.put(key, &topic)?;
                Ok(topic)
            })
            .await?;
        Ok(shown(&topic, host))
    }

    pub(crate) async fn get_topic(&self, caller: &Caller, name: &str, host: &str) -> Result<Value> {
        Ok(shown(&self.own(caller, name).await?, host))
    }

    /// Takes the subscriptions with it.
    pub(crate) async fn delete_topic(&self, caller: &Caller, name: &str) -> Result<()> {
        self.own(caller, name).await?;
        let subscriptions = &self.subscriptions(name).await?;
        self.store
            .transact(async |tx: ::store::Tx| {
                for subscription in subscriptions {
                    tx.delete(&Space::Subscription(name, &subscription.name).key());
                }
                tx.delete(&Space::Topic(name).key());
                Ok::<_, Error>(())
            })
            .await
    }

    pub(crate) async fn list_keys(&self, caller: &Caller, name: &str) -> Result<Value> {
        let keys = self.keys(&self.own(caller, name).await?)?;
        Ok(json!({"key1": keys.first(), "key2": keys.get(1)}))
    }

    pub(crate) async fn regenerate_key(&self, caller: &Caller, name: &str, body: &[u8]) -> Result<Value> {
        let given: Value = parse(body)?;
        let place = match given["keyName"].as_str() {
            Some("key1") => 0,
            Some("key2") => 1,
            _ => return Err(Error::bad("The keyName is key1 or key2.")),
        };
        let old = &self.own(caller, name).await?;
        let mut keys = self.keys(old)?;
        if let Some(key) = keys.get_mut(place) {
            *key = self.key();
        }
        let (key, new) = (&Space::Topic(name).key(), &Topic { keys: self.sealed(&old.id, &keys), ..old.clone() });
        self.store
            .transact(async |tx: ::store::Tx| match tx.get::<Topic>(key).await? {
                Some(there) if there == *old => Ok(tx.put(key, new)?),
                _ => Err(Error::Conflict("The topic was changed by another request meanwhile.".into())),
            })
            .await?;
        self.list_keys(caller, name).await
    }

    /// Makes a subscription or another in its place, once its webhook has been asked.
    pub(crate) async fn put_subscription(
        &self,
        caller: &Caller,
        (id, topic, name): (&str, &str, &str),
        host: &str,
        body: &[u8],
    ) -> Result<Value> {
        model::check_name(name)?;
        let topic = self.own(caller, topic).await?;
        let SubscriptionProperties {
            destination,
            filter,
            event_delivery_schema,
            retry_policy,
            dead_letter_destination,
            labels,
        } = parse::<SubscriptionBody>(body)?.properties;
        retry_policy.check()?;
        let Destination::WebHook { properties: WebHook { endpoint_url } } = destination;
        let good = endpoint_url.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("https" | "http"))
                && uri.authority().is_some_and(|a| !a.as_str().contains('@'))
        });
        if !good {
            return Err(Error::bad("The endpointUrl is not the URL of a webhook."));
        }
        let schema = event_delivery_schema.unwrap_or(topic.schema);
        if (topic.schema, schema) == (Schema::CloudEventSchemaV1_0, Schema::EventGridSchema) {
            return Err(Error::bad("A topic of CloudEvents delivers CloudEvents."));
        }
        if self.subscriptions(&topic.name).await?.len() == model::SUBSCRIPTIONS_MAX {
            return Err(Error::Conflict(format!("The topic has {} subscriptions already.", model::SUBSCRIPTIONS_MAX)));
        }
        let mut new = Subscription {
            name: name.to_owned(),
            id: id.to_owned(),
            endpoint: endpoint_url,
            schema,
            filter,
            retry: retry_policy,
            dead_letter: dead_letter_destination
                .map(|DeadLetter::StorageBlob { properties }| properties.blob_container_name),
            labels,
            state: State::Succeeded,
            code: self.entropy.uuid(),
        };
        let key = &Space::Subscription(&topic.name, name).key();
        let url = format!(
            "http://{host}{}validate?topic={}&subscription={name}&code={}",
            crate::door::PATH,
            topic.name,
            new.code
        );
        new.state = self.validated(&topic, &new, &url).await?;
        let written = &new;
        let there = &Space::Topic(&topic.name).key();
        self.store
            .transact(async |tx: ::store::Tx| match tx.get::<Topic>(there).await? {
                Some(_) => Ok(tx.put(key, written)?),
                None => Err(Error::NotFound(format!("The topic {} does not exist.", topic.name))),
            })
            .await?;
        Ok(shown_subscription(&topic, &new, self.clock.now()))
    }

    pub(crate) async fn get_subscription(&self, caller: &Caller, topic: &str, name: &str) -> Result<Value> {
        let topic = self.own(caller, topic).await?;
        let found: Option<Subscription> = self.store.get(&Space::Subscription(&topic.name, name).key()).await?;
        let none = || Error::NotFound(format!("The event subscription {name} does not exist."));
        Ok(shown_subscription(&topic, &found.ok_or_else(none)?, self.clock.now()))
    }

    pub(crate) async fn list_subscriptions(&self, caller: &Caller, topic: &str) -> Result<Value> {
        let topic = self.own(caller, topic).await?;
        let all = self.subscriptions(&topic.name).await?;
        let now = self.clock.now();
        Ok(json!({"value": all.iter().map(|one| shown_subscription(&topic, one, now)).collect::<Vec<_>>()}))
    }

    pub(crate) async fn delete_subscription(&self, caller: &Caller, topic: &str, name: &str) -> Result<()> {
        let key = &Space::Subscription(&self.own(caller, topic).await?.name, name).key();
        self.store
            .transact(async |tx: ::store::Tx| {
                if tx.get::<Subscription>(key).await?.is_some() {
                    tx.delete(key);
                }
                Ok(())
            })
            .await
    }
}
