//! Subscribe, ConfirmSubscription, Unsubscribe, the lists, and the attributes of subscriptions.

use super::*;
use crate::door::ANYBODY;
use crate::model::{retry, subscription};
use crate::store::{self, Space, State, Subscription, Topic};
use ::store::Tx;
use ::store::alarm::Alarm;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use wire::Empty;

/// What is told of a subscription that nobody has confirmed.
const PENDING: &str = "pending confirmation";
/// How long a token confirms.
const TOKEN_FOR: Duration = Duration::from_secs(3 * 24 * 3600);
/// Subscriptions of a topic; AWS has 12,500,000, and 100 of a FIFO topic.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;
const SUBSCRIPTIONS_OF_FIFO_MAX: usize = 100;
const FILTERS_MAX: usize = 200;

pub async fn subscribe(room: Arc<Topics>, cx: Context, input: SubscribeInput) -> Result<SubscribeResponse> {
    let named = Named::of_topic(&input.topic_arn)?;
    let endpoint = input.endpoint.unwrap_or_default();
    subscription::check_endpoint(&named, &input.protocol, &endpoint)?;
    let given = input.attributes.unwrap_or_default();
    let asked = room.new_subscription(&cx, input.protocol, endpoint, &given)?;
    let made = room.store.transact(async |tx: Tx| room.put_new(&tx, &named, &asked).await).await?;
    room.alarms.wake();
    let told = made.state == State::Confirmed || input.return_subscription_arn == Some(true);
    let arn = if told { named.subscription(&made.id).to_string() } else { PENDING.to_owned() };
    Ok(SubscribeResponse { subscription_arn: Some(arn) })
}

impl Topics {
    fn new_subscription(
        &self,
        cx: &Context,
        protocol: String,
        endpoint: String,
        given: &BTreeMap<String, String>,
    ) -> Result<Subscription> {
        // Only of an endpoint it is not known whether it wants to be one.
        let state = if protocol.starts_with("http") { State::Pending } else { State::Confirmed };
        let mut made = Subscription {
            id: self.entropy.uuid(),
            protocol,
            endpoint,
            created: self.clock.now(),
            state,
            token: (state == State::Pending).then(|| self.token()),
            host: cx.host.clone(),
            authenticated: true,
            guarded: false,
            attributes: BTreeMap::new(),
        };
        // A policy is read as its scope says.
        let scope = given.get_key_value("FilterPolicyScope").into_iter();
        for (name, text) in scope.chain(given.iter().filter(|(name, _)| *name != "FilterPolicyScope")) {
            subscription::set(&mut made, name, text, true)?;
        }
        Ok(made)
    }

    fn token(&self) -> String {
        let mut bytes = [0; 64];
        self.entropy.fill(&mut bytes);
        hex::encode(bytes)
    }

    /// Puts a new subscription, or finds the one that is the same.
    async fn put_new(&self, tx: &Tx, named: &Named, asked: &Subscription) -> Result<Subscription> {
        let topic = tx.get::<Topic>(&Space::Topic(&named.scope, &named.name).key()).await?;
        let topic = topic.ok_or(Error::NotFound("Topic"))?;
        let known = Space::Endpoint(&named.scope, &named.name, (&asked.protocol, &asked.endpoint)).key();
        if let Some(id) = tx.get_bytes(&known).await?
            && let Some(there) = self.same(tx, named, &String::from_utf8_lossy(&id), asked).await?
        {
            if there.state == State::Pending {
                self.shake_hands(tx, (named, &topic), &there, "SubscriptionConfirmation").await?;
            }
            return Ok(there);
        }
        self.check_room(named, &topic, asked).await?;
        if asked.state == State::Pending {
            self.shake_hands(tx, (named, &topic), asked, "SubscriptionConfirmation").await?;
            self.let_run_out(tx, named, asked)?;
        }
        tx.put(&Space::Subscription(&named.scope, &named.name, &asked.id).key(), asked)?;
        tx.put_bytes(&known, asked.id.clone().into_bytes())?;
        store::next_edition(tx, &named.scope, &named.name).await?;
        Ok(asked.clone())
    }

    fn let_run_out(&self, tx: &Tx, named: &Named, subscription: &Subscription) -> Result<()> {
        let id = named.subscription(&subscription.id).to_string();
        Ok(self.alarms.set(tx, &Alarm { due: self.clock.now().plus(TOKEN_FOR), id })?)
    }

    /// The subscription of this id, if it goes on and is what is asked for.
    async fn same(&self, tx: &Tx, named: &Named, id: &str, asked: &Subscription) -> Result<Option<Subscription>> {
        let there = tx.get::<Subscription>(&Space::Subscription(&named.scope, &named.name, id).key()).await?;
        let Some(there) = there.filter(|there| there.state != State::Ended) else { return Ok(None) };
        if !asked.attributes.is_empty() && there.attributes != asked.attributes {
            return Err(Error::parameter("Attributes", "Subscription already exists with different attributes"));
        }
        Ok(Some(there))
    }

