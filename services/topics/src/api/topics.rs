//! CreateTopic, DeleteTopic, ListTopics, GetTopicAttributes, SetTopicAttributes.

use super::*;
use crate::model::{self, attributes, name, policy, retry};
use crate::store::{self, Space, State, Topic};
use ::store::Tx;
use base::Scope;
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::Empty;

/// Topics of an account in a region.
const TOPICS_MAX: usize = 100_000;

pub async fn create(room: Arc<Topics>, cx: Context, input: CreateTopicInput) -> Result<CreateTopicResponse> {
    if input.data_protection_policy.is_some_and(|policy| !policy.is_empty()) {
        return Err(Error::lacking("DataProtectionPolicy"));
    }
    let (tags, given) = (tags::pairs(input.tags.unwrap_or_default()), input.attributes.unwrap_or_default());
    let topic = new(&room, &input.name, &given, &tags)?;
    let named = Named { scope: cx.scope().clone(), name: input.name };
    let (key, full) = (Space::Topic(&named.scope, &named.name).key(), room.is_full(&named.scope).await?);
    room.store
        .transact(async |tx: Tx| match tx.get::<Topic>(&key).await? {
            Some(there) => same(&there, &topic, &given, &tags),
            None if full => Err(Error::TooManyTopics(TOPICS_MAX)),
            None => {
                tx.put(&key, &topic)?;
                Ok(store::next_edition(&tx, &named.scope, &named.name).await?)
            }
        })
        .await?;
    Ok(CreateTopicResponse { topic_arn: Some(named.arn().to_string()) })
}

fn new(room: &Topics, name: &str, given: &BTreeMap<String, String>, tags: &[(String, String)]) -> Result<Topic> {
    let mut topic = Topic {
        id: room.entropy.uuid(),
        created: room.clock.now(),
        fifo: false,
        attributes: BTreeMap::new(),
        policy: None,
        tags: BTreeMap::new(),
        deleted: 0,
    };
    model::add_tags(&mut topic.tags, tags)?;
    // Others depend on the kind.
    let fifo = given.get_key_value("FifoTopic").into_iter();
    for (name, text) in fifo.chain(given.iter().filter(|(name, _)| *name != "FifoTopic")) {
        attributes::set(&mut topic, name, text, true)?;
    }
    name::check(name, topic.fifo)?;
    Ok(topic)
}

/// A topic that is there is as good as one that is created, if it is what was asked for.
fn same(there: &Topic, asked: &Topic, given: &BTreeMap<String, String>, tags: &[(String, String)]) -> Result<()> {
    let differs = |name: &String| match name.as_str() {
        "Policy" => there.policy != asked.policy,
        "FifoTopic" => there.fifo != asked.fifo,
        name => there.attributes.get(name) != asked.attributes.get(name),
    };
    if given.keys().any(differs) {
        return Err(Error::parameter("Attributes", "Topic already exists with different attributes"));
    }
    if !tags.is_empty() && there.tags != asked.tags {
        return Err(Error::parameter("Tags", "Topic already exists with different tags"));
    }
    Ok(())
}

impl Topics {
    /// Has an account as many topics in a region as it may? Counted when they are few enough to look.
    async fn is_full(&self, scope: &Scope) -> Result<bool> {
        let all = store::topics(scope);
        let (mut from, mut count) = (all.as_bytes().to_vec(), 0);
        loop {
            let items = self.store.scan(&from, &all.end(), 1_000).await?;
            count += items.len();
            match items.last() {
                Some(last) if items.len() == 1_000 && count < TOPICS_MAX => {
                    from = last.key.to_vec();
                    from.push(0);
                }
                _ => return Ok(count >= TOPICS_MAX),
            }
        }
    }
}

