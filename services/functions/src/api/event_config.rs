//! Settings of asynchronous invocations: how often and how long an event is tried, and where its outcome is told.

use super::{configuration::number, page_size, shapes as s};
use crate::error::{Error, Result};
use crate::model::{LATEST, name};
use crate::records::EventConfig;
use crate::store::{At, Below, function, page, resolve};
use crate::{Functions, destination};
use base::FunctionRef;
use room::Context;
use std::sync::Arc;
use store::{Key, KeyReader, Tx};
use wire::Empty;

/// Replaces the settings as a whole.
pub async fn put(
    room: Arc<Functions>,
    cx: Context,
    input: s::PutFunctionEventInvokeConfigRequest,
) -> Result<s::FunctionEventInvokeConfig> {
    let named = name::function(cx.scope(), &input.function_name, input.qualifier.as_deref())?;
    let (on_success, on_failure) = destinations(input.destination_config.as_ref())?;
    let config = EventConfig {
        on_success: on_success.filter(|arn| !arn.is_empty()),
        on_failure: on_failure.filter(|arn| !arn.is_empty()),
        retries_max: input.maximum_retry_attempts.and_then(|n| u32::try_from(n).ok()),
        age_max_s: input.maximum_event_age_in_seconds.and_then(|n| u32::try_from(n).ok()),
        modified: room.clock.now(),
    };
    if config.retries_max.is_none() && config.age_max_s.is_none() && input.destination_config.is_none() {
        return Err(nothing_set());
    }
    let (named, key, config) = (&named, &key_of(&named), &config);
    room.store
        .transact(|tx| async move {
            there(&tx, named).await?;
            Ok::<_, Error>(tx.put(key, config)?)
        })
        .await?;
    Ok(shape(named, config))
}

/// Changes what is given and keeps the rest.
pub async fn update(
    room: Arc<Functions>,
    cx: Context,
    input: s::UpdateFunctionEventInvokeConfigRequest,
) -> Result<s::FunctionEventInvokeConfig> {
    let named = &name::function(cx.scope(), &input.function_name, input.qualifier.as_deref())?;
    let places = &destinations(input.destination_config.as_ref())?;
    let limits = input.maximum_retry_attempts.or(input.maximum_event_age_in_seconds);
    if limits.is_none() && input.destination_config.is_none() {
        return Err(nothing_set());
    }
    let (key, input, now) = (&key_of(named), &input, room.clock.now());
    let config = room
        .store
        .transact(|tx| async move {
            there(&tx, named).await?;
            let mut config = tx.get::<EventConfig>(key).await?.ok_or_else(|| missing(named))?;
            let given = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok());
            config.retries_max = given(input.maximum_retry_attempts).or(config.retries_max);
            config.age_max_s = given(input.maximum_event_age_in_seconds).or(config.age_max_s);
            for (place, given) in [(&mut config.on_success, &places.0), (&mut config.on_failure, &places.1)] {
                if let Some(arn) = given {
                    *place = Some(arn.clone()).filter(|arn| !arn.is_empty());
                }
            }
            config.modified = now;
            tx.put(key, &config)?;
            Ok::<_, Error>(config)
        })
        .await?;
    Ok(shape(named, &config))
}

pub async fn get(
    room: Arc<Functions>,
    cx: Context,
    input: s::GetFunctionEventInvokeConfigRequest,
) -> Result<s::FunctionEventInvokeConfig> {
    let named = name::function(cx.scope(), &input.function_name, input.qualifier.as_deref())?;
    let config = room.store.get::<EventConfig>(&key_of(&named)).await?;
    Ok(shape(&named, &config.ok_or_else(|| missing(&named))?))
}

pub async fn delete(
    room: Arc<Functions>,
    cx: Context,
    input: s::DeleteFunctionEventInvokeConfigRequest,
) -> Result<Empty> {
    let named = &name::function(cx.scope(), &input.function_name, input.qualifier.as_deref())?;
    let key = &key_of(named);
    room.store
        .transact(|tx| async move {
            tx.get::<EventConfig>(key).await?.ok_or_else(|| missing(named))?;
            tx.delete(key);
            Ok::<_, Error>(())
        })
        .await?;
    Ok(Empty {})
}