    /// May the topic have one more? Looked up beside the transaction: who subscribes at the same time may be one more.
    async fn check_room(&self, named: &Named, topic: &Topic, asked: &Subscription) -> Result<()> {
        let all = self.all_subscriptions(named).await?;
        let most = if topic.fifo { SUBSCRIPTIONS_OF_FIFO_MAX } else { SUBSCRIPTIONS_MAX };
        if all.len() >= most {
            return Err(Error::TooManySubscriptions(most));
        }
        let filters = all.iter().filter(|s| s.attributes.contains_key("FilterPolicy")).count();
        match asked.attributes.contains_key("FilterPolicy") && filters >= FILTERS_MAX {
            true => Err(Error::TooManyFilters(FILTERS_MAX)),
            false => Ok(()),
        }
    }
}

/// The record of a subscription that goes on.
async fn there(tx: &Tx, named: &Named, id: &str) -> Result<Subscription> {
    let found = tx.get::<Subscription>(&Space::Subscription(&named.scope, &named.name, id).key()).await?;
    found.filter(|found| found.state != State::Ended).ok_or(Error::NotFound("Subscription"))
}

pub async fn confirm(
    room: Arc<Topics>,
    cx: Context,
    input: ConfirmSubscriptionInput,
) -> Result<ConfirmSubscriptionResponse> {
    let named = Named::of_topic(&input.topic_arn)?;
    let guarded = input.authenticate_on_unsubscribe.is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let is_signed = cx.caller.principal != ANYBODY;
    room.topic(&named).await?;
    let all = room.all_subscriptions(&named).await?;
    let meant = all.into_iter().find(|s| s.token.as_deref() == Some(input.token.as_str()));
    let id = meant.ok_or_else(|| Error::invalid("Token"))?.id;
    let key = Space::Subscription(&named.scope, &named.name, &id).key();
    room.store
        .transact(async |tx: Tx| {
            let mut found = tx.get::<Subscription>(&key).await?.ok_or(Error::NotFound("Subscription"))?;
            // Confirmed again, it is as it was.
            if found.state != State::Confirmed {
                found.state = State::Confirmed;
                found.authenticated = is_signed;
                found.guarded = guarded && is_signed;
                tx.put(&key, &found)?;
                store::next_edition(&tx, &named.scope, &named.name).await?;
            }
            Ok::<_, Error>(())
        })
        .await?;
    Ok(ConfirmSubscriptionResponse { subscription_arn: Some(named.subscription(&id).to_string()) })
}

pub async fn unsubscribe(room: Arc<Topics>, cx: Context, input: UnsubscribeInput) -> Result<Empty> {
    let (named, id) = Named::of_subscription(&input.subscription_arn)?;
    let is_signed = cx.caller.principal != ANYBODY;
    let topic_key = Space::Topic(&named.scope, &named.name).key();
    room.store
        .transact(async |tx: Tx| {
            let Some(mut topic) = tx.get::<Topic>(&topic_key).await? else { return Ok(()) };
            let mut found = match there(&tx, &named, &id).await {
                Ok(found) => found,
                // Who ends what has ended is told that it has.
                Err(Error::NotFound(_)) => return Ok(()),
                Err(error) => return Err(error),
            };
            if found.guarded && !is_signed {
                return Err(Error::Unauthorized(
                    "Not authorized: the subscription ends by a signed request only".into(),
                ));
            }
            if found.state == State::Pending {
                return Err(Error::parameter("SubscriptionArn", "the subscription is pending confirmation"));
            }
            topic.deleted += 1;
            // Not its owner, maybe: the endpoint is told, and may take it back.
            if !is_signed && found.protocol.starts_with("http") {
                found.state = State::Ended;
                found.token = Some(room.token());
                room.shake_hands(&tx, (&named, &topic), &found, "UnsubscribeConfirmation").await?;
                room.let_run_out(&tx, &named, &found)?;
                tx.put(&Space::Subscription(&named.scope, &named.name, &id).key(), &found)?;
                store::next_edition(&tx, &named.scope, &named.name).await?;
            } else {
                room.forget(&tx, &named, &found).await?;
            }
            Ok(tx.put(&topic_key, &topic)?)
        })
        .await?;
    room.alarms.wake();
    Ok(Empty {})
}

