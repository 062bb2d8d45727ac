//! The queues in use: what is known of each, who waits for its messages, and the bell that wakes them when one becomes
//! visible by itself.

use crate::Queues;
use crate::attempts::Attempts;
use crate::error::{Error, Result};
use crate::model::name::Named;
use crate::model::queue::Queue;
use crate::stock::Stock;
use crate::store::Space;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// A queue that nobody has asked for as long as this is forgotten. Longer than attempts are remembered.
const IDLE_MS: u64 = 600_000;

/// A queue in use.
pub struct Live {
    queue: RwLock<Arc<Queue>>,
    stock: RwLock<Arc<Stock>>,
    /// Held while the queue's record is changed, so that it is known here in the order in which it changed.
    pub changing: tokio::sync::Mutex<()>,
    pub attempts: Mutex<Attempts>,
    /// Something can be received: one who waits is woken, and wakes the next if there is more.
    pub arrivals: Notify,
    /// What becomes visible by itself has changed: the bell looks again.
    changed: Notify,
    waiting: AtomicUsize,
    /// Is the bell there?
    bell: AtomicBool,
    gone: AtomicBool,
    /// When it was last asked for.
    used: AtomicU64,
}

impl Live {
    fn new(queue: Queue, window_max: usize, stored: Option<u64>) -> Self {
        Self {
            stock: RwLock::new(Arc::new(Stock::new(&queue, window_max, stored))),
            queue: RwLock::new(Arc::new(queue)),
            changing: tokio::sync::Mutex::default(),
            attempts: Mutex::default(),
            arrivals: Notify::new(),
            changed: Notify::new(),
            waiting: AtomicUsize::new(0),
            bell: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            used: AtomicU64::new(0),
        }
    }

    pub fn queue(&self) -> Arc<Queue> {
        self.queue.read().clone()
    }

    pub fn stock(&self) -> Arc<Stock> {
        self.stock.read().clone()
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// The record has changed. Messages of an earlier stock are no longer known.
    pub fn set(&self, queue: Queue, window_max: usize) {
        if queue.stock != self.stock().id {
            *self.stock.write() = Arc::new(Stock::new(&queue, window_max, None));
        }
        *self.queue.write() = Arc::new(queue);
        self.changed.notify_one();
    }

    /// When messages become visible by themselves may have changed.
    pub fn ring_later(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.changed.notify_one();
        }
    }

    /// Does the bell go on? If not, the next who waits brings another.
    fn is_waited_for(&self) -> bool {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            return true;
        }
        self.bell.store(false, Ordering::SeqCst);
        // Somebody may have come in between, and seen that the bell was still there.
        self.waiting.load(Ordering::SeqCst) > 0 && !self.bell.swap(true, Ordering::SeqCst)
    }
}

/// All queues in use.
#[derive(Default)]
pub struct Lives {
    all: RwLock<HashMap<Named, Arc<Live>>>,
    /// Held while one is opened, made or removed.
    changing: tokio::sync::Mutex<()>,
}

impl Queues {
    fn window_max(&self, named: &Named) -> usize {
        if crate::model::name::is_fifo(&named.name) { self.config.fifo_window_max } else { self.config.window_max }
    }

    /// A queue, if it is in use.
    pub fn in_use(&self, named: &Named) -> Option<Arc<Live>> {
        let live = self.lives.all.read().get(named).cloned()?;
        live.used.store(self.now(), Ordering::Relaxed);
        Some(live)
    }

    /// A queue that must be there.
    pub async fn live(&self, named: &Named) -> Result<Arc<Live>> {
        if let Some(live) = self.in_use(named) {
            return Ok(live);
        }
        let _alone = self.lives.changing.lock().await;
        if let Some(live) = self.in_use(named) {
            return Ok(live);
        }
        let queue: Option<Queue> = self.store.get(&Space::Queue(&named.scope, &named.name).key()).await?;
        let stored = Some(self.entropy.u64());
        let live = Arc::new(Live::new(queue.ok_or(Error::NoSuchQueue)?, self.window_max(named), stored));
        self.lives.all.write().insert(named.clone(), live.clone());
        Ok(live)
    }

    /// Makes a queue: `make` commits its record, and says `None` if it was there.
    pub async fn make<F>(&self, named: &Named, make: F) -> Result<Option<Queue>>
    where
        F: Future<Output = Result<Option<Queue>>>,
    {
        let _alone = self.lives.changing.lock().await;
        let made = make.await?;
        if let Some(queue) = &made {
            let live = Arc::new(Live::new(queue.clone(), self.window_max(named), None));
            self.lives.all.write().insert(named.clone(), live);
        }
        Ok(made)
    }

    /// Removes a queue: `remove` commits it.
    pub async fn remove<F>(&self, named: &Named, remove: F) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        let _alone = self.lives.changing.lock().await;
        remove.await?;
        if let Some(live) = self.lives.all.write().remove(named) {
            live.gone.store(true, Ordering::Release);
            live.changed.notify_one();
            live.arrivals.notify_waiters();
        }
        Ok(())
    }

    pub fn update(&self, live: &Live, queue: Queue) {
        let window_max = self.window_max(&queue.named);
        live.set(queue, window_max);
    }

    /// Forgets queues that nobody uses: they are opened again when somebody does.
    pub fn forget_idle(&self) {
        let before = self.now().saturating_sub(IDLE_MS);
        let idle = |live: &Arc<Live>| {
            let unused = Arc::strong_count(live) == 1 && live.used.load(Ordering::Relaxed) < before;
            unused && live.stock().shelf().at_rest()
        };
        self.lives.all.write().retain(|_, live| !idle(live));
    }

    /// Registers one who waits for messages of a queue, and sees to it that the bell is there. `None`: too many wait.
    pub fn wait(&self, live: &Arc<Live>) -> Option<Waiting<'_>> {
        let room = |waiting: usize| (waiting < self.config.waiting_max).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        live.waiting.fetch_add(1, Ordering::SeqCst);
        if !live.bell.swap(true, Ordering::SeqCst)
            && let Some(this) = self.this.upgrade()
        {
            let live = live.clone();
            self.running.spawn(async move { this.ring(&live).await });
        }
        Some(Waiting { all: &self.waiting, live: live.clone() })
    }

    /// The bell of a queue: wakes one who waits whenever a message has become visible by itself. Ends when nobody waits.
    async fn ring(&self, live: &Live) {
        while live.is_waited_for() && !self.stopping.is_cancelled() && !live.is_gone() {
            let (now, delay) = (self.now(), live.queue().late_delay_ms());
            let due = live.stock().shelf().next_due(now, delay);
            let sleep = async {
                match due {
                    Some(due) => self.clock.sleep(Duration::from_millis(due.saturating_sub(now).max(1))).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = live.changed.notified() => {}
                () = sleep => live.arrivals.notify_one(),
            }
        }
    }
}

/// One who waits, until this is dropped.
pub struct Waiting<'q> {
    all: &'q AtomicUsize,
    live: Arc<Live>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
        if self.live.waiting.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.live.changed.notify_one();
        }
    }
}