pub async fn list(
    room: Arc<Functions>,
    cx: Context,
    input: s::ListFunctionEventInvokeConfigsRequest,
) -> Result<s::ListFunctionEventInvokeConfigsResponse> {
    let named = &name::unqualified(cx.scope(), &input.function_name)?;
    room.store.transact(|tx| async move { function(&tx, named).await }).await?;
    let prefix = Below::EventConfigs.of(&named.scope, &named.name);
    let marker = input.marker.as_deref().filter(|m| !m.is_empty());
    let found = page::<EventConfig>(&room.store, &prefix, marker, page_size(input.max_items)).await?;
    let one = |key: &[u8], config: &EventConfig| {
        let qualifier = KeyReader::new(&key[prefix.as_bytes().len()..]).text();
        shape(&FunctionRef { qualifier, ..named.clone() }, config)
    };
    Ok(s::ListFunctionEventInvokeConfigsResponse {
        function_event_invoke_configs: Some(found.items.iter().map(|(k, c)| one(k, c)).collect()),
        next_marker: found.next,
    })
}

/// The destinations of success and of failure, as far as they are given; empty says "none".
fn destinations(config: Option<&s::DestinationConfig>) -> Result<(Option<String>, Option<String>)> {
    let Some(config) = config else { return Ok((None, None)) };
    let success = config.on_success.as_ref().map(|d| d.destination.clone().unwrap_or_default());
    let failure = config.on_failure.as_ref().map(|d| d.destination.clone().unwrap_or_default());
    if success.as_ref().is_some_and(|arn| arn.starts_with("arn:aws:s3:")) {
        return Err(Error::Invalid(
            "The destination ARN of OnSuccess is invalid: a bucket takes failures alone.".into(),
        ));
    }
    for arn in [&success, &failure].into_iter().flatten().filter(|arn| !arn.is_empty()) {
        match arn.parse::<base::Arn>() {
            Ok(to) if destination::SERVICES.contains(&to.service.as_str()) => {}
            _ => return Err(Error::Invalid(format!("The destination ARN {arn} is invalid."))),
        }
    }
    Ok((success, failure))
}

fn qualified(named: &FunctionRef) -> String {
    let qualifier = named.qualifier.as_deref().unwrap_or(LATEST);
    name::qualified(&named.scope, &named.name, Some(qualifier)).to_string()
}

fn key_of(named: &FunctionRef) -> Key {
    At::EventConfig(&named.scope, &named.name, named.qualifier.as_deref().unwrap_or(LATEST)).key()
}

fn nothing_set() -> Error {
    Error::Invalid("You must specify at least one of error handling or destination setting.".into())
}

/// The function and what the qualifier names must be there; AWS has a text of its own for these operations.
async fn there(tx: &Tx, named: &FunctionRef) -> Result<()> {
    match resolve(tx, named).await {
        Err(Error::NotFound(_)) => Err(Error::NotFound("The function doesn't exist.".into())),
        found => found.map(|_| ()),
    }
}

fn missing(named: &FunctionRef) -> Error {
    Error::NotFound(format!("The function {} doesn't have an EventInvokeConfig", qualified(named)))
}

fn shape(named: &FunctionRef, config: &EventConfig) -> s::FunctionEventInvokeConfig {
    s::FunctionEventInvokeConfig {
        last_modified: Some(config.modified.seconds()),
        function_arn: Some(qualified(named)),
        maximum_retry_attempts: config.retries_max.map(number),
        maximum_event_age_in_seconds: config.age_max_s.map(number),
        destination_config: Some(s::DestinationConfig {
            on_success: Some(s::OnSuccess { destination: config.on_success.clone() }),
            on_failure: Some(s::OnFailure { destination: config.on_failure.clone() }),
        }),
    }
}
