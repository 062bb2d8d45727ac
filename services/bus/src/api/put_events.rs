//! PutEvents: each entry is matched with the rules of its bus, and what they make of it is committed, all in one
//! transaction. An entry that is refused holds up no other.

use super::*;
use crate::model::Entry;
use crate::rules::Arrived;
use ::store::Tx;
use base::{Event, Timestamp};
use serde_json::Value;
use std::sync::Arc;

/// On the bus that all entries name, or on any.
pub fn access(cx: &Context, input: &PutEventsRequest) -> Access {
    let mut named = input.entries.iter().map(|entry| entry.event_bus_name.as_deref().unwrap_or(model::DEFAULT));
    let first = named.next();
    match named.all(|other| Some(other) == first) {
        true => on_bus(cx, "PutEvents", first),
        false => on("PutEvents", "*".into()),
    }
}

/// An event on its way to the rules of a bus of its scope.
pub struct Accepted {
    pub id: String,
    pub bus: String,
    pub event: Value,
}

pub async fn put(bus: Arc<Bus>, cx: Context, input: PutEventsRequest) -> Result<PutEventsResponse> {
    refuse(&[(input.endpoint_id.is_some(), "global endpoints, EndpointId,")])?;
    let now = bus.clock.now();
    let entries: Vec<(Entry, Option<String>)> = input.entries.into_iter().map(entry).collect();
    if entries.iter().map(|(entry, _)| entry.bytes()).sum::<usize>() > model::ENTRY_BYTES_MAX {
        return Err(Error::invalid("Total size of the entries in the request is over the limit."));
    }
    let mut results = Vec::with_capacity(entries.len());
    for (entry, named) in entries {
        results.push(accept(&bus, &cx, &entry, named.as_deref(), now).await?);
    }
    let accepted: Vec<&Accepted> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    commit(&bus, cx.scope(), &accepted, now).await?;
    let failed = results.iter().filter(|result| result.is_err()).count();
    let shape = |result: std::result::Result<Accepted, model::Refused>| match result {
        Ok(accepted) => PutEventsResultEntry { event_id: Some(accepted.id), ..Default::default() },
        Err((code, message)) => PutEventsResultEntry {
            error_code: Some(code.to_owned()),
            error_message: Some(message),
            ..Default::default()
        },
    };
    Ok(PutEventsResponse {
        failed_entry_count: Some(failed as i32),
        entries: Some(results.into_iter().map(shape).collect()),
    })
}

fn entry(given: PutEventsRequestEntry) -> (Entry, Option<String>) {
    let entry = Entry {
        source: given.source,
        detail_type: given.detail_type,
        detail: given.detail,
        resources: given.resources.unwrap_or_default(),
        time: given.time.map(|seconds| Timestamp((seconds.max(0.0) * 1000.0) as u64)),
    };
    (entry, given.event_bus_name)
}

async fn accept(
    bus: &Bus,
    cx: &Context,
    entry: &Entry,
    named: Option<&str>,
    now: Timestamp,
) -> Result<std::result::Result<Accepted, model::Refused>> {
    let name = match named_bus(bus, cx.scope(), named).await {
        Ok(name) => name,
        Err(Error::NotFound(message)) => return Ok(Err(("ResourceNotFoundException", message))),
        Err(error) => return Err(error),
    };
    let id = bus.entropy.uuid();
    Ok(entry.event(&id, cx.scope(), now).map(|event| Accepted { id, bus: name.to_owned(), event }))
}

/// Matches events and commits what comes of it, all or nothing.
pub async fn commit(bus: &Bus, scope: &Scope, accepted: &[&Accepted], now: Timestamp) -> Result<()> {
    bus.store
        .transact(async |tx: Tx| {
            for event in made(bus, scope, &tx, accepted, now).await? {
                tx.emit(&event)?;
            }
            Ok(())
        })
        .await
}

/// What the rules make of the entries as of this transaction, which puts them into the archives, too.
async fn made(bus: &Bus, scope: &Scope, tx: &Tx, accepted: &[&Accepted], now: Timestamp) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    for Accepted { id, bus: name, event } in accepted.iter().copied() {
        let compiled = bus.compiled(tx, scope, name).await?;
        let arrived = Arrived { event, id, at: now, hops: 0 };
        bus.keep(tx, &compiled, &arrived)?;
        events.extend(bus.route(&compiled, scope, &arrived));
    }
    Ok(events)
}