/// Changes a topic.
pub async fn change(room: &Topics, named: &Named, how: impl Fn(&mut Topic) -> Result<()> + Sync) -> Result<Topic> {
    let key = Space::Topic(&named.scope, &named.name).key();
    room.store
        .transact(async |tx: Tx| {
            let mut topic = tx.get::<Topic>(&key).await?.ok_or(Error::NotFound("Topic"))?;
            how(&mut topic)?;
            tx.put(&key, &topic)?;
            store::next_edition(&tx, &named.scope, &named.name).await?;
            Ok(topic)
        })
        .await
}

/// With its subscriptions. One that is not there is no error.
pub async fn delete(room: Arc<Topics>, _: Context, input: DeleteTopicInput) -> Result<Empty> {
    let named = Named::of_topic(&input.topic_arn)?;
    let key = Space::Topic(&named.scope, &named.name).key();
    let all = store::subscriptions(&named.scope, Some(&named.name));
    room.store
        .transact(async |tx: Tx| {
            let Some(topic) = tx.get::<Topic>(&key).await? else { return Ok(()) };
            for item in tx.scan(all.as_bytes(), &all.end(), 2 * subscriptions::SUBSCRIPTIONS_MAX).await? {
                let subscription = ::store::record::decode(&item.value)?;
                room.forget(&tx, &named, &subscription).await?;
            }
            tx.delete(&key);
            tx.delete(&Space::Sequence(&topic.id).key());
            Ok::<_, Error>(store::next_edition(&tx, &named.scope, &named.name).await?)
        })
        .await?;
    Ok(Empty {})
}

pub async fn list(room: Arc<Topics>, cx: Context, input: ListTopicsInput) -> Result<ListTopicsResponse> {
    let all = store::topics(cx.scope());
    let (found, next_token) = page::<Topic>(&room, &all, input.next_token.as_deref()).await?;
    let shape = |(key, _): (bytes::Bytes, Topic)| {
        let name = ::store::KeyReader::new(&key[all.as_bytes().len()..]).text()?;
        Some(shapes::Topic { topic_arn: Some(named(&cx, &name)) })
    };
    Ok(ListTopicsResponse { topics: Some(found.into_iter().filter_map(shape).collect()), next_token })
}

pub async fn attributes(
    room: Arc<Topics>,
    _: Context,
    input: GetTopicAttributesInput,
) -> Result<GetTopicAttributesResponse> {
    let named = Named::of_topic(&input.topic_arn)?;
    let topic = room.topic(&named).await?;
    let all = room.all_subscriptions(&named).await?;
    let count = |state: State| all.iter().filter(|s| s.state == state).count().to_string();
    let policy = topic.policy.clone().unwrap_or_else(|| policy::default(&named));
    let delivery = topic.attributes.get("DeliveryPolicy").map(String::as_str);
    let mut told = topic.attributes.clone();
    told.extend([
        ("TopicArn".into(), named.arn().to_string()),
        ("Owner".into(), named.scope.account.to_string()),
        ("Policy".into(), policy.to_string()),
        ("SubscriptionsPending".into(), count(State::Pending)),
        ("SubscriptionsConfirmed".into(), count(State::Confirmed)),
        ("SubscriptionsDeleted".into(), topic.deleted.to_string()),
        ("EffectiveDeliveryPolicy".into(), retry::told_of_topic(delivery).to_string()),
    ]);
    told.entry("DisplayName".into()).or_default();
    if topic.fifo {
        told.insert("FifoTopic".into(), "true".into());
        told.entry("ContentBasedDeduplication".into()).or_insert_with(|| "false".into());
        told.entry("FifoThroughputScope".into()).or_insert_with(|| "Topic".into());
    }
    Ok(GetTopicAttributesResponse { attributes: Some(told) })
}

pub async fn set_attribute(room: Arc<Topics>, _: Context, input: SetTopicAttributesInput) -> Result<Empty> {
    let named = Named::of_topic(&input.topic_arn)?;
    let text = input.attribute_value.unwrap_or_default();
    change(&room, &named, |topic| attributes::set(topic, &input.attribute_name, &text, false)).await?;
    Ok(Empty {})
}
