//! Log streams: CreateLogStream, DeleteLogStream, DescribeLogStreams.
//!
//! Differs from AWS: `lastEventTimestamp` and the order by it are exact, not eventual; `storedBytes` of a stream is
//! always 0, as it has been on AWS since 2019.

use super::*;
use crate::store::{Space, Stream};
use crate::{read, work, writer};
use ::store::Tx;
use std::sync::Arc;
use wire::Empty;

pub async fn create(logs: Arc<Logs>, cx: Context, input: CreateLogStreamRequest) -> Result<Empty, Error> {
    let group_key = Space::Group(cx.scope(), &input.log_group_name).key();
    let name = &input.log_stream_name;
    let now = logs.clock.now();
    logs.store
        .transact(async |tx: Tx| {
            let group = tx.get::<Group>(&group_key).await?.ok_or(Error::NoSuchGroup)?;
            let key = Space::Stream(&group.id, name).key();
            if tx.get::<Stream>(&key).await?.is_some() {
                return Err(Error::StreamExists);
            }
            let mut tail = store::tail(&tx, &group.id).await?;
            let stream = writer::new_stream(&tx, &group.id, name, &mut tail, now)?;
            tx.put(&key, &stream)?;
            Ok(tx.put(&Space::Tail(&group.id).key(), &tail)?)
        })
        .await?;
    Ok(Empty {})
}

/// The stream is gone at once; its events are swept in the background.
pub async fn delete(logs: Arc<Logs>, cx: Context, input: DeleteLogStreamRequest) -> Result<Empty, Error> {
    let group = logs.group(&cx, &input.log_group_name).await?;
    if read::dropped(&logs.store, &group.id).await?.len() >= read::DROPPED_MAX {
        return Err(::store::Error::Unavailable("too many deleted streams wait to be swept".into()).into());
    }
    let key = Space::Stream(&group.id, &input.log_stream_name).key();
    let now = logs.clock.now();
    logs.store
        .transact(async |tx: Tx| {
            let stream = tx.get::<Stream>(&key).await?.ok_or(Error::NoSuchStream)?;
            let last = stream.last_event.map_or(0, |t| t.millis());
            tx.delete(&key);
            tx.delete(&Space::Recent(&group.id, last, &input.log_stream_name).key());
            Ok::<_, Error>(work::drop_stream(&tx, &group.id, stream.id, now)?)
        })
        .await?;
    Ok(Empty {})
}

pub async fn describe(
    logs: Arc<Logs>,
    cx: Context,
    input: DescribeLogStreamsRequest,
) -> Result<DescribeLogStreamsResponse, Error> {
    let name = model::group_of(cx.scope(), input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let group = logs.group(&cx, name).await?;
    let after = read_token(input.next_token.as_deref())?;
    let (limit, back) = (limit(input.limit, DESCRIBE_MAX), input.descending == Some(true));
    let prefix = input.log_stream_name_prefix.as_deref();
    let (found, next) = match input.order_by.as_deref() {
        Some("LastEventTime") if prefix.is_some() => {
            return Err(Error::invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
        }
        Some("LastEventTime") => by_time(&logs, &group.id, after, limit, back).await?,
        _ => by_name(&logs, &group.id, prefix.unwrap_or(""), after, limit, back).await?,
    };
    let streams = found.into_iter().map(|(stream, record)| shape(&cx, name, stream, &record)).collect();
    Ok(DescribeLogStreamsResponse { log_streams: Some(streams), next_token: next.map(|place| token(&place)) })
}

type Found = (Vec<(String, Stream)>, Option<String>);

/// A place is a stream's name.
async fn by_name(
    logs: &Logs,
    group: &str,
    prefix: &str,
    after: Option<String>,
    limit: usize,
    back: bool,
) -> Result<Found, Error> {
    let all = store::streams(group).partial(prefix);
    let (mut from, mut to) = (all.as_bytes().to_vec(), all.end());
    if let Some(after) = after {
        let key = Space::Stream(group, &after).key();
        if back { to = key.into_bytes() } else { from = key.end() }
    }
    let items = scan(logs, &from, &to, limit + 1, back).await?;
    let mut found = Vec::with_capacity(limit);
    for item in items.iter().take(limit) {
        if let Some(name) = store::parse_stream(&item.key) {
            found.push((name, ::store::record::decode(&item.value)?));
        }
    }
    let next = found.last().filter(|_| items.len() > limit).map(|(name, _)| name.clone());
    Ok((found, next))
}

/// A place is `<last event ms>/<name>`.
async fn by_time(logs: &Logs, group: &str, after: Option<String>, limit: usize, back: bool) -> Result<Found, Error> {
    let all = store::recent(group);
    let (mut from, mut to) = (all.as_bytes().to_vec(), all.end());
    if let Some(after) = after {
        let (at, name) = after.split_once('/').ok_or_else(bad_token)?;
        let key = Space::Recent(group, at.parse().map_err(|_| bad_token())?, name).key();
        if back { to = key.into_bytes() } else { from = key.end() }
    }
    let items = scan(logs, &from, &to, limit + 1, back).await?;
    let (mut found, mut next) = (Vec::with_capacity(limit), None);
    for item in items.iter().take(limit) {
        let Some((at, name)) = store::parse_recent(&item.key) else { continue };
        next = Some(format!("{at}/{name}"));
        // Its record may have gone since the scan.
        if let Some(stream) = logs.store.get(&Space::Stream(group, &name).key()).await? {
            found.push((name, stream));
        }
    }
    Ok((found, next.filter(|_| items.len() > limit)))
}

async fn scan(
    logs: &Logs,
    from: &[u8],
    to: &[u8],
    limit: usize,
    back: bool,
) -> Result<Vec<::store::engine::Item>, Error> {
    let items = if back { logs.store.scan_back(from, to, limit).await } else { logs.store.scan(from, to, limit).await };
    Ok(items?)
}

fn shape(cx: &Context, group: &str, name: String, stream: &Stream) -> LogStream {
    let millis = |t: base::Timestamp| t.millis() as i64;
    LogStream {
        arn: Some(model::stream_arn(cx.scope(), group, &name)),
        log_stream_name: Some(name),
        creation_time: Some(millis(stream.created)),
        first_event_timestamp: stream.first_event.map(millis),
        last_event_timestamp: stream.last_event.map(millis),
        last_ingestion_time: stream.ingested.map(millis),
        upload_sequence_token: Some(format!("{:056}", stream.id)),
        stored_bytes: Some(0),
    }
}
