//! Writing behind: what its sender need not wait for gathers in a bounded queue, and one task writes it, many at a
//! time.
//!
//! Items are written in the order in which they were queued. A full queue makes its senders wait, so that a flood, or
//! storage that fails, slows them and nothing is lost silently. What is queued when [`Behind`] is dropped is lost:
//! flush first.

use crate::{Error, Result};
use base::port::Clock;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How much may gather, in items and in whatever [`Write::weight`] counts.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Items in the queue; the batch being written not counted.
    pub items_max: usize,
    /// Weight of all items not yet written. A heavier item counts as this much, and so waits to be alone.
    pub weight_max: usize,
    /// A batch takes no more items once it weighs this much.
    pub batch_weight: usize,
    /// How long items wait for others to share their batch.
    pub interval: Duration,
}

/// Who writes what has gathered.
pub trait Write: Send + 'static {
    type Item: Send + 'static;

    /// What an item weighs.
    fn weight(item: &Self::Item) -> usize;

    /// Whether somebody waits for this item: then its batch is written at once.
    fn urgent(_: &Self::Item) -> bool {
        false
    }

    /// Writes a batch. When this returns, the items are durable or have been given up: see [`persist`].
    fn write(&mut self, items: Vec<Self::Item>) -> impl Future<Output = ()> + Send;
}

/// The way into the queue, and the task at its other end.
pub struct Behind<T> {
    queue: mpsc::Sender<Queued<T>>,
    space: Arc<Semaphore>,
    weight_max: usize,
    weight: fn(&T) -> usize,
    task: JoinHandle<()>,
}

enum Queued<T> {
    /// The space is given back when the item has been written.
    Item(T, OwnedSemaphorePermit),
    Flush(oneshot::Sender<()>),
}

impl<T: Send + 'static> Behind<T> {
    /// Starts the task that writes; dropping this aborts it.
    pub fn start<W: Write<Item = T>>(writer: W, bounds: Bounds, clock: Arc<dyn Clock>) -> Self {
        let (queue, receiver) = mpsc::channel(bounds.items_max.max(1));
        let weight_max = bounds.weight_max.clamp(1, u32::MAX as usize);
        let task = tokio::spawn(run(writer, receiver, bounds, clock));
        Self { queue, space: Arc::new(Semaphore::new(weight_max)), weight_max, weight: W::weight, task }
    }

    /// Waits for space, then queues an item.
    pub async fn push(&self, item: T) {
        let weight = (self.weight)(&item).min(self.weight_max) as u32;
        let space = self.space.clone().acquire_many_owned(weight).await;
        let space = space.expect("nobody closes it");
        // The task lives as long as this does; only a node that is being torn down finds it gone.
        let _ = self.queue.send(Queued::Item(item, space)).await;
    }

    /// Waits until all that was pushed before has been written. Waits as long as storage fails: bound it where that
    /// matters.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        let _ = self.queue.send(Queued::Flush(done)).await;
        let _ = flushed.await;
    }
}

impl<T> Drop for Behind<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What one call of [`Write::write`] gets, and who waits for it.
struct Batch<T> {
    items: Vec<T>,
    space: Vec<OwnedSemaphorePermit>,
    flushes: Vec<oneshot::Sender<()>>,
    weight: usize,
    urgent: bool,
}

impl<T> Batch<T> {
    fn of<W: Write<Item = T>>(first: Queued<T>) -> Self {
        let mut batch = Self { items: Vec::new(), space: Vec::new(), flushes: Vec::new(), weight: 0, urgent: false };
        batch.add::<W>(first);
        batch
    }

    fn add<W: Write<Item = T>>(&mut self, queued: Queued<T>) {
        match queued {
            Queued::Item(item, space) => {
                self.weight += W::weight(&item);
                self.urgent |= W::urgent(&item);
                self.items.push(item);
                self.space.push(space);
            }
            Queued::Flush(done) => {
                self.urgent = true;
                self.flushes.push(done);
            }
        }
    }
}

/// Writes until the queue is closed and empty.
async fn run<W: Write>(
    mut writer: W,
    mut queue: mpsc::Receiver<Queued<W::Item>>,
    bounds: Bounds,
    clock: Arc<dyn Clock>,
) {
    while let Some(first) = queue.recv().await {
        let batch = gather::<W>(first, &mut queue, &bounds, &*clock).await;
        if !batch.items.is_empty() {
            writer.write(batch.items).await;
        }
        drop(batch.space);
        for done in batch.flushes {
            // Who asked may have gone.
            let _ = done.send(());
        }
    }
}

async fn gather<W: Write>(
    first: Queued<W::Item>,
    queue: &mut mpsc::Receiver<Queued<W::Item>>,
    bounds: &Bounds,
    clock: &dyn Clock,
) -> Batch<W::Item> {
    let mut batch = Batch::of::<W>(first);
    let window = clock.sleep(bounds.interval);
    tokio::pin!(window);
    while !batch.urgent && batch.weight < bounds.batch_weight {
        tokio::select! {
            () = &mut window => break,
            queued = queue.recv() => match queued {
                Some(queued) => batch.add::<W>(queued),
                None => break,
            },
        }
    }
    // What is there already comes along.
    while batch.weight < bounds.batch_weight
        && let Ok(queued) = queue.try_recv()
    {
        batch.add::<W>(queued);
    }
    batch
}

