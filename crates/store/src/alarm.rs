//! Alarms: what a room has to do at a time, kept in the store. A schedule's next time is an alarm.
//!
//! An alarm rings in a transaction, which clears it, does what is to be done and sets the next: what rang is not rung
//! again, and what was not rung is rung after a restart. One timer is armed, for the first of all: others cost nothing.

use crate::{Error, Key, KeyReader, Result, Store, Tx};
use async_trait::async_trait;
use base::Timestamp;
use base::port::Clock;
use futures::StreamExt;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Alarms read at a time, and rung at a time, so that they share commits.
const PAGE: usize = 256;
const AT_ONCE: usize = 32;
/// How often the first alarm is looked up without anybody having said that it has changed: one seek. Only a commit whose
/// caller went away before it could say so is found that way.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Before what failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The alarms of one room.
pub struct Alarms {
    store: Store,
    clock: Arc<dyn Clock>,
    space: &'static str,
    changed: Notify,
}

/// An alarm: when it is due, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    pub due: Timestamp,
    pub id: String,
}

/// What is done when an alarm rings.
#[async_trait]
pub trait Ring: Send + Sync {
    type Error: From<Error> + Display + Send;

    /// In the transaction that clears the alarm.
    async fn ring(&self, tx: &Tx, alarm: &Alarm) -> std::result::Result<(), Self::Error>;
}

impl Alarms {
    /// Those under `<space>/<due ms>/<id>`.
    pub fn new(store: Store, clock: Arc<dyn Clock>, space: &'static str) -> Self {
        Self { store, clock, space, changed: Notify::new() }
    }

    fn key(&self, alarm: &Alarm) -> Key {
        Key::of(self.space).number(alarm.due.millis()).text(&alarm.id)
    }

    /// Sets an alarm. Call [`Alarms::wake`] after the commit.
    pub fn set(&self, tx: &Tx, alarm: &Alarm) -> Result<()> {
        tx.put_bytes(&self.key(alarm), Vec::new())
    }

    pub fn clear(&self, tx: &Tx, alarm: &Alarm) {
        tx.delete(&self.key(alarm));
    }

