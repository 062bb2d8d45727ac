//! Whole lives under a seed: stores that fail, targets that fail, crashes at any moment. No acknowledged event is lost.

mod world;

use base::port::Clock;
use base::{Event, Timestamp, Verdict};
use delivery::Config;
use kit::{RunningClock, Seeded};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use store::flaky::{Faults, Flaky};
use store::memory::Memory;
use store::{Store, outbox, trail};
use world::{START, Told, emit, event, run, until_empty};

const SEEDS: u64 = 40;
const LIVES: u64 = 6;
/// What an event's id ends with that follows from another.
const NEXT: &str = "-next";

/// A target's mood for one attempt; well, once `healed`.
fn mood(random: &Seeded, event: &Event) -> (Duration, Option<Verdict>) {
    let after = Duration::from_millis(random.below(200));
    match random.below(100) {
        0..15 if !event.id.ends_with(NEXT) => {
            let next = Event { id: format!("{}{NEXT}", event.id), ..event.clone() };
            (after, Some(Verdict::Over { failure: None, then: vec![next] }))
        }
        0..50 => (after, Some(Verdict::Done)),
        50..85 => {
            let pause = Duration::from_millis(random.below(3000));
            (after, Some(Verdict::Retry { after: pause, reason: "busy".into() }))
        }
        85..92 => (after, Some(Verdict::Dead { reason: "refused".into() })),
        92..94 => (after, None),
        _ => (Duration::from_secs(1 + random.below(600)), Some(Verdict::Done)),
    }
}

fn faults(random: &Seeded) -> Faults {
    Faults {
        read: random.below(150) as u32,
        commit_lost: random.below(150) as u32,
        commit_unknown: random.below(150) as u32,
        full: random.below(100) as u32,
        delay_max: Duration::from_millis(random.below(30)),
    }
}

/// One seed; gives how many events it acknowledged, buried, and attempted.
async fn live(seed: u64) -> (usize, usize, usize) {
    let random = Seeded::new(seed);
    let (disk, clock) = (Arc::new(Memory::default()), RunningClock::at(Timestamp(START)));
    let moods = Arc::new(Mutex::new((Seeded::new(seed ^ 0xabcd), false)));
    let told = Told::new(&clock, {
        let moods = moods.clone();
        move |event, _| match &mut *moods.lock() {
            (_, true) => (Duration::ZERO, Some(Verdict::Done)),
            (random, false) => mood(random, event),
        }
    });
    let config = Config { in_flight_max: 12, per_target_in_flight_max: 5, ..Config::default() };
    let mut acknowledged = HashSet::new();
    for life in 0..LIVES {
        let flaky = Flaky::new(disk.clone(), clock.clone(), seed * 100 + life, faults(&random));
        let store = Store::new(Arc::new(flaky));
        let running = run(&store, told.clone(), &clock, config);
        for n in 0..random.below(30) {
            let id = format!("{life}-{n}");
            // Clocks of committers differ a little from ours, either way.
            let created = Timestamp(clock.now().0 + random.below(100) - 50);
            if emit(&store, &event(&id, &format!("f{}", random.below(5)), created)).await.is_ok() {
                acknowledged.insert(id);
            }
            tokio::time::sleep(Duration::from_millis(random.below(100))).await;
        }
        tokio::time::sleep(Duration::from_millis(random.below(5000))).await;
        running.task.abort();
        let _ = running.task.await;
    }
    moods.lock().1 = true;
    let store = Store::new(disk);
    let running = run(&store, told.clone(), &clock, config);
    until_empty(&store, Duration::from_secs(3600)).await;
    running.stop().await;
    let done: HashSet<String> = told.done.lock().iter().cloned().collect();
    let dead = outbox::dead(&store, None, 10_000).await.expect("memory does not fail");
    let dead: HashSet<String> = dead.into_iter().map(|d| d.event.id).collect();
    for id in &acknowledged {
        assert!(done.contains(id) || dead.contains(id), "seed {seed}: {id} was lost");
        assert!(!told.times(id).is_empty(), "seed {seed}: {id} was never tried");
    }
    // What the trail says followed from an event has come out of it.
    let over = trail::latest(&store, None, 100_000).await.expect("memory does not fail");
    for way in over.iter().filter(|way| !way.then.is_empty()) {
        let next = format!("{}{NEXT}", way.id);
        assert!(done.contains(&next) || dead.contains(&next), "seed {seed}: what followed {} was lost", way.id);
    }
    let attempts = told.attempts.lock().values().map(Vec::len).sum();
    (acknowledged.len(), dead.len(), attempts)
}

#[tokio::test(start_paused = true)]
async fn no_acknowledged_event_is_lost() {
    let (mut acknowledged, mut dead, mut attempts) = (0, 0, 0);
    for seed in 0..SEEDS {
        let (a, d, t) = live(seed).await;
        (acknowledged, dead, attempts) = (acknowledged + a, dead + d, attempts + t);
    }
    // The moods were bad enough to mean something.
    assert!(acknowledged > 1000 && dead > 20 && attempts > acknowledged, "{acknowledged} {dead} {attempts}");
}
