//! The operations: the table, and what several of them share.

mod permissions;
mod publish;
#[rustfmt::skip]
mod shapes;
mod subscriptions;
mod tags;
mod topics;

use crate::Topics;
use crate::error::{Error, Result};
use crate::model::message::{Attribute, Value};
use crate::model::name::Named;
use base::port::Access;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use room::{Context, Table};

pub use shapes::*;

/// SNS's pages.
const PAGE: usize = 100;
/// Ten messages of together 256 KiB, in a form, where a byte may be three, and their attributes.
const PUBLISH_BODY_BYTES_MAX: usize = 2 << 20;

/// An entry whose input has a `topic_arn`.
macro_rules! on_topic {
    ($table:expr, $name:literal, $input:ty, $run:path) => {
        $table.op($name, |_, i: &$input| on(concat!("sns:", $name), &i.topic_arn), $run)
    };
}

/// An entry whose input has a `subscription_arn`. IAM knows no subscriptions: the topic is what is touched.
macro_rules! on_subscription {
    ($table:expr, $name:literal, $input:ty, $run:path) => {
        $table.op($name, |_, i: &$input| on_topic_of(concat!("sns:", $name), &i.subscription_arn), $run)
    };
}

/// An entry whose input has a `resource_arn`.
macro_rules! on_resource {
    ($table:expr, $name:literal, $input:ty, $run:path) => {
        $table.op($name, |_, i: &$input| on(concat!("sns:", $name), &i.resource_arn), $run)
    };
}

/// Each operation, what it touches, and the function that does it.
pub fn table() -> Table<Topics> {
    let t = Table::new(&shapes::SERVICE)
        .op("CreateTopic", |cx, i: &CreateTopicInput| on("sns:CreateTopic", &named(cx, &i.name)), topics::create)
        .op("ListTopics", |cx, _: &ListTopicsInput| on("sns:ListTopics", &named(cx, "*")), topics::list)
        .op(
            "ListSubscriptions",
            |cx, _: &ListSubscriptionsInput| on("sns:ListSubscriptions", &named(cx, "*")),
            subscriptions::list,
        )
        .large_op(
            "Publish",
            PUBLISH_BODY_BYTES_MAX,
            |_, i: &PublishInput| on("sns:Publish", publish::target(i).unwrap_or("*")),
            publish::one,
        )
        .large_op(
            "PublishBatch",
            PUBLISH_BODY_BYTES_MAX,
            |_, i: &PublishBatchInput| on("sns:Publish", &i.topic_arn),
            publish::batch,
        );
    let t = on_topic!(t, "DeleteTopic", DeleteTopicInput, topics::delete);
    let t = on_topic!(t, "GetTopicAttributes", GetTopicAttributesInput, topics::attributes);
    let t = on_topic!(t, "SetTopicAttributes", SetTopicAttributesInput, topics::set_attribute);
    let t = on_topic!(t, "Subscribe", SubscribeInput, subscriptions::subscribe);
    let t = on_topic!(t, "ConfirmSubscription", ConfirmSubscriptionInput, subscriptions::confirm);
    let t = on_topic!(t, "ListSubscriptionsByTopic", ListSubscriptionsByTopicInput, subscriptions::list_by_topic);
    let t = on_topic!(t, "AddPermission", AddPermissionInput, permissions::add);
    let t = on_topic!(t, "RemovePermission", RemovePermissionInput, permissions::remove);
    let t = on_subscription!(t, "Unsubscribe", UnsubscribeInput, subscriptions::unsubscribe);
    let t = on_subscription!(t, "GetSubscriptionAttributes", GetSubscriptionAttributesInput, subscriptions::attributes);
    let t =
        on_subscription!(t, "SetSubscriptionAttributes", SetSubscriptionAttributesInput, subscriptions::set_attribute);
    let t = on_resource!(t, "TagResource", TagResourceRequest, tags::tag);
    let t = on_resource!(t, "UntagResource", UntagResourceRequest, tags::untag);
    on_resource!(t, "ListTagsForResource", ListTagsForResourceRequest, tags::list)
}

fn on(action: &str, resource: &str) -> Access {
    Access { action: action.to_owned(), resource: resource.to_owned() }
}

fn on_topic_of(action: &str, subscription: &str) -> Access {
    let topic = Named::of_subscription(subscription).map(|(topic, _)| topic.arn().to_string());
    on(action, topic.as_deref().unwrap_or(subscription))
}

fn named(cx: &Context, name: &str) -> String {
    Named { scope: cx.scope().clone(), name: name.to_owned() }.arn().to_string()
}

/// From the API's form.
pub fn attribute_of(given: MessageAttributeValue) -> Result<Attribute> {
    let value = match (given.string_value, given.binary_value) {
        (Some(text), None) => Value::Text(text),
        (None, Some(bytes)) => Value::Bytes(bytes),
        (None, None) => Value::Text(String::new()),
        (Some(_), Some(_)) => {
            return Err(Error::Value("A message attribute has one value: StringValue or BinaryValue.".into()));
        }
    };
    Ok(Attribute { kind: given.data_type, value })
}

/// A paging token: opaque to clients, the last key of the page to us.
fn token(place: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

/// A page of records under `all`, from after the token on, with their keys, and the token of the next.
async fn page<R: ::store::record::Record>(
    room: &Topics,
    all: &::store::Key,
    next: Option<&str>,
) -> Result<(Vec<(bytes::Bytes, R)>, Option<String>)> {
    let from = match next {
        Some(given) => {
            let read = URL_SAFE_NO_PAD.decode(given).ok().filter(|key| key.starts_with(all.as_bytes()));
            let mut from = read.ok_or_else(|| Error::invalid("NextToken"))?;
            from.push(0);
            from
        }
        None => all.as_bytes().to_vec(),
    };
    let items = room.store.scan(&from, &all.end(), PAGE + 1).await?;
    let next = items.get(PAGE).and(items.get(PAGE - 1)).map(|last| token(&last.key));
    let mut found = Vec::with_capacity(items.len().min(PAGE));
    for item in items.into_iter().take(PAGE) {
        found.push((item.key, ::store::record::decode(&item.value)?));
    }
    Ok((found, next))
}
