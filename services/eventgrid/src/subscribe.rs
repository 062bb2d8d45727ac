//! The resource manager's part: event subscriptions, as JSON.

use crate::EventGrid;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::manage::parse;
use crate::model::{self, Batch, Retry, Schema};
use crate::store::{Space, State, Subscription, Topic};
use base::Caller;
use serde::Deserialize;
use serde_json::{Value, json};

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

/// What is to change of a subscription; the rest stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SubscriptionUpdate {
    destination: Option<Destination>,
    filter: Option<Filter>,
    event_delivery_schema: Option<Schema>,
    retry_policy: Option<Retry>,
    dead_letter_destination: Option<DeadLetter>,
    labels: Option<Vec<String>>,
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
    max_events_per_batch: Option<u32>,
    preferred_batch_size_in_kilobytes: Option<u32>,
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

impl Destination {
    /// Its URL, and how many events a request to it has.
    fn checked(self) -> Result<(String, Batch)> {
        let Destination::WebHook { properties } = self;
        let usual = Batch::default();
        let batch = Batch {
            max_events_per_batch: properties.max_events_per_batch.unwrap_or(usual.max_events_per_batch),
            preferred_batch_size_in_kilobytes: properties
                .preferred_batch_size_in_kilobytes
                .unwrap_or(usual.preferred_batch_size_in_kilobytes),
        };
        batch.check()?;
        let good = properties.endpoint_url.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("https" | "http"))
                && uri.authority().is_some_and(|a| !a.as_str().contains('@'))
        });
        match good {
            true => Ok((properties.endpoint_url, batch)),
            false => Err(Error::bad("The endpointUrl is not the URL of a webhook.")),
        }
    }
}

impl DeadLetter {
    fn bucket(self) -> String {
        let Self::StorageBlob { properties } = self;
        properties.blob_container_name
    }
}

fn shown_subscription(topic: &Topic, subscription: &Subscription, now: base::Timestamp) -> Value {
    let state = match subscription.state {
        State::Succeeded => "Succeeded",
        State::Awaiting(until) if until < now => "Failed",
        State::Awaiting(_) => "AwaitingManualAction",
    };
    let base = subscription.endpoint.split('?').next();
    let mut destination = serde_json::to_value(&subscription.batch).unwrap_or_default();
    destination["endpointBaseUrl"] = base.into();
    let mut properties = json!({
        "topic": topic.id,
        "provisioningState": state,
        "destination": {"endpointType": "WebHook", "properties": destination},
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

/// What holds of a subscription, whoever puts or changes it.
fn check(new: &Subscription, topic: &Topic) -> Result<()> {
    new.retry.check()?;
    new.filter.check()?;
    match (topic.schema, new.schema) {
        (Schema::CloudEventSchemaV1_0, Schema::EventGridSchema) => {
            Err(Error::bad("A topic of CloudEvents delivers CloudEvents."))
        }
        _ => Ok(()),
    }
}

impl EventGrid {
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
        let (endpoint, batch) = destination.checked()?;
        if self.subscriptions(&topic.name).await?.len() == model::SUBSCRIPTIONS_MAX {
            return Err(Error::Conflict(format!("The topic has {} subscriptions already.", model::SUBSCRIPTIONS_MAX)));
        }
        let mut new = Subscription {
            name: name.to_owned(),
            id: id.to_owned(),
            endpoint,
            schema: event_delivery_schema.unwrap_or(topic.schema),
            filter,
            retry: retry_policy,
            batch,
            dead_letter: dead_letter_destination.map(DeadLetter::bucket),
            labels,
            state: State::Succeeded,
            code: self.entropy.uuid(),
        };
        check(&new, &topic)?;
        new.state = self.asked(&topic, &new, host).await?;
        self.write(&topic, &new, None).await
    }

    /// Changes what is given; its webhook is asked again where that, or what it gets, is another.
    pub(crate) async fn update_subscription(
        &self,
        caller: &Caller,
        (topic, name): (&str, &str),
        host: &str,
        body: &[u8],
    ) -> Result<Value> {
        let topic = self.own(caller, topic).await?;
        let old = self.subscription(&topic, name).await?;
        let given: SubscriptionUpdate = parse(body)?;
        let mut new = old.clone();
        if let Some(destination) = given.destination {
            (new.endpoint, new.batch) = destination.checked()?;
        }
        new.filter = given.filter.unwrap_or(new.filter);
        new.schema = given.event_delivery_schema.unwrap_or(new.schema);
        new.retry = given.retry_policy.unwrap_or(new.retry);
        new.dead_letter = given.dead_letter_destination.map(DeadLetter::bucket).or(new.dead_letter);
        new.labels = given.labels.unwrap_or(new.labels);
        check(&new, &topic)?;
        if (&new.endpoint, new.schema) != (&old.endpoint, old.schema) {
            new.code = self.entropy.uuid();
            new.state = self.asked(&topic, &new, host).await?;
        }
        self.write(&topic, &new, Some(&old)).await
    }

    /// How the subscription's webhook answers to the question whether it wants events.
    async fn asked(&self, topic: &Topic, new: &Subscription, host: &str) -> Result<State> {
        let (path, topic_name, name, code) = (crate::door::PATH, &topic.name, &new.name, &new.code);
        let url = format!("http://{host}{path}validate?topic={topic_name}&subscription={name}&code={code}");
        self.validated(topic, new, &url).await
    }

    /// Puts a subscription of a topic that is there; in the place of `old`, if that is what is to be changed.
    async fn write(&self, topic: &Topic, new: &Subscription, old: Option<&Subscription>) -> Result<Value> {
        let (there, key) = (&Space::Topic(&topic.name).key(), &Space::Subscription(&topic.name, &new.name).key());
        self.store
            .transact(async |tx: ::store::Tx| {
                if tx.get::<Topic>(there).await?.is_none() {
                    return Err(Error::NotFound(format!("The topic {} does not exist.", topic.name)));
                }
                if old.is_some() && tx.get::<Subscription>(key).await?.as_ref() != old {
                    let why = "The event subscription was changed by another request meanwhile.";
                    return Err(Error::Conflict(why.into()));
                }
                Ok(tx.put(key, new)?)
            })
            .await?;
        Ok(shown_subscription(topic, new, self.clock.now()))
    }

    async fn subscription(&self, topic: &Topic, name: &str) -> Result<Subscription> {
        let found: Option<Subscription> = self.store.get(&Space::Subscription(&topic.name, name).key()).await?;
        found.ok_or_else(|| Error::NotFound(format!("The event subscription {name} does not exist.")))
    }

    pub(crate) async fn get_subscription(&self, caller: &Caller, topic: &str, name: &str) -> Result<Value> {
        let topic = self.own(caller, topic).await?;
        Ok(shown_subscription(&topic, &self.subscription(&topic, name).await?, self.clock.now()))
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
