//! The resource manager's part: topics and their keys, as JSON.

use crate::EventGrid;
use crate::error::{Error, Result};
use crate::model::{self, Schema};
use crate::store::{self, Space, Topic};
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

pub(crate) fn parse<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|why| Error::bad(format!("The request content is invalid: {why}.")))
}

/// What may change of a topic.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicUpdate {
    tags: Option<BTreeMap<String, String>>,
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

    pub(crate) async fn update_topic(&self, caller: &Caller, name: &str, host: &str, body: &[u8]) -> Result<Value> {
        let TopicUpdate { tags } = &parse(body)?;
        self.own(caller, name).await?;
        let key = &Space::Topic(name).key();
        let none = || Error::NotFound(format!("The topic {name} does not exist."));
        let topic = self
            .store
            .transact(async |tx: ::store::Tx| {
                let mut topic = tx.get::<Topic>(key).await?.ok_or_else(none)?;
                topic.tags = tags.clone().unwrap_or(topic.tags);
                tx.put(key, &topic)?;
                Ok::<_, Error>(topic)
            })
            .await?;
        Ok(shown(&topic, host))
    }

    /// The caller's topics whose ids begin so, all of them: they are few.
    pub(crate) async fn list_topics(&self, caller: &Caller, place: &str, host: &str) -> Result<Value> {
        let all = store::topics();
        let items = self.store.scan(all.as_bytes(), &all.end(), model::TOPICS_MAX).await?;
        let topics: Vec<Topic> =
            items.iter().map(|item| ::store::record::decode(&item.value)).collect::<::store::Result<_>>()?;
        let lies = |id: &str| id.get(..place.len()).is_some_and(|start| start.eq_ignore_ascii_case(place));
        let ours = topics.iter().filter(|t| t.scope.account == caller.scope.account && lies(&t.id));
        Ok(json!({"value": ours.map(|topic| shown(topic, host)).collect::<Vec<_>>()}))
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
}