/// Repeats `attempt` while storage fails, with growing pauses. An error means that what is to be written can never be
/// stored: it is too large, or meets a damaged record. `what` is for the log.
pub async fn persist<F, Fut>(clock: &dyn Clock, what: &str, attempt: F) -> Result<()>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let mut pause = PAUSE_MIN;
    loop {
        match attempt().await {
            Err(error @ (Error::Conflict | Error::Full | Error::Unavailable(_))) => {
                tracing::warn!(what, %error, "storage is waited for");
                clock.sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            stored_or_never => {
                if pause > PAUSE_MIN && stored_or_never.is_ok() {
                    tracing::info!(what, "storage goes on");
                }
                return stored_or_never;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Timestamp;
    use kit::ManualClock;
    use parking_lot::Mutex;

    /// Items are numbers that weigh what they are; 7 is urgent. Each batch takes a second to write.
    struct Noting {
        written: Arc<Mutex<Vec<Vec<usize>>>>,
        clock: Arc<ManualClock>,
    }

    impl Write for Noting {
        type Item = usize;

        fn weight(item: &usize) -> usize {
            *item
        }

        fn urgent(item: &usize) -> bool {
            *item == 7
        }

        async fn write(&mut self, items: Vec<usize>) {
            self.clock.sleep(Duration::from_secs(1)).await;
            self.written.lock().push(items);
        }
    }

    const BOUNDS: Bounds =
        Bounds { items_max: 8, weight_max: 24, batch_weight: 10, interval: Duration::from_millis(20) };

    type Written = Arc<Mutex<Vec<Vec<usize>>>>;

    fn behind() -> (Arc<Behind<usize>>, Written, Arc<ManualClock>) {
        let (clock, written) = (ManualClock::at(Timestamp(0)), Written::default());
        let writer = Noting { written: written.clone(), clock: clock.clone() };
        (Arc::new(Behind::start(writer, BOUNDS, clock.clone())), written, clock)
    }

    async fn others_run() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn batches_end_by_time_by_weight_and_by_urgency() {
        let (behind, written, clock) = behind();
        behind.push(1).await;
        behind.push(2).await;
        others_run().await;
        clock.advance(BOUNDS.interval);
        others_run().await;
        for item in [3, 9, 1, 7] {
            // The batch before is still being written.
            behind.push(item).await;
        }
        for _ in 0..3 {
            others_run().await;
            clock.advance(Duration::from_secs(1));
        }
        others_run().await;
        assert_eq!(*written.lock(), [vec![1, 2], vec![3, 9], vec![1, 7]]);
        assert_eq!(clock.elapsed(), Duration::from_millis(3_020), "nobody waited for a window but the first");
    }

    #[tokio::test]
    async fn a_flush_waits_for_all_before_it_and_hurries_them() {
        let (behind, written, clock) = behind();
        behind.push(1).await;
        let flush = tokio::spawn({
            let behind = behind.clone();
            async move { behind.flush().await }
        });
        others_run().await;
        assert!(!flush.is_finished());
        clock.advance(Duration::from_secs(1));
        flush.await.expect("flushes");
        assert_eq!(*written.lock(), [[1]]);
        behind.flush().await;
    }

    #[tokio::test]
    async fn a_full_queue_makes_its_senders_wait() {
        let (behind, written, clock) = behind();
        behind.push(12).await;
        behind.push(6).await;
        let third = tokio::spawn({
            let behind = behind.clone();
            // Heavier than all that may wait.
            async move { behind.push(50).await }
        });
        others_run().await;
        assert!(!third.is_finished());
        clock.pass_one_sleep().await;
        others_run().await;
        assert!(!third.is_finished(), "6 is still there");
        while !third.is_finished() {
            clock.pass_one_sleep().await;
            others_run().await;
        }
        clock.advance(Duration::from_secs(1));
        others_run().await;
        assert_eq!(*written.lock(), [vec![12], vec![6], vec![50]]);
    }

    #[tokio::test]
    async fn persisting_ends_when_storage_goes_on_or_never_will() {
        let clock = ManualClock::at(Timestamp(0));
        let answers = Mutex::new(vec![Ok(()), Err(Error::Full), Err(Error::Conflict), Err(Error::Full)]);
        let stored = persist(&*clock, "numbers", async || answers.lock().pop().expect("an answer"));
        let time = async {
            for _ in 0..3 {
                clock.pass_one_sleep().await;
            }
        };
        assert_eq!(tokio::join!(stored, time).0, Ok(()));
        assert_eq!(clock.elapsed(), Duration::from_millis(50 + 100 + 200));
        let damaged = Error::Damaged("x".into());
        assert_eq!(persist(&*clock, "numbers", async || Err(damaged.clone())).await, Err(damaged.clone()));
    }
}
