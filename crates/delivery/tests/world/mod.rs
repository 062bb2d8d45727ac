//! What stands around delivery in its tests: targets that do as they are told, an engine that counts.

#![allow(dead_code)]

use async_trait::async_trait;
use base::port::{Clock, Denied, Target, Targets};
use base::{Arn, Event, Source, Timestamp, Verdict};
use delivery::{Config, Delivery, Parts};
use kit::{RunningClock, Seeded};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use store::engine::{Batch, Committed, Engine, Item, Range};
use store::{Store, Tx, outbox};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// When the tests' clocks begin.
pub const START: u64 = 1_795_000_000_000;

/// What a target does with an attempt: (event, attempt) → after how long it says what. Panics when told to.
pub type Behaviour = Box<dyn Fn(&Event, u32) -> (Duration, Option<Verdict>) + Send + Sync>;

/// Every lambda target, by one behaviour; keeps what it was given.
pub struct Told {
    behaviour: Behaviour,
    /// Per event id, when each attempt began.
    pub attempts: Mutex<HashMap<String, Vec<Timestamp>>>,
    /// Every event of every attempt.
    pub given: Mutex<Vec<Event>>,
    /// Ids whose attempts ended well.
    pub done: Mutex<Vec<String>>,
    clock: Arc<RunningClock>,
}

impl Told {
    pub fn new(
        clock: &Arc<RunningClock>,
        behaviour: impl Fn(&Event, u32) -> (Duration, Option<Verdict>) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (attempts, given, done) = Default::default();
        Arc::new(Self { behaviour: Box::new(behaviour), attempts, given, done, clock: clock.clone() })
    }

    pub fn times(&self, id: &str) -> Vec<u64> {
        let attempts = self.attempts.lock();
        attempts.get(id).map_or(Vec::new(), |all| all.iter().map(|t| t.0 - START).collect())
    }
}

#[async_trait]
impl Target for Told {
    async fn accepts(&self, _: &Arn, _: &Source) -> Result<(), Denied> {
        Ok(())
    }

    async fn deliver(&self, event: &Event, attempt: u32) -> Verdict {
        self.attempts.lock().entry(event.id.clone()).or_default().push(self.clock.now());
        self.given.lock().push(event.clone());
        let (after, verdict) = (self.behaviour)(event, attempt);
        tokio::time::sleep(after).await;
        // A panic that is meant needs no report.
        let Some(verdict) = verdict else { std::panic::resume_unwind(Box::new("told to panic")) };
        if matches!(verdict, Verdict::Done | Verdict::Over { failure: None, .. }) {
            self.done.lock().push(event.id.clone());
        }
        verdict
    }
}

impl Targets for Told {
    fn find(&self, target: &Arn) -> Option<&dyn Target> {
        (target.service == "lambda").then_some(self)
    }
}

pub fn event(id: impl ToString, target: &str, created: Timestamp) -> Event {
    Event {
        id: id.to_string(),
        target: Arn::new("lambda", "us-east-1", "000000000000", format!("function:{target}")),
        source: Source { service: None, arn: None, account: "000000000000".into() },
        created,
        payload: serde_json::value::RawValue::from_string("{}".into()).expect("JSON"),
        attributes: Default::default(),
        terms: Default::default(),
    }
}

pub async fn emit(store: &Store, event: &Event) -> store::Result<()> {
    store.transact(async |tx: Tx| tx.emit(event)).await
}

/// A running delivery.
pub struct Running {
    pub delivery: Arc<Delivery>,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
}

pub fn run(store: &Store, targets: Arc<dyn Targets>, clock: &Arc<RunningClock>, config: Config) -> Running {
    let parts =
        Parts { store: store.clone(), targets, clock: clock.clone(), entropy: Arc::new(Seeded::new(1)), config };
    let (delivery, stop) = (Arc::new(Delivery::new(parts)), CancellationToken::new());
    let task = tokio::spawn(delivery.clone().run(stop.clone()));
    Running { delivery, stop, task }
}

impl Running {
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("delivery ends well");
    }
}

/// Waits, in virtual time, until the outbox is empty.
pub async fn until_empty(store: &Store, within: Duration) {
    until_empty_every(store, within, Duration::from_millis(50)).await;
}

/// The same, looking only so often.
pub async fn until_empty_every(store: &Store, within: Duration, pause: Duration) {
    let end = Instant::now() + within;
    while outbox::counts(store, 1).await.map_or(1, |c| c.waiting) > 0 {
        assert!(Instant::now() < end, "events still wait after {within:?}");
        tokio::time::sleep(pause).await;
    }
}

/// Counts the items that scans give.
pub struct Counting {
    pub inner: Arc<dyn Engine>,
    pub scanned: AtomicUsize,
}

#[async_trait]
impl Engine for Counting {
    async fn read(&self, key: &[u8]) -> store::Result<Option<Item>> {
        self.inner.read(key).await
    }

    async fn scan(&self, range: &Range) -> store::Result<Vec<Item>> {
        let items = self.inner.scan(range).await?;
        self.scanned.fetch_add(items.len(), Ordering::Relaxed);
        Ok(items)
    }

    async fn commit(&self, batch: Batch) -> store::Result<Committed> {
        self.inner.commit(batch).await
    }
}