fn shape(named: &Named, of: &Subscription) -> shapes::Subscription {
    let arn = match of.state {
        State::Confirmed => named.subscription(&of.id).to_string(),
        _ => "PendingConfirmation".to_owned(),
    };
    shapes::Subscription {
        subscription_arn: Some(arn),
        owner: Some(named.scope.account.to_string()),
        protocol: Some(of.protocol.clone()),
        endpoint: Some(of.endpoint.clone()),
        topic_arn: Some(named.arn().to_string()),
    }
}

/// A page of the subscriptions that go on.
async fn listed(
    room: &Topics,
    cx: &Context,
    all: &::store::Key,
    next: Option<&str>,
) -> Result<(Vec<shapes::Subscription>, Option<String>)> {
    let (found, next) = page::<Subscription>(room, all, next).await?;
    let before = store::subscriptions(cx.scope(), None).as_bytes().len();
    let shaped = found.iter().filter(|(_, found)| found.state != State::Ended).filter_map(|(key, found)| {
        let name = ::store::KeyReader::new(key.get(before..)?).text()?;
        Some(shape(&Named { scope: cx.scope().clone(), name }, found))
    });
    Ok((shaped.collect(), next))
}

pub async fn list(room: Arc<Topics>, cx: Context, input: ListSubscriptionsInput) -> Result<ListSubscriptionsResponse> {
    let all = store::subscriptions(cx.scope(), None);
    let (found, next_token) = listed(&room, &cx, &all, input.next_token.as_deref()).await?;
    Ok(ListSubscriptionsResponse { subscriptions: Some(found), next_token })
}

pub async fn list_by_topic(
    room: Arc<Topics>,
    cx: Context,
    input: ListSubscriptionsByTopicInput,
) -> Result<ListSubscriptionsByTopicResponse> {
    let named = Named::of_topic(&input.topic_arn)?;
    room.topic(&named).await?;
    let all = store::subscriptions(cx.scope(), Some(&named.name));
    let (found, next_token) = listed(&room, &cx, &all, input.next_token.as_deref()).await?;
    Ok(ListSubscriptionsByTopicResponse { subscriptions: Some(found), next_token })
}

pub async fn attributes(
    room: Arc<Topics>,
    _: Context,
    input: GetSubscriptionAttributesInput,
) -> Result<GetSubscriptionAttributesResponse> {
    let (named, id) = Named::of_subscription(&input.subscription_arn)?;
    let found = room.store.transact(async |tx: Tx| there(&tx, &named, &id).await).await?;
    let topic = room.topic(&named).await?;
    let mut told = found.attributes.clone();
    told.entry("RawMessageDelivery".into()).or_insert_with(|| "false".into());
    if told.contains_key("FilterPolicy") {
        told.entry("FilterPolicyScope".into()).or_insert_with(|| crate::model::filter::ATTRIBUTES.into());
    }
    if found.protocol.starts_with("http") {
        let of = |attributes: &BTreeMap<String, String>| attributes.get("DeliveryPolicy").cloned();
        let held = retry::effective(of(&topic.attributes).as_deref(), of(&found.attributes).as_deref());
        told.insert("EffectiveDeliveryPolicy".into(), retry::told(&held).to_string());
    }
    told.extend([
        ("SubscriptionArn".into(), named.subscription(&id).to_string()),
        ("TopicArn".into(), named.arn().to_string()),
        ("Owner".into(), named.scope.account.to_string()),
        ("Protocol".into(), found.protocol.clone()),
        ("Endpoint".into(), found.endpoint.clone()),
        ("PendingConfirmation".into(), (found.state == State::Pending).to_string()),
        ("ConfirmationWasAuthenticated".into(), found.authenticated.to_string()),
        ("SubscriptionPrincipal".into(), format!("arn:aws:iam::{}:root", named.scope.account)),
    ]);
    Ok(GetSubscriptionAttributesResponse { attributes: Some(told) })
}

pub async fn set_attribute(room: Arc<Topics>, _: Context, input: SetSubscriptionAttributesInput) -> Result<Empty> {
    let (named, id) = Named::of_subscription(&input.subscription_arn)?;
    let (name, text) = (input.attribute_name, input.attribute_value.unwrap_or_default());
    let filters = match name.as_str() {
        "FilterPolicy" => room.all_subscriptions(&named).await?,
        _ => Vec::new(),
    };
    let others = filters.iter().filter(|s| s.id != id && s.attributes.contains_key("FilterPolicy")).count();
    if others >= FILTERS_MAX {
        return Err(Error::TooManyFilters(FILTERS_MAX));
    }
    room.store
        .transact(async |tx: Tx| {
            let mut found = there(&tx, &named, &id).await?;
            subscription::set(&mut found, &name, &text, false)?;
            tx.put(&Space::Subscription(&named.scope, &named.name, &id).key(), &found)?;
            Ok::<_, Error>(store::next_edition(&tx, &named.scope, &named.name).await?)
        })
        .await?;
    Ok(Empty {})
}
