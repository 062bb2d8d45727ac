//! Pools with members that are numbers: order, waiting, eviction.

mod fairness;
mod ready;

use super::*;
use crate::keep::Fixed;
use crate::testing::version;
use kit::{Free, RunningClock};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

struct Numbered {
    number: usize,
    usable: Arc<AtomicBool>,
    set_aside: bool,
    _place: OwnedSemaphorePermit,
}

impl Member for Numbered {
    fn usable(&self) -> bool {
        self.usable.load(Ordering::SeqCst)
    }

    fn set_aside(&mut self) {
        self.set_aside = true;
    }
}

#[derive(Default)]
struct Counter {
    made: AtomicUsize,
    /// While set, making waits for `go`.
    slow: AtomicBool,
    failing: AtomicBool,
    /// What is made is dead at once.
    stillborn: AtomicBool,
    go: Notify,
    /// How long making takes, in milliseconds.
    takes_ms: AtomicUsize,
    /// Being made now, and the most there were.
    making: AtomicUsize,
    making_max: AtomicUsize,
    spares: AtomicUsize,
    let_go: AtomicUsize,
}

impl Maker for Arc<Counter> {
    type Made = Numbered;

    async fn make(&self, _: Arc<Version>, place: OwnedSemaphorePermit, _: Purpose) -> Result<Numbered, InvokeError> {
        let making = self.making.fetch_add(1, Ordering::SeqCst) + 1;
        self.making_max.fetch_max(making, Ordering::SeqCst);
        if self.slow.load(Ordering::SeqCst) {
            self.go.notified().await;
        }
        tokio::time::sleep(Duration::from_millis(self.takes_ms.load(Ordering::SeqCst) as u64)).await;
        self.making.fetch_sub(1, Ordering::SeqCst);
        if self.failing.load(Ordering::SeqCst) {
            return Err(InvokeError::Unavailable("cannot".into()));
        }
        let number = self.made.fetch_add(1, Ordering::SeqCst) + 1;
        let usable = Arc::new(AtomicBool::new(!self.stillborn.load(Ordering::SeqCst)));
        Ok(Numbered { number, usable, set_aside: false, _place: place })
    }

    fn upkeep(&self, _: &Version) -> Upkeep {
        let templated = self.spares.load(Ordering::SeqCst) > 0 && self.made.load(Ordering::SeqCst) > 0;
        Upkeep {
            spares: self.spares.load(Ordering::SeqCst),
            spare_bytes: 1 << 20,
            template_bytes: templated.then_some(10 << 20),
            initialises: !templated,
        }
    }

    fn let_go(&self, _: &Version) {
        self.let_go.fetch_add(1, Ordering::SeqCst);
    }
}

type Made = (Arc<Pools<Arc<Counter>>>, Arc<Counter>);

fn pools(places: usize) -> Made {
    let (pools, counter, _) = with(places, 8);
    (pools, counter)
}

fn with(places_max: usize, raising_max: usize) -> (Arc<Pools<Arc<Counter>>>, Arc<Counter>, Arc<Free>) {
    let (counter, free) = (Arc::<Counter>::default(), Free::unbounded());
    let policy = Arc::new(Fixed(Duration::from_secs(60)));
    let bounds = Bounds { places_max, raising_max };
    (Pools::new(counter.clone(), bounds, policy, free.clone(), RunningClock::real()), counter, free)
}

#[tokio::test]
async fn last_in_first_out_and_only_the_sound() {
    let (pools, _) = pools(10);
    let f = Arc::new(version("f"));
    let (a, b) = (pools.acquire(&f).await.expect("a"), pools.acquire(&f).await.expect("b"));
    assert_eq!((a.number, b.number), (1, 2));
    a.give_back();
    b.give_back();
    let again = pools.acquire(&f).await.expect("again");
    assert_eq!(again.number, 2);
    again.usable.store(false, Ordering::SeqCst);
    again.give_back();
    assert_eq!(pools.acquire(&f).await.expect("the other").number, 1);
    assert_eq!(pools.live(), 0, "both leases were dropped");
}

#[tokio::test]
async fn a_caller_takes_whichever_comes_first() {
    let (pools, counter) = pools(10);
    let f = Arc::new(version("f"));
    let first = pools.acquire(&f).await.expect("one");
    counter.slow.store(true, Ordering::SeqCst);
    let waiting = tokio::spawn({
        let (pools, f) = (pools.clone(), f.clone());
        async move { pools.acquire(&f).await.map(|lease| lease.number) }
    });
    tokio::task::yield_now().await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    first.give_back();
    assert_eq!(waiting.await.expect("joins"), Ok(1), "the freed one was faster");
    counter.go.notify_one();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(pools.acquire(&f).await.expect("the new one waits idle").number, 2);
}

#[tokio::test]
async fn a_failure_reaches_one_caller_and_leaves_nothing() {
    let (pools, counter) = pools(1);
    let f = Arc::new(version("f"));
    counter.failing.store(true, Ordering::SeqCst);
    assert!(pools.acquire(&f).await.is_err());
    assert!(pools.state.lock().pools.is_empty());
    counter.failing.store(false, Ordering::SeqCst);
    assert!(pools.acquire(&f).await.is_ok());
}

#[tokio::test]
async fn the_longest_idle_of_others_makes_room() {
    let (pools, _) = pools(2);
    let [a, b, c] = ["a", "b", "c"].map(|name| Arc::new(version(name)));
    pools.acquire(&a).await.expect("a").give_back();
    tokio::time::sleep(Duration::from_millis(2)).await;
    pools.acquire(&b).await.expect("b").give_back();
    pools.acquire(&c).await.expect("c").give_back();
    let names: Vec<String> = pools.state.lock().pools.keys().map(|key| key.arn.clone()).collect();
    assert!(names.len() == 2 && !names.contains(&a.arn.to_string()), "{names:?}");
}

#[tokio::test]
async fn retired_ones_do_not_come_back() {
    let (pools, _) = pools(4);
    let f = Arc::new(version("f"));
    let (running, idle) = (pools.acquire(&f).await.expect("one"), pools.acquire(&f).await.expect("two"));
    idle.give_back();
    pools.retire(&f.arn.to_string(), "$LATEST", Some("r2"));
    assert_eq!(pools.live(), 1);
    running.give_back();
    assert_eq!(pools.live(), 0);
    assert!(pools.state.lock().pools.is_empty());
}

#[tokio::test]
async fn closing_tells_those_who_wait() {
    let (pools, counter) = pools(4);
    counter.slow.store(true, Ordering::SeqCst);
    let f = Arc::new(version("f"));
    let waiting = tokio::spawn({
        let (pools, f) = (pools.clone(), f.clone());
        async move { pools.acquire(&f).await.map(|lease| lease.number) }
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    pools.close();
    assert!(waiting.await.expect("joins").is_err());
    assert!(pools.acquire(&f).await.is_err());
}
