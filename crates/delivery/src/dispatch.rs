//! The one task that reads the lanes and starts attempts.

use crate::Delivery;
use crate::attempt::{Finished, STORE_RETRY_MAX, STORE_RETRY_MIN};
use crate::lanes::Lanes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::outbox::{self, Lane};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Events read from a lane at a time.
const PAGE: usize = 32;
/// How often all lanes are looked at, one seek each. Commits tell us what they emit; only one whose caller was dropped
/// while it committed cannot.
const LOOK_EVERY: Duration = Duration::from_secs(10);

struct Dispatcher {
    delivery: Arc<Delivery>,
    lanes: Lanes,
    /// At most `in_flight_max`. Dropped, it aborts them all: their events are tried again after a restart.
    attempts: JoinSet<Finished>,
    look_at: Duration,
}

impl Delivery {
    /// Delivers until `stop`; then starts no more and waits, for `drain_max` at most, for what is under way.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let lanes = Lanes::new(&self.config);
        let look_at = self.clock.elapsed();
        let mut dispatcher = Dispatcher { delivery: self, lanes, attempts: JoinSet::new(), look_at };
        dispatcher.deliver_until(&stop).await;
        dispatcher.drain().await;
    }
}

impl Dispatcher {
    async fn deliver_until(&mut self, stop: &CancellationToken) {
        let mut pause = STORE_RETRY_MIN;
        while !stop.is_cancelled() {
            let wait = match self.look_and_start().await {
                Ok(()) => {
                    pause = STORE_RETRY_MIN;
                    self.until_next()
                }
                Err(e) => {
                    tracing::warn!("reading the outbox failed: {e}");
                    let delivery = &self.delivery;
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = delivery.clock.sleep(pause) => {}
                    }
                    pause = (pause * 2).min(STORE_RETRY_MAX);
                    continue;
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                emitted = self.delivery.store.emitted() => {
                    let now = self.delivery.clock.now();
                    emitted.iter().for_each(|(lane, due)| self.lanes.note(lane, *due, now));
                }
                Some(ended) = self.attempts.join_next() => self.finished(ended),
                () = self.delivery.clock.sleep(wait) => {}
            }
            // Whatever else has ended is settled with it: one pass over the lanes serves them all.
            while let Some(ended) = self.attempts.try_join_next() {
                self.finished(ended);
            }
        }
    }

    async fn look_and_start(&mut self) -> store::Result<()> {
        let elapsed = self.delivery.clock.elapsed();
        if elapsed >= self.look_at {
            self.look().await?;
            self.look_at = elapsed + LOOK_EVERY;
        }
        self.lanes.wake(self.delivery.clock.now());
        let mut held = Vec::new();
        let started = self.start_ready(&mut held).await;
        self.lanes.put_back(held);
        self.delivery.in_flight.store(self.lanes.in_flight(), Ordering::Relaxed);
        started
    }

    /// Notes when each lane's first event is due.
    async fn look(&mut self) -> store::Result<()> {
        let now = self.delivery.clock.now();
        let mut last: Option<Lane> = None;
        while let Some((lane, due)) = outbox::next_lane(&self.delivery.store, last.as_ref()).await? {
            self.lanes.note(&lane, due, now);
            last = Some(lane);
        }
        Ok(())
    }

    /// Starts what is due and has room, a page of each lane in turn.
    async fn start_ready(&mut self, held: &mut Vec<Arc<Lane>>) -> store::Result<()> {
        while let Some((lane, after, room)) = self.lanes.next_ready(held) {
            let limit = room.min(PAGE);
            match outbox::lane(&self.delivery.store, &lane, after.as_ref(), limit).await {
                Ok(found) => {
                    let full = found.len() == limit;
                    let all_due = self.start_found(&lane, found);
                    self.lanes.read(lane, full && all_due);
                }
                Err(e) => {
                    self.lanes.read(lane, true);
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// Starts what is due of a page; `false` when the page ended with what is not.
    fn start_found(&mut self, lane: &Arc<Lane>, found: Vec<outbox::Found>) -> bool {
        let now = self.delivery.clock.now();
        for event in found {
            if event.place.0 > now {
                self.lanes.note(lane, event.place.0, now);
                return false;
            }
            if self.lanes.is_in_flight(lane, &event.place) {
                self.lanes.pass(lane, event.place);
                continue;
            }
            match event.waiting() {
                Ok(waiting) => {
                    self.lanes.start(lane, event.place);
                    self.attempts.spawn(self.delivery.clone().attempt(waiting));
                }
                // Left where it is, for a person to look at; nobody waits behind it.
                Err(e) => {
                    tracing::error!(event = %event.place.1, target = %lane.target, "an event cannot be read and is passed over: {e}");
                    self.lanes.pass(lane, event.place);
                }
            }
        }
        true
    }

    fn finished(&mut self, ended: Result<Finished, JoinError>) {
        match ended {
            Ok(f) => self.lanes.finished(&f.lane, &f.id, f.again, self.delivery.clock.now()),
            // Panics of targets are caught inside; what remains is our own bug, and the event waits for a restart.
            Err(e) => tracing::error!("an attempt ended without a result: {e}"),
        }
    }

    fn until_next(&self) -> Duration {
        let look = self.look_at.saturating_sub(self.delivery.clock.elapsed());
        let now = self.delivery.clock.now();
        self.lanes.next_due().map_or(look, |due| due.since(now).min(look))
    }

    async fn drain(mut self) {
        let delivery = self.delivery.clone();
        let all = async {
            while let Some(ended) = self.attempts.join_next().await {
                self.finished(ended);
            }
        };
        tokio::select! {
            () = all => {}
            () = delivery.clock.sleep(delivery.config.drain_max) => {
                tracing::warn!("stopping before all deliveries ended; they are tried again after a start");
            }
        }
        delivery.in_flight.store(0, Ordering::Relaxed);
    }
}
