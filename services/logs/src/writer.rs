//! Writing events behind the requests: what has gathered, of many streams, is committed in one transaction.
//!
//! Lines of functions gather for at most [`crate::Config::commit_interval`]; a `PutLogEvents` or a flush is committed
//! at once, with whatever has gathered. When storage fails, `PutLogEvents` is told so; the lines of functions wait and
//! are tried again, which fills the queue and so slows those who write them. Nothing is dropped but what can never be
//! stored.

use crate::Error;
use crate::chunk::{self, Chunk};
use crate::model::{self, Accepted};
use crate::store::{self, Group, Space, Stream, Tail};
use ::store::behind::{self, Behind, Bounds};
use ::store::{Error as StoreError, Store, Tx};
use base::log::{LogBatch, LogLine};
use base::port::{Clock, Entropy};
use base::{Scope, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Batches in the queue, whatever their size.
const QUEUE_ITEMS_MAX: usize = 4_096;
/// Bytes of one transaction, roughly: messages, and 26 bytes for each.
const COMMIT_BYTES_MAX: usize = 2 << 20;

/// What may gather: `bytes` in all, each for `interval` at most.
pub fn bounds(bytes: usize, interval: Duration) -> Bounds {
    Bounds { items_max: QUEUE_ITEMS_MAX, weight_max: bytes, batch_weight: COMMIT_BYTES_MAX, interval }
}

/// Something queued.
pub enum Item {
    /// From functions: group and stream are made if they are not there.
    Lines(LogBatch),
    /// From `PutLogEvents`: both must be there, and the writer answers.
    Put(LogBatch, oneshot::Sender<Result<Accepted, Error>>),
}

/// Waits for space, then queues lines of a function.
pub async fn append(queue: &Behind<Item>, mut batch: LogBatch) {
    if batch.lines.is_empty() {
        return;
    }
    batch.lines = model::split_long(batch.lines);
    queue.push(Item::Lines(batch)).await;
}

/// Queues a `PutLogEvents` and waits until it is durable or refused.
pub async fn put(queue: &Behind<Item>, batch: LogBatch) -> Result<Accepted, Error> {
    let (done, answer) = oneshot::channel();
    queue.push(Item::Put(batch, done)).await;
    answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the node is stopping".into()).into()))
}

pub struct Writer {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// Lines to write to one stream.
struct Work {
    scope: Scope,
    group: String,
    stream: String,
    lines: Vec<LogLine>,
    /// Make what is not there.
    create: bool,
}

impl behind::Write for Writer {
    type Item = Item;

    fn weight(item: &Item) -> usize {
        let (Item::Lines(batch) | Item::Put(batch, _)) = item;
        chunk::stored_bytes(&batch.lines) as usize
    }

    fn urgent(item: &Item) -> bool {
        matches!(item, Item::Put(..))
    }

    /// Commits all of the batch and answers those who wait; what of it nobody waits for is tried until it is stored.
    async fn write(&mut self, items: Vec<Item>) {
        let (mut work, waiting) = sort(items);
        match self.commit(&work).await {
            Ok(results) => {
                for (done, result) in waiting.into_iter().zip(results) {
                    let _ = done.send(result);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "log lines wait for storage");
                let lines = work.split_off(waiting.len());
                for done in waiting {
                    let _ = done.send(Err(error.clone().into()));
                }
                self.persist(&lines).await;
            }
        }
    }
}

/// What `PutLogEvents` brought comes first, each by itself and with who waits for it; then the lines of functions, by
/// stream.
fn sort(items: Vec<Item>) -> (Vec<Work>, Vec<oneshot::Sender<Result<Accepted, Error>>>) {
    let mut lines: BTreeMap<(Scope, String, String), Vec<LogLine>> = BTreeMap::new();
    let (mut work, mut waiting) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::Lines(LogBatch { scope, group, stream, lines: more }) => {
                lines.entry((scope, group, stream)).or_default().extend(more);
            }
            Item::Put(LogBatch { scope, group, stream, lines }, done) => {
                work.push(Work { scope, group, stream, lines, create: false });
                waiting.push(done);
            }
        }
    }
    work.extend(lines.into_iter().map(|((scope, group, stream), lines)| Work {
        scope,
        group,
        stream,
        lines,
        create: true,
    }));
    (work, waiting)
}