    /// Says that an alarm may have been set that is earlier than all others.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Rings alarms when they are due, until `stop`. If the transaction of one fails, it rings again a little later.
    pub async fn run<R: Ring>(&self, stop: &CancellationToken, room: &R) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.ring_all(room) => {}
        }
    }

    async fn ring_all<R: Ring>(&self, room: &R) {
        loop {
            let wait = match self.ring_due(room).await {
                Ok(wait) => wait.min(LOOK_EVERY),
                Err(error) => {
                    tracing::warn!(space = self.space, %error, "alarms wait for storage");
                    RETRY_AFTER
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = self.clock.sleep(wait) => {}
            }
        }
    }

    /// Rings what is due; gives how long the next has to wait.
    async fn ring_due<R: Ring>(&self, room: &R) -> std::result::Result<Duration, R::Error> {
        loop {
            let mut alarms = self.first(PAGE).await?;
            let now = self.clock.now();
            let due = alarms.partition_point(|alarm| alarm.due <= now);
            if due == 0 {
                return Ok(alarms.first().map_or(LOOK_EVERY, |alarm| alarm.due.since(now)));
            }
            alarms.truncate(due);
            let rung = futures::stream::iter(alarms).map(|alarm| self.ring_one(room, alarm));
            let rung: Vec<std::result::Result<(), R::Error>> = rung.buffer_unordered(AT_ONCE).collect().await;
            rung.into_iter().collect::<std::result::Result<(), R::Error>>()?;
        }
    }

    async fn ring_one<R: Ring>(&self, room: &R, alarm: Alarm) -> std::result::Result<(), R::Error> {
        let alarm = &alarm;
        self.store
            .transact(async |tx: Tx| {
                // It may have been cleared meanwhile, or have rung in a commit whose answer was lost.
                if tx.get_bytes(&self.key(alarm)).await?.is_none() {
                    return Ok(());
                }
                self.clear(&tx, alarm);
                room.ring(&tx, alarm).await
            })
            .await
    }

    async fn first(&self, limit: usize) -> Result<Vec<Alarm>> {
        let all = Key::of(self.space);
        let items = self.store.scan(all.as_bytes(), &all.end(), limit).await?;
        let alarm = |key: &[u8]| {
            let mut reader = KeyReader::new(key);
            reader.text()?;
            Some(Alarm { due: Timestamp(reader.number()?), id: reader.text()? })
        };
        Ok(items.iter().filter_map(|item| alarm(&item.key)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flaky::{Faults, Flaky};
    use crate::memory::Memory;
    use kit::RunningClock;
    use parking_lot::Mutex;

    const START: u64 = 1_795_000_000_000;

    fn alarm(due: u64, id: &str) -> Alarm {
        Alarm { due: Timestamp(START + due), id: id.into() }
    }

    /// Each alarm rings again a minute later until it has rung three times. What rang is written down.
    struct Thrice<'a>(&'a Alarms);

    #[async_trait]
    impl Ring for Thrice<'_> {
        type Error = Error;

        async fn ring(&self, tx: &Tx, rung: &Alarm) -> Result<()> {
            let log = Key::of("log").number(rung.due.millis()).text(&rung.id);
            let twice = tx.get_bytes(&log).await?.is_some();
            tx.put_bytes(&log, if twice { "twice" } else { "once" })?;
            let next = alarm(rung.due.millis() - START + 60_000, &rung.id);
            if next.due < Timestamp(START + 180_000) { self.0.set(tx, &next) } else { Ok(()) }
        }
    }

    /// When alarms rang.
    struct Times(Arc<RunningClock>, Mutex<Vec<u64>>);

    #[async_trait]
    impl Ring for Times {
        type Error = Error;

        async fn ring(&self, _: &Tx, _: &Alarm) -> Result<()> {
            self.1.lock().push(self.0.now().0 - START);
            Ok(())
        }
    }

    /// Sets alarms and rings them for `lasts`.
    async fn live(store: &Store, clock: &Arc<RunningClock>, set: &[Alarm], lasts: Duration) {
        let alarms = Alarms::new(store.clone(), clock.clone(), "alarms");
        while store.transact(async |tx: Tx| set.iter().try_for_each(|a| alarms.set(&tx, a))).await.is_err() {}
        let stop = CancellationToken::new();
        let time = async {
            tokio::time::sleep(lasts).await;
            stop.cancel();
        };
        let room = Thrice(&alarms);
        tokio::join!(alarms.run(&stop, &room), time);
    }

    async fn log(store: &Store) -> Vec<(u64, String, bool)> {
        let all = Key::of("log");
        let items = store.scan(all.as_bytes(), &all.end(), 10_000).await.expect("reads");
        let entry = |item: &crate::engine::Item| {
            let mut reader = KeyReader::new(&item.key);
            reader.text()?;
            Some((reader.number()? - START, reader.text()?, item.value == "once"))
        };
        items.iter().filter_map(entry).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn alarms_ring_when_they_are_due_and_once() {
        let (store, clock) = (Store::new(Arc::new(Memory::default())), RunningClock::at(Timestamp(START)));
        live(&store, &clock, &[alarm(5_000, "a"), alarm(30_000, "b")], Duration::from_secs(70)).await;
        let times: Vec<u64> = log(&store).await.iter().map(|(due, ..)| *due).collect();
        assert_eq!(times, [5_000, 30_000, 65_000]);
        // What fell due while nobody rang is rung afterwards.
        tokio::time::sleep(Duration::from_secs(600)).await;
        live(&store, &clock, &[], Duration::from_secs(1)).await;
        let rung = log(&store).await;
        assert_eq!(rung.len(), 6);
        assert!(rung.iter().all(|(.., once)| *once));
    }

    #[tokio::test(start_paused = true)]
    async fn none_is_lost_or_rings_twice_whatever_fails() {
        for seed in 0..30 {
            let (disk, clock) = (Arc::new(Memory::default()), RunningClock::at(Timestamp(START)));
            let set: Vec<Alarm> = (0..40).map(|n| alarm(n * 500, &n.to_string())).collect();
            for life in 0..4 {
                let faults = Faults {
                    read: 200,
                    commit_lost: 200,
                    commit_unknown: 200,
                    full: 100,
                    delay_max: Duration::from_millis(30),
                    ..Faults::default()
                };
                let store = Store::new(Arc::new(Flaky::new(disk.clone(), clock.clone(), seed * 10 + life, faults)));
                let set = if life == 0 { set.as_slice() } else { &[] };
                live(&store, &clock, set, Duration::from_secs(20)).await;
            }
            let store = Store::new(disk);
            live(&store, &clock, &[], Duration::from_secs(300)).await;
            let rung = log(&store).await;
            assert_eq!(rung.len(), 120, "seed {seed}");
            assert!(rung.iter().all(|(.., once)| *once), "seed {seed}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_alarm_wakes_the_timer() {
        let (store, clock) = (Store::new(Arc::new(Memory::default())), RunningClock::at(Timestamp(START)));
        let alarms = Alarms::new(store.clone(), clock.clone(), "alarms");
        let (stop, times) = (CancellationToken::new(), Times(clock.clone(), Mutex::default()));
        let set = async |due| {
            store.transact(async |tx: Tx| alarms.set(&tx, &alarm(due, "x"))).await.expect("commits");
            alarms.wake();
        };
        let time = async {
            set(9_000).await;
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            set(2_000).await;
            tokio::time::sleep(Duration::from_secs(10)).await;
            stop.cancel();
        };
        tokio::join!(alarms.run(&stop, &times), time);
        assert_eq!(*times.1.lock(), [2_000, 9_000]);
    }
}
