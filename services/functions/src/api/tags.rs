//! Tags of functions and capacity providers.

use super::shapes as s;
use super::update::{Fresh, begin};
use crate::Functions;
use crate::capacity;
use crate::change::{check_may_change, wait_for};
use crate::error::{Error, Result};
use crate::model::managed::CALLS_MAX;
use crate::model::settings::Settings;
use crate::model::{LATEST, TAGS_MAX, name};
use crate::records::{CapacityProvider, Function};
use crate::store::{At, function};
use base::{Arn, FunctionRef, Scope};
use engine::Isolation;
use room::Context;
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::Empty;

type Tags = BTreeMap<String, String>;

pub async fn tag(room: Arc<Functions>, cx: Context, input: s::TagResourceRequest) -> Result<Empty> {
    check(&input.tags)?;
    let more = &input.tags;
    change(&room, &cx, &input.resource, |tags: &mut Tags| {
        tags.extend(more.clone());
    })
    .await
}

pub async fn untag(room: Arc<Functions>, cx: Context, input: s::UntagResourceRequest) -> Result<Empty> {
    let keys = &input.tag_keys;
    change(&room, &cx, &input.resource, |tags: &mut Tags| tags.retain(|key, _| !keys.contains(key))).await
}

pub async fn list(room: Arc<Functions>, cx: Context, input: s::ListTagsRequest) -> Result<s::ListTagsResponse> {
    if let Some(provider) = name::capacity_provider(cx.scope(), &input.resource) {
        let record = room.store.get::<CapacityProvider>(&At::CapacityProvider(cx.scope(), &provider).key()).await?;
        let tags = record.ok_or_else(|| capacity::missing(cx.scope(), &provider))?.tags;
        return Ok(s::ListTagsResponse { tags: Some(tags) });
    }
    let named = named(&cx, &input.resource)?;
    let record = room.store.get::<Function>(&At::Function(&named.scope, &named.name).key()).await?;
    let record = record.ok_or_else(|| Error::function_not_found(name::arn_of(&named)))?;
    Ok(s::ListTagsResponse { tags: Some(record.tags) })
}

async fn change(room: &Functions, cx: &Context, resource: &str, edit: impl Fn(&mut Tags)) -> Result<Empty> {
    let edit = &edit;
    if let Some(provider) = name::capacity_provider(cx.scope(), resource) {
        return change_provider(room, cx.scope(), &provider, edit).await;
    }
    let named = &named(cx, resource)?;
    let fresh = &Fresh::of(room);
    room.store
        .transact(|tx| async move {
            let mut record = function(&tx, named).await?;
            edit(&mut record.tags);
            check(&record.tags)?;
            let mut next = record.latest.clone();
            heed(room, &record.tags, &mut next.settings)?;
            if next.settings != record.latest.settings {
                // Another wall or network is another configuration: instances of the old one are not used for it.
                check_may_change(named, &record, None)?;
                begin(&mut record, next, fresh);
                wait_for(&tx, &named.scope, &named.name, LATEST, &record.latest)?;
            }
            Ok::<_, Error>(tx.put(&At::Function(&named.scope, &named.name).key(), &record)?)
        })
        .await?;
    room.pending.notify_one();
    Ok(Empty {})
}

async fn change_provider(room: &Functions, scope: &Scope, provider: &str, edit: &impl Fn(&mut Tags)) -> Result<Empty> {
    room.store
        .transact(|tx| async move {
            let mut record = capacity::provider(&tx, scope, provider).await?;
            edit(&mut record.tags);
            check(&record.tags)?;
            Ok::<_, Error>(tx.put(&At::CapacityProvider(scope, provider).key(), &record)?)
        })
        .await?;
    Ok(Empty {})
}

fn named(cx: &Context, resource: &str) -> Result<FunctionRef> {
    let arn: Arn = resource.parse().map_err(|_| Error::Invalid(format!("Invalid ARN: {resource}")))?;
    if !arn.resource.starts_with("function:") {
        return Err(Error::unsupported("tags on resources other than functions and capacity providers"));
    }
    let named = name::function(cx.scope(), resource, None)?;
    match named.qualifier {
        None => Ok(named),
        Some(_) => {
            let message = "Tags on function aliases and versions are not supported. Please specify a function ARN.";
            Err(Error::Invalid(message.into()))
        }
    }
}

/// The tag that says how strong a wall the function's instances have.
const ISOLATION: &str = "wadi:isolation";
/// The tag that says in which of the node's networks they are, where `VpcConfig` does not.
const NETWORK: &str = "wadi:network";

/// The tag that says how many calls one of its instances takes at once, where there is no `CapacityProviderConfig`.
const CONCURRENCY: &str = "wadi:concurrency";

/// Sets what tags say and nothing else does.
///
/// # Errors
/// There is no such wall or network, or a number is none: the text says which there are.
pub fn heed(room: &Functions, tags: &Tags, settings: &mut Settings) -> Result<()> {
    settings.isolation = isolation(tags)?;
    settings.calls_tagged = calls(tags)?;
    let network = tags.get(NETWORK).cloned();
    if let Some(name) = network.as_ref().filter(|_| network != settings.network_tagged) {
        let known = room.runner.network(name);
        known.map_err(|reason| Error::Invalid(format!("The tag {NETWORK} cannot be followed: {reason}")))?;
    }
    settings.network_tagged = network;
    Ok(())
}

/// What the tag says; `None` where there is none.
fn isolation(tags: &Tags) -> Result<Option<Isolation>> {
    let Some(asked) = tags.get(ISOLATION) else { return Ok(None) };
    let found = Isolation::ALL.into_iter().find(|isolation| isolation.name() == asked);
    let names = Isolation::ALL.map(Isolation::name).join(", ");
    found.map(Some).ok_or_else(|| Error::Invalid(format!("The tag {ISOLATION} is {asked:?}, and not one of: {names}")))
}

/// What the tag says; `None` where there is none.
fn calls(tags: &Tags) -> Result<Option<u32>> {
    let Some(asked) = tags.get(CONCURRENCY) else { return Ok(None) };
    match asked.parse() {
        Ok(1) => Ok(None),
        Ok(calls) if (1..=CALLS_MAX).contains(&calls) => Ok(Some(calls)),
        _ => {
            let text = format!("The tag {CONCURRENCY} is {asked:?}, and not a number from 1 to {CALLS_MAX}");
            Err(Error::Invalid(text))
        }
    }
}

/// The bounds on a resource's tags as a whole.
pub fn check(tags: &Tags) -> Result<()> {
    if tags.len() > TAGS_MAX {
        return Err(Error::Invalid("Number of tags exceeds resource tag limit.".into()));
    }
    match tags.keys().find(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        Some(key) => Err(Error::Invalid(format!("Tag keys that start with aws: are reserved: {key}"))),
        None => Ok(()),
    }
}
