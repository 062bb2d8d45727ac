//! Log events: PutLogEvents, GetLogEvents, FilterLogEvents.
//!
//! Differs from AWS: a token never expires; `entity` and `unmask` are refused; an event whose text grows past 4 MiB as
//! JSON (a megabyte of control characters) is too large.

use super::*;
use crate::chunk::{Chunk, Position};
use crate::pattern::Pattern;
use crate::read::{self, Found, Page, Selection};
use crate::store::{Space, Stream};
use base::Timestamp;
use base::log::{LogBatch, LogLine};
use std::collections::HashSet;
use std::sync::Arc;

/// AWS's bound on the events of a page, and its default.
const EVENTS_MAX: usize = 10_000;

pub async fn put(logs: Arc<Logs>, cx: Context, input: PutLogEventsRequest) -> Result<PutLogEventsResponse, Error> {
    refuse(&[(input.entity.is_some(), "entities of log events, entity,")])?;
    let line = |e: InputLogEvent| LogLine { at: Timestamp(e.timestamp.max(0) as u64), message: e.message };
    let lines: Vec<LogLine> = input.log_events.into_iter().map(line).collect();
    model::check_batch(&lines)?;
    let (group, stream) = (input.log_group_name, input.log_stream_name);
    let accepted =
        crate::writer::put(&logs.queue, LogBatch { scope: cx.scope().clone(), group, stream, lines }).await?;
    let index = |at: Option<usize>| at.map(|i| i as i32);
    let rejected = RejectedLogEventsInfo {
        too_new_log_event_start_index: index(accepted.too_new_from),
        too_old_log_event_end_index: index(accepted.too_old_until),
        expired_log_event_end_index: index(accepted.expired_until),
    };
    Ok(PutLogEventsResponse {
        // Sequence tokens are neither needed nor checked, as on AWS since 2023.
        next_sequence_token: Some(format!("{:056}", logs.clock.now().millis())),
        rejected_log_events_info: (rejected != RejectedLogEventsInfo::default()).then_some(rejected),
        rejected_entity_info: None,
    })
}

