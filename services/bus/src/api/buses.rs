//! Event buses: CreateEventBus, DescribeEventBus, ListEventBuses, UpdateEventBus, DeleteEventBus.
//!
//! Differs from AWS: no partner buses, no KMS keys, no bus logs (refused by name).

use super::*;
use crate::store::{BusRecord, Space};
use ::store::Tx;
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::Empty;

/// Buses of an account in a region.
const BUSES_MAX: usize = 100;

fn lacking(kms: Option<&String>, log: Option<&LogConfig>) -> Result<()> {
    refuse(&[
        (kms.is_some_and(|k| !k.is_empty()), "encryption of event buses, KmsKeyIdentifier,"),
        (log.and_then(|l| l.level.as_deref()).is_some_and(|l| l != "OFF"), "logs of event buses, LogConfig,"),
    ])
}

fn dead_letter(given: Option<DeadLetterConfig>) -> Option<String> {
    given.and_then(|d| d.arn)
}

pub async fn create(bus: Arc<Bus>, cx: Context, input: CreateEventBusRequest) -> Result<CreateEventBusResponse> {
    lacking(input.kms_key_identifier.as_ref(), input.log_config.as_ref())?;
    refuse(&[(input.event_source_name.is_some(), "partner event sources, EventSourceName,")])?;
    if input.name.contains('/') {
        return Err(Error::invalid("Event bus name must not contain '/'."));
    }
    if input.name == model::DEFAULT {
        return Err(Error::Exists(format!("Event bus {}", input.name)));
    }
    let mut tags = BTreeMap::new();
    model::add_tags(&mut tags, pairs(input.tags))?;
    let now = bus.clock.now();
    let record = BusRecord {
        created: now,
        modified: now,
        description: input.description.clone(),
        dead_letter: dead_letter(input.dead_letter_config.clone()),
        statements: Vec::new(),
        tags,
    };
    let key = Space::Bus(cx.scope(), &input.name).key();
    let all = crate::store::buses(cx.scope());
    bus.store
        .transact(async |tx: Tx| {
            if tx.get::<BusRecord>(&key).await?.is_some() {
                return Err(Error::Exists(format!("Event bus {}", input.name)));
            }
            if tx.scan(all.as_bytes(), &all.end(), BUSES_MAX).await?.len() == BUSES_MAX {
                return Err(Error::TooMany);
            }
            Ok(tx.put(&key, &record)?)
        })
        .await?;
    Ok(CreateEventBusResponse {
        event_bus_arn: Some(model::bus_arn(cx.scope(), &input.name).to_string()),
        description: input.description,
        dead_letter_config: input.dead_letter_config,
        ..Default::default()
    })
}

pub async fn describe(bus: Arc<Bus>, cx: Context, input: DescribeEventBusRequest) -> Result<DescribeEventBusResponse> {
    let name = model::bus_name(cx.scope(), input.name.as_deref())?;
    let record = bus.bus(cx.scope(), name).await?;
    let policy = record.as_ref().and_then(|r| permissions::document(cx.scope(), name, &r.statements));
    Ok(DescribeEventBusResponse {
        name: Some(name.to_owned()),
        arn: Some(model::bus_arn(cx.scope(), name).to_string()),
        policy,
        description: record.as_ref().and_then(|r| r.description.clone()),
        dead_letter_config: shape_dead_letter(record.as_ref().and_then(|r| r.dead_letter.clone())),
        creation_time: record.as_ref().map(|r| r.created.seconds()),
        last_modified_time: record.as_ref().map(|r| r.modified.seconds()),
        ..Default::default()
    })
}

fn shape_dead_letter(arn: Option<String>) -> Option<DeadLetterConfig> {
    arn.map(|arn| DeadLetterConfig { arn: Some(arn) })
}

