//! What delivery promises one event and one target at a time; tokio's time is paused, so hours take microseconds.

mod world;

use base::port::Clock;
use base::{Timestamp, Verdict};
use delivery::{Config, Status};
use kit::RunningClock;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use store::flaky::{Faults, Flaky};
use store::memory::Memory;
use store::{Store, outbox};
use world::{Counting, START, Told, emit, event, run, until_empty};

const NOW: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);

fn memory() -> Store {
    Store::new(Arc::new(Memory::default()))
}

fn retry(seconds: u64) -> Option<Verdict> {
    Some(Verdict::Retry { after: Duration::from_secs(seconds), reason: "busy".into() })
}

#[tokio::test(start_paused = true)]
async fn an_event_is_delivered_at_once_and_forgotten() {
    let (store, clock) = (memory(), RunningClock::at(Timestamp(START)));
    let told = Told::new(&clock, |_, _| (NOW, Some(Verdict::Done)));
    emit(&store, &event("before", "a", clock.now())).await.unwrap();
    let running = run(&store, told.clone(), &clock, Config::default());
    tokio::time::sleep(Duration::from_secs(3)).await;
    emit(&store, &event("after", "a", clock.now())).await.unwrap();
    // Created earlier, committed later.
    emit(&store, &event("late", "a", Timestamp(START + 1))).await.unwrap();
    until_empty(&store, Duration::from_secs(1)).await;
    assert_eq!((told.times("before"), told.times("after"), told.times("late")), (vec![0], vec![3000], vec![3000]));
    assert_eq!(running.delivery.status().await.unwrap(), Status::default());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_nobody_told_of_is_found() {
    let (engine, clock) = (Arc::new(Memory::default()), RunningClock::at(Timestamp(START)));
    let (store, other) = (Store::new(engine.clone()), Store::new(engine));
    let told = Told::new(&clock, |_, _| (NOW, Some(Verdict::Done)));
    let running = run(&store, told.clone(), &clock, Config::default());
    tokio::time::sleep(Duration::from_secs(5)).await;
    // As a commit does whose caller was dropped while it was under way.
    emit(&other, &event("e", "a", clock.now())).await.unwrap();
    until_empty(&store, Duration::from_secs(11)).await;
    assert_eq!(told.times("e").len(), 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn retries_keep_the_targets_pace_scaled() {
    let (store, clock) = (memory(), RunningClock::at(Timestamp(START)));
    let told = Told::new(&clock, |_, attempt| match attempt {
        1 => (NOW, retry(60)),
        2 => (NOW, None),
        3 => (NOW, retry(120)),
        _ => (NOW, Some(Verdict::Done)),
    });
    let config = Config { time_scale: 0.5, ..Config::default() };
    let running = run(&store, told.clone(), &clock, config);
    emit(&store, &event("e", "a", clock.now())).await.unwrap();
    until_empty(&store, HOUR).await;
    // The second attempt panics: repeated after a minute.
    assert_eq!(told.times("e"), [0, 30_000, 60_000, 120_000]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_delivered_lies_in_the_dead_letters_with_its_reason() {
    let (store, clock) = (memory(), RunningClock::at(Timestamp(START)));
    let told = Told::new(&clock, |e, _| match e.id.as_str() {
        "refused" => (NOW, Some(Verdict::Dead { reason: "no such function".into() })),
        _ => (NOW, retry(1800)),
    });
    let running = run(&store, told.clone(), &clock, Config { event_age_max: HOUR, ..Config::default() });
    let mut nowhere = event("nowhere", "a", clock.now());
    nowhere.target.service = "smoke".into();
    for e in [event("refused", "a", clock.now()), event("old", "a", clock.now()), nowhere] {
        emit(&store, &e).await.unwrap();
    }
    until_empty(&store, 3 * HOUR).await;
    let dead = outbox::dead(&store, None, 10).await.unwrap();
    let find = |id: &str| dead.iter().find(|d| d.event.id == id).map(|d| (d.attempts, d.reason.as_str())).unwrap();
    assert_eq!(find("refused"), (1, "no such function"));
    assert_eq!(find("old"), (3, "too old after 3 attempts; the last: busy"));
    let reason = "no service here takes events for arn:aws:smoke:us-east-1:000000000000:function:a";
    assert_eq!(find("nowhere"), (1, reason));
    assert_eq!(running.delivery.status().await.unwrap().dead, 3);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_target_holds_up_nobody_and_its_queue_is_not_read_again() {
    const WAITING: usize = 20_000;
    let engine = Arc::new(Counting { inner: Arc::new(Memory::default()), scanned: AtomicUsize::new(0) });
    let (store, clock) = (Store::new(engine.clone()), RunningClock::at(Timestamp(START)));
    for n in 0..WAITING {
        emit(&store, &event(format!("slow-{n}"), "slow", Timestamp(START - n as u64))).await.unwrap();
    }
    let told = Told::new(&clock, |e, _| match e.target.resource.as_str() {
        "function:slow" => (100 * HOUR, Some(Verdict::Done)),
        _ => (NOW, Some(Verdict::Done)),
    });
    let running = run(&store, told.clone(), &clock, Config::default());
    for n in 0..200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        emit(&store, &event(format!("quick-{n}"), "quick", clock.now())).await.unwrap();
        emit(&store, &event(format!("more-{n}"), "slow", clock.now())).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let at: Vec<u64> = (0..200).flat_map(|n| told.times(&format!("quick-{n}"))).collect();
    assert_eq!(at, (1..=200).map(|n| n * 100).collect::<Vec<_>>());
    let scanned = engine.scanned.load(Ordering::Relaxed);
    assert!(scanned < 2000, "read {scanned} items");
    assert_eq!(running.delivery.status().await.unwrap().in_flight, Config::default().per_target_in_flight_max);
    running.task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_delays_settling_and_delivers_no_second_time() {
    for faults in [
        Faults { commit_lost: 1000, ..Faults::default() },
        Faults { commit_unknown: 1000, ..Faults::default() },
        Faults { full: 1000, ..Faults::default() },
        Faults { full: 1000, read: 1000, ..Faults::default() },
    ] {
        let clock = RunningClock::at(Timestamp(START));
        let flaky = Arc::new(Flaky::new(Arc::new(Memory::default()), clock.clone(), 1, Faults::default()));
        let store = Store::new(flaky.clone());
        let told = Told::new(&clock, |_, _| (Duration::from_millis(10), Some(Verdict::Done)));
        for n in 0..50 {
            emit(&store, &event(n, "a", clock.now())).await.unwrap();
        }
        let running = run(&store, told.clone(), &clock, Config::default());
        tokio::time::sleep(Duration::from_millis(5)).await;
        flaky.set(faults);
        tokio::time::sleep(Duration::from_secs(60)).await;
        flaky.set(Faults::default());
        until_empty(&store, Duration::from_secs(20)).await;
        assert!((0..50).all(|n| told.times(&n.to_string()).len() == 1), "{faults:?}");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_what_is_under_way_and_starts_no_more() {
    let (store, clock) = (memory(), RunningClock::at(Timestamp(START)));
    let told = Told::new(&clock, |e, _| match e.id.as_str() {
        "hangs" => (100 * HOUR, Some(Verdict::Done)),
        _ => (Duration::from_secs(2), Some(Verdict::Done)),
    });
    let running = run(&store, told.clone(), &clock, Config { per_target_in_flight_max: 1, ..Config::default() });
    for (id, target) in [("1", "a"), ("2", "a"), ("hangs", "b")] {
        emit(&store, &event(id, target, clock.now())).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stopping = clock.elapsed();
    running.stop().await;
    assert_eq!(clock.elapsed() - stopping, Config::default().drain_max);
    assert_eq!(*told.done.lock(), ["1"]);
    let left = outbox::waiting(&store, None, 10).await.unwrap();
    assert_eq!(left.iter().map(|w| (w.event.id.as_str(), w.attempts)).collect::<Vec<_>>(), [("2", 0), ("hangs", 0)]);
    // A start tries them again.
    let told = Told::new(&clock, |_, _| (NOW, Some(Verdict::Done)));
    let running = run(&store, told.clone(), &clock, Config::default());
    until_empty(&store, Duration::from_secs(1)).await;
    assert_eq!(told.done.lock().len(), 2);
    running.stop().await;
}
