//! API destinations: CreateApiDestination, DescribeApiDestination, ListApiDestinations, UpdateApiDestination,
//! DeleteApiDestination.
//!
//! Differs from AWS: an endpoint may be `http://`, too.

use super::*;
use crate::store::{self, Connection, Destination as Record, Space};
use crate::{cloudevents, destination::PER_SECOND};
use ::store::Tx;
use std::sync::Arc;
use wire::Empty;

fn rate(given: Option<i32>) -> Option<u32> {
    given.and_then(|n| u32::try_from(n).ok())
}

pub async fn create(
    bus: Arc<Bus>,
    cx: Context,
    input: CreateApiDestinationRequest,
) -> Result<CreateApiDestinationResponse> {
    model::check_endpoint("InvocationEndpoint", &input.invocation_endpoint)?;
    let connection = bus.connection(cx.scope(), &input.connection_arn).await?;
    connections::full(&bus, &store::destinations(cx.scope())).await?;
    let allowed = cloudevents::shake_hands(&bus, &connection, &input.invocation_endpoint, &cx.host).await?;
    let (id, now, name) = (bus.entropy.uuid(), bus.clock.now(), &input.name);
    let record = Record {
        id,
        created: now,
        modified: now,
        description: input.description,
        connection: input.connection_arn,
        endpoint: input.invocation_endpoint,
        method: input.http_method,
        per_second: rate(input.invocation_rate_limit_per_second),
        per_minute: allowed,
    };
    let key = Space::Destination(cx.scope(), name).key();
    bus.store
        .transact(async |tx: Tx| match tx.get::<Record>(&key).await? {
            Some(_) => Err(Error::Exists(format!("An api-destination '{name}'"))),
            None => Ok(tx.put(&key, &record)?),
        })
        .await?;
    Ok(CreateApiDestinationResponse {
        api_destination_arn: Some(model::destination_arn(cx.scope(), name, &record.id)),
        api_destination_state: Some(state(Some(&connection))),
        creation_time: Some(now.seconds()),
        last_modified_time: Some(now.seconds()),
    })
}

/// A destination is active while its connection is authorised.
fn state(connection: Option<&Connection>) -> String {
    if connection.is_some_and(|c| c.unauthorized.is_none()) { "ACTIVE" } else { "INACTIVE" }.to_owned()
}

async fn state_of(bus: &Bus, scope: &Scope, record: &Record) -> Result<String> {
    match bus.connection(scope, &record.connection).await {
        Ok(connection) => Ok(state(Some(&connection))),
        Err(Error::NotFound(_)) => Ok(state(None)),
        Err(error) => Err(error),
    }
}

pub async fn describe(
    bus: Arc<Bus>,
    cx: Context,
    input: DescribeApiDestinationRequest,
) -> Result<DescribeApiDestinationResponse> {
    let record = bus.destination(cx.scope(), &input.name).await?;
    Ok(DescribeApiDestinationResponse {
        api_destination_arn: Some(model::destination_arn(cx.scope(), &input.name, &record.id)),
        name: Some(input.name),
        api_destination_state: Some(state_of(&bus, cx.scope(), &record).await?),
        description: record.description,
        connection_arn: Some(record.connection),
        invocation_endpoint: Some(record.endpoint),
        http_method: Some(record.method),
        invocation_rate_limit_per_second: Some(record.per_second.unwrap_or(PER_SECOND) as i32),
        creation_time: Some(record.created.seconds()),
        last_modified_time: Some(record.modified.seconds()),
    })
}

pub async fn list(
    bus: Arc<Bus>,
    cx: Context,
    input: ListApiDestinationsRequest,
) -> Result<ListApiDestinationsResponse> {
    let all = store::destinations(cx.scope());
    let token = (input.next_token.as_deref(), limit(input.limit));
    let (found, next_token) = page::<Record>(&bus, &all, input.name_prefix.as_deref(), token).await?;
    let mut shapes = Vec::new();
    for (name, record) in found {
        if input.connection_arn.as_ref().is_some_and(|arn| *arn != record.connection) {
            continue;
        }
        shapes.push(ApiDestination {
            api_destination_arn: Some(model::destination_arn(cx.scope(), &name, &record.id)),
            name: Some(name),
            api_destination_state: Some(state_of(&bus, cx.scope(), &record).await?),
            connection_arn: Some(record.connection),
            invocation_endpoint: Some(record.endpoint),
            http_method: Some(record.method),
            invocation_rate_limit_per_second: Some(record.per_second.unwrap_or(PER_SECOND) as i32),
            creation_time: Some(record.created.seconds()),
            last_modified_time: Some(record.modified.seconds()),
        });
    }
    Ok(ListApiDestinationsResponse { api_destinations: Some(shapes), next_token })
}

pub async fn update(
    bus: Arc<Bus>,
    cx: Context,
    input: UpdateApiDestinationRequest,
) -> Result<UpdateApiDestinationResponse> {
    let old = bus.destination(cx.scope(), &input.name).await?;
    let arn = input.connection_arn.unwrap_or_else(|| old.connection.clone());
    let endpoint = input.invocation_endpoint.unwrap_or_else(|| old.endpoint.clone());
    model::check_endpoint("InvocationEndpoint", &endpoint)?;
    let connection = bus.connection(cx.scope(), &arn).await?;
    let allowed = cloudevents::shake_hands(&bus, &connection, &endpoint, &cx.host).await?;
    let record = Record {
        modified: bus.clock.now(),
        description: input.description.or_else(|| old.description.clone()),
        connection: arn,
        endpoint,
        method: input.http_method.unwrap_or_else(|| old.method.clone()),
        per_second: rate(input.invocation_rate_limit_per_second).or(old.per_second),
        per_minute: allowed,
        ..old.clone()
    };
    let key = Space::Destination(cx.scope(), &input.name).key();
    bus.store
        .transact(async |tx: Tx| match tx.get::<Record>(&key).await? {
            None => Err(model::no_destination(&input.name)),
            Some(there) if there != old => Err(Error::Changed),
            Some(_) => Ok(tx.put(&key, &record)?),
        })
        .await?;
    Ok(UpdateApiDestinationResponse {
        api_destination_arn: Some(model::destination_arn(cx.scope(), &input.name, &record.id)),
        api_destination_state: Some(state(Some(&connection))),
        creation_time: Some(record.created.seconds()),
        last_modified_time: Some(record.modified.seconds()),
    })
}

pub async fn delete(bus: Arc<Bus>, cx: Context, input: DeleteApiDestinationRequest) -> Result<Empty> {
    let key = Space::Destination(cx.scope(), &input.name).key();
    bus.store
        .transact(async |tx: Tx| {
            if tx.get::<Record>(&key).await?.is_none() {
                return Err(model::no_destination(&input.name));
            }
            tx.delete(&key);
            Ok(())
        })
        .await?;
    Ok(Empty {})
}