pub async fn get(logs: Arc<Logs>, cx: Context, input: GetLogEventsRequest) -> Result<GetLogEventsResponse, Error> {
    refuse(&[(input.unmask == Some(true), "data protection, unmask,")])?;
    let name = model::group_of(cx.scope(), input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let group = logs.group(&cx, name).await?;
    let key = Space::Stream(&group.id, &input.log_stream_name).key();
    let stream: Stream = logs.store.get(&key).await?.ok_or(Error::NoSuchStream)?;
    let (from, until) = range(&logs, &group, input.start_time, input.end_time);
    let place = input.next_token.as_deref().map(|t| Place::parse(t).ok_or_else(bad_token)).transpose()?;
    let forward = match place {
        Some(Place::After(_)) => true,
        Some(Place::Before(_)) => false,
        None => input.start_from_head == Some(true),
    };
    let selection = Selection {
        group: &group.id,
        stream: Some(stream.id),
        from: if let Some(Place::After(at)) = place { at.max(from) } else { from },
        until: if let Some(Place::Before(at)) = place { at.min(until) } else { until },
        wants: &|_| true,
        matches: &|_| true,
    };
    let limit = limit(input.limit, EVENTS_MAX);
    let events = match forward {
        true => read::forward(&logs.store, &selection, limit).await?.events,
        false => read::backward(&logs.store, &selection, limit).await?.events.into_iter().rev().collect(),
    };
    // At the end the token that was given comes back: so clients know that they are there.
    let ends = match (events.first(), events.last(), place) {
        (Some(first), Some(last), _) => (last.position.next(), first.position),
        (_, _, Some(Place::After(at) | Place::Before(at))) => (at, at),
        _ => (from, from),
    };
    Ok(GetLogEventsResponse {
        events: Some(events.into_iter().map(output).collect()),
        next_forward_token: Some(Place::After(ends.0).token()),
        next_backward_token: Some(Place::Before(ends.1).token()),
    })
}

/// Where a page ended, as `GetLogEvents` and `FilterLogEvents` hand it out.
#[derive(Clone, Copy)]
enum Place {
    /// `f/<event id>`: go on with this event.
    After(Position),
    /// `b/<event id>`: go back to what is before this event.
    Before(Position),
}

impl Place {
    fn token(self) -> String {
        match self {
            Place::After(at) => format!("f/{}/s", at.event_id()),
            Place::Before(at) => format!("b/{}/s", at.event_id()),
        }
    }

    fn parse(token: &str) -> Option<Self> {
        let (kind, id) = token.strip_suffix("/s")?.split_once('/')?;
        let at = Position::parse(id)?;
        match kind {
            "f" => Some(Place::After(at)),
            "b" => Some(Place::Before(at)),
            _ => None,
        }
    }
}

/// The positions from `start` on and before `end` (milliseconds), without what is past the group's retention.
fn range(logs: &Logs, group: &Group, start: Option<i64>, end: Option<i64>) -> (Position, Position) {
    let expired = model::expired_before(group.retention_days, logs.clock.now()).millis();
    let start = start.map_or(0, |s| s.max(0) as u64);
    let until = end.map_or(Position::LAST, |e| Position::start_of(e.max(0) as u64));
    (Position::start_of(start.max(expired)), until)
}

fn output(found: Found) -> OutputLogEvent {
    OutputLogEvent {
        timestamp: Some(found.position.at as i64),
        message: Some(found.message),
        ingestion_time: Some(found.ingested.millis() as i64),
    }
}

pub async fn filter(
    logs: Arc<Logs>,
    cx: Context,
    input: FilterLogEventsRequest,
) -> Result<FilterLogEventsResponse, Error> {
    refuse(&[(input.unmask == Some(true), "data protection, unmask,")])?;
    let name = model::group_of(cx.scope(), input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let (names, prefix) = (input.log_stream_names, input.log_stream_name_prefix);
    if names.is_some() && prefix.is_some() {
        return Err(Error::invalid("LogStreamNames and LogStreamNamePrefix are mutually exclusive parameters."));
    }
    let pattern = Pattern::parse(input.filter_pattern.as_deref().unwrap_or(""))?;
    let group = logs.group(&cx, name).await?;
    // Here the end is inclusive; for `GetLogEvents` it is not.
    let (from, until) = range(&logs, &group, input.start_time, input.end_time.map(|e| e.saturating_add(1)));
    let place = input.next_token.as_deref().map(|t| Place::parse(t).ok_or_else(bad_token)).transpose()?;
    let dropped = read::dropped(&logs.store, &group.id).await?;
    let names: Option<HashSet<String>> = names.map(HashSet::from_iter);
    if let Some(names) = &names {
        streams_exist(&logs, &group, names).await?;
    }
    let wants = |chunk: &Chunk| {
        names.as_ref().is_none_or(|n| n.contains(&chunk.stream))
            && prefix.as_ref().is_none_or(|p| chunk.stream.starts_with(p.as_str()))
            && !dropped.contains(&chunk.stream_id)
    };
    let selection = Selection {
        group: &group.id,
        stream: None,
        from: if let Some(Place::After(at)) = place { at.max(from) } else { from },
        until: if let Some(Place::Before(at)) = place { at.min(until) } else { until },
        wants: &wants,
        matches: &|message| pattern.matches(message),
    };
    let limit = limit(input.limit, EVENTS_MAX);
    let forward = place.map_or(input.start_from_head != Some(false), |p| matches!(p, Place::After(_)));
    let page = match forward {
        true => read::forward(&logs.store, &selection, limit).await?,
        false => read::backward(&logs.store, &selection, limit).await?,
    };
    Ok(filtered(page, forward))
}

async fn streams_exist(logs: &Logs, group: &Group, names: &HashSet<String>) -> Result<(), Error> {
    for name in names {
        let key = Space::Stream(&group.id, name).key();
        logs.store.get::<Stream>(&key).await?.ok_or(Error::NoSuchStream)?;
    }
    Ok(())
}

fn filtered(page: Page, forward: bool) -> FilterLogEventsResponse {
    let event = |found: Found| FilteredLogEvent {
        event_id: Some(found.position.event_id()),
        timestamp: Some(found.position.at as i64),
        ingestion_time: Some(found.ingested.millis() as i64),
        log_stream_name: Some(found.stream),
        message: Some(found.message),
    };
    FilterLogEventsResponse {
        events: Some(page.events.into_iter().map(event).collect()),
        // Always empty, as on AWS since 2020.
        searched_log_streams: Some(Vec::new()),
        next_token: page.rest.map(|at| if forward { Place::After(at).token() } else { Place::Before(at).token() }),
    }
}
