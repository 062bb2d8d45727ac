//! The one writer of events: a bounded queue, and a task that commits what has gathered, many streams in one
//! transaction.
//!
//! Lines of functions gather for at most [`crate::Config::commit_interval`]; a `PutLogEvents` or a flush is committed
//! at once, with whatever has gathered. When storage fails, `PutLogEvents` is told so; the lines of functions wait and
//! are tried again, which fills the queue and so slows those who write them. Nothing is dropped but what can never be
//! stored.

use crate::Error;
use crate::chunk::{self, Chunk};
use crate::model::{self, Accepted};
use crate::store::{self, Group, Space, Stream, Tail};
use ::store::{Error as StoreError, Store, Tx};
use base::log::{LogBatch, LogLine};
use base::port::{Clock, Entropy};
use base::{Scope, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Batches in the queue, whatever their size.
const QUEUE_ITEMS_MAX: usize = 4_096;
/// Message bytes of one transaction, roughly.
const COMMIT_BYTES_MAX: usize = 2 << 20;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The way into the queue.
pub struct Queue {
    sender: mpsc::Sender<Item>,
    /// In KiB: what the queue may hold in messages.
    space: Arc<Semaphore>,
    space_max: usize,
}

/// Something queued.
pub struct Item {
    kind: Kind,
    bytes: usize,
    /// Given back when the item has been committed.
    _space: Option<OwnedSemaphorePermit>,
}

enum Kind {
    /// From functions: group and stream are made if they are not there.
    Lines(LogBatch),
    /// From `PutLogEvents`: both must be there, and the writer answers.
    Put(LogBatch, oneshot::Sender<Result<Accepted, Error>>),
    Flush(oneshot::Sender<()>),
}

impl Queue {
    /// A queue that holds at most `bytes_max` of messages, and the other end of it.
    pub fn new(bytes_max: usize) -> (Self, mpsc::Receiver<Item>) {
        let (sender, receiver) = mpsc::channel(QUEUE_ITEMS_MAX);
        let space_max = (bytes_max >> 10).max(1);
        (Self { sender, space: Arc::new(Semaphore::new(space_max)), space_max }, receiver)
    }

    /// Waits for space, then queues lines of a function.
    pub async fn append(&self, mut batch: LogBatch) {
        if batch.lines.is_empty() {
            return;
        }
        batch.lines = model::split_long(batch.lines);
        self.send(Kind::Lines(batch)).await;
    }

    /// Queues a `PutLogEvents` and waits until it is durable or refused.
    pub async fn put(&self, batch: LogBatch) -> Result<Accepted, Error> {
        let (done, answer) = oneshot::channel();
        self.send(Kind::Put(batch, done)).await;
        answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the node is stopping".into()).into()))
    }

    /// Waits until all that was queued before is durable.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.send(Kind::Flush(done)).await;
        let _ = flushed.await;
    }

    async fn send(&self, kind: Kind) {
        let bytes = match &kind {
            Kind::Lines(batch) | Kind::Put(batch, _) => batch.lines.iter().map(|l| l.message.len()).sum(),
            Kind::Flush(_) => 0,
        };
        let space = match kind {
            Kind::Flush(_) => None,
            _ => {
                let wanted = (1 + (bytes >> 10)).min(self.space_max);
                self.space.clone().acquire_many_owned(wanted as u32).await.ok()
            }
        };
        // The writer lives as long as the queue; only a node that is being torn down finds it gone.
        let _ = self.sender.send(Item { kind, bytes, _space: space }).await;
    }
}

/// The other end of the queue.
pub struct Writer {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub interval: Duration,
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

/// What one transaction will write, and who waits for it.
#[derive(Default)]
struct Gathered {
    lines: BTreeMap<(Scope, String, String), Vec<LogLine>>,
    puts: Vec<(LogBatch, oneshot::Sender<Result<Accepted, Error>>)>,
    flushes: Vec<oneshot::Sender<()>>,
    bytes: usize,
    space: Vec<OwnedSemaphorePermit>,
}

impl Gathered {
    fn add(&mut self, item: Item) {
        self.bytes += item.bytes;
        self.space.extend(item._space);
        match item.kind {
            Kind::Lines(batch) => {
                self.lines.entry((batch.scope, batch.group, batch.stream)).or_default().extend(batch.lines);
            }
            Kind::Put(batch, done) => self.puts.push((batch, done)),
            Kind::Flush(done) => self.flushes.push(done),
        }
    }

    fn full(&self) -> bool {
        self.bytes >= COMMIT_BYTES_MAX
    }

    fn urgent(&self) -> bool {
        self.full() || !self.puts.is_empty() || !self.flushes.is_empty()
    }
}

impl Writer {
    /// Writes until the queue is closed and empty.
    pub async fn run(self, mut queue: mpsc::Receiver<Item>) {
        while let Some(gathered) = self.gather(&mut queue).await {
            self.settle(gathered).await;
        }
    }

    async fn gather(&self, queue: &mut mpsc::Receiver<Item>) -> Option<Gathered> {
        let mut gathered = Gathered::default();
        gathered.add(queue.recv().await?);
        let window = self.clock.sleep(self.interval);
        tokio::pin!(window);
        while !gathered.urgent() {
            tokio::select! {
                () = &mut window => break,
                item = queue.recv() => match item {
                    Some(item) => gathered.add(item),
                    None => break,
                },
            }
        }
        while !gathered.full() {
            match queue.try_recv() {
                Ok(item) => gathered.add(item),
                Err(_) => break,
            }
        }
        Some(gathered)
    }

    /// Commits all that was gathered and tells those who wait.
    async fn settle(&self, gathered: Gathered) {
        let Gathered { lines, puts, flushes, space, .. } = gathered;
        let mut work: Vec<Work> = Vec::with_capacity(lines.len() + puts.len());
        let mut waiting = Vec::with_capacity(puts.len());
        for (batch, done) in puts {
            let LogBatch { scope, group, stream, lines } = batch;
            work.push(Work { scope, group, stream, lines, create: false });
            waiting.push(done);
        }
        work.extend(lines.into_iter().map(|((scope, group, stream), lines)| Work {
            scope,
            group,
            stream,
            lines,
            create: true,
        }));
        match self.commit(&work).await {
            Ok(results) => {
                for (done, result) in waiting.into_iter().zip(results) {
                    let _ = done.send(result);
                }
            }
            Err(error) => {
                let puts = waiting.len();
                for done in waiting {
                    let _ = done.send(Err(error.clone().into()));
                }
                self.persist(work.split_off(puts), error).await;
            }
        }
        drop(space);
        for done in flushes {
            let _ = done.send(());
        }
    }

    /// Tries again to write lines of functions, each stream by itself, until they are stored.
    async fn persist(&self, work: Vec<Work>, mut error: StoreError) {
        let mut pause = PAUSE_MIN;
        for work in work.chunks(1) {
            while let Err(again) = self.commit(work).await {
                error = again;
                if matches!(error, StoreError::TooLarge { .. } | StoreError::Damaged(_)) {
                    let Work { group, stream, lines, .. } = &work[0];
                    tracing::error!(%group, %stream, lines = lines.len(), %error, "log lines cannot be stored");
                    break;
                }
                tracing::warn!(%error, "log lines wait for storage");
                self.clock.sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        tracing::info!(%error, "storage of log lines goes on");
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