impl Writer {
    /// Writes lines of functions, each stream by itself, so that one that cannot be stored holds up no other.
    async fn persist(&self, work: &[Work]) {
        for work in work.chunks(1) {
            let attempt = || async { self.commit(work).await.map(drop) };
            if let Err(error) = behind::persist(&*self.clock, "logs", attempt).await {
                let Work { group, stream, lines, .. } = &work[0];
                tracing::error!(%group, %stream, lines = lines.len(), %error, "log lines cannot be stored");
            }
        }
    }

    async fn commit(&self, work: &[Work]) -> Result<Vec<Result<Accepted, Error>>, StoreError> {
        if work.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        self.store
            .transact(async |tx: Tx| {
                let mut results = Vec::with_capacity(work.len());
                for work in work {
                    results.push(self.write(&tx, work, now).await?);
                }
                Ok(results)
            })
            .await
    }

    async fn write(&self, tx: &Tx, work: &Work, now: Timestamp) -> Result<Result<Accepted, Error>, StoreError> {
        let group_key = Space::Group(&work.scope, &work.group).key();
        let group = match tx.get::<Group>(&group_key).await? {
            Some(group) => group,
            None if work.create => {
                let id = self.entropy.uuid();
                let group = Group { id, created: now, retention_days: None, tags: BTreeMap::new() };
                tx.put(&group_key, &group)?;
                group
            }
            None => return Ok(Err(Error::NoSuchGroup)),
        };
        let mut tail = store::tail(tx, &group.id).await?;
        let stream_key = Space::Stream(&group.id, &work.stream).key();
        let mut stream = match tx.get::<Stream>(&stream_key).await? {
            Some(stream) => stream,
            None if work.create => new_stream(tx, &group.id, &work.stream, &mut tail, now)?,
            None => return Ok(Err(Error::NoSuchStream)),
        };
        let accepted = if work.create {
            Accepted { range: 0..work.lines.len(), too_new_from: None, too_old_until: None, expired_until: None }
        } else {
            model::accept(&work.lines, group.retention_days, now)
        };
        let lines = &work.lines[accepted.range.clone()];
        for lines in chunk::cut(lines.to_vec()) {
            let chunk = Chunk { stream: work.stream.clone(), stream_id: stream.id, ingested: now, lines };
            tail.bytes += store::put_chunk(tx, &group.id, tail.next, &chunk)?;
            tail.next += 1;
        }
        see(tx, &group.id, &work.stream, &mut stream, lines, now)?;
        tx.put(&stream_key, &stream)?;
        tx.put(&Space::Tail(&group.id).key(), &tail)?;
        Ok(Ok(accepted))
    }
}

/// A stream that is not there yet; its record and the tail are put by the caller.
pub fn new_stream(tx: &Tx, group: &str, name: &str, tail: &mut Tail, now: Timestamp) -> Result<Stream, StoreError> {
    let stream = Stream { id: tail.next, created: now, first_event: None, last_event: None, ingested: None };
    tail.next += 1;
    tx.put_bytes(&Space::Recent(group, 0, name).key(), Vec::new())?;
    Ok(stream)
}

/// Notes new lines in the stream's record and its place among the recent ones.
fn see(
    tx: &Tx,
    group: &str,
    name: &str,
    stream: &mut Stream,
    lines: &[LogLine],
    now: Timestamp,
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (lines.iter().map(|l| l.at).min(), lines.iter().map(|l| l.at).max()) else {
        return Ok(());
    };
    stream.first_event = Some(stream.first_event.map_or(first, |f| f.min(first)));
    stream.ingested = Some(now);
    let before = stream.last_event;
    if before.is_none_or(|b| b < last) {
        stream.last_event = Some(last);
        tx.delete(&Space::Recent(group, before.map_or(0, Timestamp::millis), name).key());
        tx.put_bytes(&Space::Recent(group, last.millis(), name).key(), Vec::new())?;
    }
    Ok(())
}