pub async fn list(bus: Arc<Bus>, cx: Context, input: ListEventBusesRequest) -> Result<ListEventBusesResponse> {
    let (all, prefix) = (crate::store::buses(cx.scope()), input.name_prefix.as_deref());
    let limit = limit(input.limit);
    let (mut found, mut next) = page::<BusRecord>(&bus, &all, prefix, (input.next_token.as_deref(), limit)).await?;
    // The default bus has a record only once something was said of it; its place among the names is the same.
    let implied = |after: Option<String>| after.is_none_or(|after| after.as_str() < model::DEFAULT);
    let wanted = model::DEFAULT.starts_with(prefix.unwrap_or("")) && implied(read_token(input.next_token.as_deref())?);
    let within = next.is_none() || found.last().is_some_and(|(last, _)| last.as_str() > model::DEFAULT);
    if wanted && within && !found.iter().any(|(name, _)| name == model::DEFAULT) {
        let now = bus.clock.now();
        let at = found.iter().position(|(name, _)| name.as_str() > model::DEFAULT).unwrap_or(found.len());
        let record = BusRecord {
            created: now,
            modified: now,
            description: None,
            dead_letter: None,
            statements: Vec::new(),
            tags: BTreeMap::new(),
        };
        found.insert(at, (model::DEFAULT.to_owned(), record));
        if found.len() > limit {
            found.pop();
            next = found.last().map(|(name, _)| token(name));
        }
    }
    let shape = |(name, record): (String, BusRecord)| EventBus {
        arn: Some(model::bus_arn(cx.scope(), &name).to_string()),
        policy: permissions::document(cx.scope(), &name, &record.statements),
        description: record.description,
        creation_time: (name != model::DEFAULT).then(|| record.created.seconds()),
        last_modified_time: (name != model::DEFAULT).then(|| record.modified.seconds()),
        name: Some(name),
        ..Default::default()
    };
    Ok(ListEventBusesResponse { event_buses: Some(found.into_iter().map(shape).collect()), next_token: next })
}

pub async fn update(bus: Arc<Bus>, cx: Context, input: UpdateEventBusRequest) -> Result<UpdateEventBusResponse> {
    lacking(input.kms_key_identifier.as_ref(), input.log_config.as_ref())?;
    let name = input.name.as_deref().unwrap_or(model::DEFAULT);
    let record = change(&bus, cx.scope(), name, |record| {
        if input.description.is_some() {
            record.description.clone_from(&input.description);
        }
        if input.dead_letter_config.is_some() {
            record.dead_letter = dead_letter(input.dead_letter_config.clone());
        }
        Ok(())
    })
    .await?;
    Ok(UpdateEventBusResponse {
        arn: Some(model::bus_arn(cx.scope(), name).to_string()),
        name: Some(name.to_owned()),
        description: record.description,
        dead_letter_config: shape_dead_letter(record.dead_letter),
        ..Default::default()
    })
}

/// Changes what is kept of a bus; of the default one, from the first change on.
pub async fn change(
    bus: &Bus,
    scope: &Scope,
    name: &str,
    how: impl Fn(&mut BusRecord) -> Result<()> + Sync,
) -> Result<BusRecord> {
    let (key, now) = (Space::Bus(scope, name).key(), bus.clock.now());
    bus.store
        .transact(async |tx: Tx| {
            let mut record = match tx.get::<BusRecord>(&key).await? {
                Some(record) => record,
                None if name == model::DEFAULT => BusRecord {
                    created: now,
                    modified: now,
                    description: None,
                    dead_letter: None,
                    statements: Vec::new(),
                    tags: BTreeMap::new(),
                },
                None => return Err(model::no_bus(name)),
            };
            how(&mut record)?;
            record.modified = now;
            tx.put(&key, &record)?;
            Ok(record)
        })
        .await
}

/// A bus that is not there is deleted already, as on AWS.
pub async fn delete(bus: Arc<Bus>, cx: Context, input: DeleteEventBusRequest) -> Result<Empty> {
    if input.name == model::DEFAULT {
        return Err(Error::invalid("Cannot delete event bus default."));
    }
    let key = Space::Bus(cx.scope(), &input.name).key();
    let rules = crate::store::rules(cx.scope(), &input.name);
    bus.store
        .transact(async |tx: Tx| {
            if !tx.scan(rules.as_bytes(), &rules.end(), 1).await?.is_empty() {
                return Err(Error::invalid(format!(
                    "Cannot delete event bus {}: rules still exist on the event bus.",
                    input.name
                )));
            }
            if tx.get::<BusRecord>(&key).await?.is_some() {
                tx.delete(&key);
            }
            Ok(())
        })
        .await?;
    Ok(Empty {})
}

/// Tags as keys and values.
pub fn pairs(tags: Option<Vec<Tag>>) -> Vec<(String, String)> {
    tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()
}
