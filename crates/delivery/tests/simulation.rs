//! Whole lives under seeds: storage that fails and lies, targets that are slow, fail and panic, clocks that jump, nodes that
//! go down at any moment, within any call of storage too. No acknowledged event is lost, what keeps an order keeps it, and
//! an event that was taken is taken again only if the node went down before that was written.

mod world;

use base::port::Clock;
use base::{Event, Terms, Timestamp, Verdict};
use delivery::Config;
use kit::{RunningClock, Seeded, seeds};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use store::flaky::{Faults, Flaky};
use store::memory::Memory;
use store::{Store, outbox, trail};
use world::{Running, START, Told, emit, event, run, until_empty_every};

/// What every run of the tests lives through.
const SEEDS: Range<u64> = 0..8_000;
/// Seeds that have found something once.
const FOUND: [u64; 0] = [];
const LIVES: u64 = 3;
const EVENTS_MAX: u64 = 8;
const TARGETS: u64 = 3;
const ORDERS: u64 = 3;
/// Engine calls after which a node may go down.
const CALLS_MAX: u64 = 120;
const JUMP_MAX_MS: u64 = 60_000;
/// Far enough from the tests' beginning of time for every jump back.
const BEGIN: u64 = START + 3_600_000;
/// What an event's id ends with that follows from another.
const NEXT: &str = "-next";

/// A target's mood for one attempt.
fn mood(random: &Seeded, event: &Event) -> (Duration, Option<Verdict>) {
    let after = Duration::from_millis(random.below(200));
    match random.below(100) {
        0..15 if !event.id.ends_with(NEXT) => {
            let next = Event { id: format!("{}{NEXT}", event.id), terms: Terms::default(), ..event.clone() };
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

struct World {
    seed: u64,
    random: Seeded,
    disk: Arc<Memory>,
    clock: Arc<RunningClock>,
    told: Arc<Told>,
    /// Targets do all they are asked.
    well: Arc<Mutex<bool>>,
    acknowledged: HashSet<String>,
    /// When the latest event of each order was made.
    latest: HashMap<u64, u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let (clock, well) = (RunningClock::at(Timestamp(BEGIN)), Arc::new(Mutex::new(false)));
        let moods = Seeded::new(seed ^ 0xabcd);
        let told = Told::new(&clock, {
            let well = well.clone();
            move |event, _| if *well.lock() { (Duration::ZERO, Some(Verdict::Done)) } else { mood(&moods, event) }
        });
        let (random, disk) = (Seeded::new(seed), Arc::new(Memory::default()));
        let (acknowledged, latest) = Default::default();
        Self { seed, random, disk, clock, told, well, acknowledged, latest }
    }

    fn delivery(&self, store: &Store) -> Running {
        let config = Config { in_flight_max: 6, per_target_in_flight_max: 3, ..Config::default() };
        run(store, self.told.clone(), &self.clock, config)
    }

    /// A node from its start to its sudden end.
    async fn live(&mut self, life: u64) {
        let faults = faults(&self.random);
        let flaky = Arc::new(Flaky::new(self.disk.clone(), self.clock.clone(), self.seed * 100 + life, faults));
        if self.random.below(2) == 0 {
            flaky.go_down_after(self.random.below(CALLS_MAX));
        }
        let (store, before) = (Store::new(flaky.clone()), self.told.done.lock().len());
        let running = self.delivery(&store);
        tokio::select! {
            () = self.publish(&store, life) => {}
            () = flaky.down() => {}
        }
        running.task.abort();
        let _ = running.task.await;
        let mut taken = HashSet::new();
        for id in &self.told.done.lock()[before..] {
            assert!(taken.insert(id.clone()), "{id} was taken twice by one node");
        }
    }

    async fn publish(&mut self, store: &Store, life: u64) {
        for n in 0..self.random.below(EVENTS_MAX) {
            let event = self.event(&format!("{life}-{n}"));
            if emit(store, &event).await.is_ok() {
                self.acknowledged.insert(event.id);
            }
            tokio::time::sleep(Duration::from_millis(self.random.below(100))).await;
            if self.random.below(8) == 0 {
                self.clock.jump(self.random.below(2 * JUMP_MAX_MS) as i64 - JUMP_MAX_MS as i64);
            }
        }
        tokio::time::sleep(Duration::from_millis(self.random.below(5000))).await;
    }

    fn event(&mut self, id: &str) -> Event {
        // Clocks of committers differ a little from ours, either way.
        let created = self.clock.now().0 + self.random.below(100) - 50;
        let target = format!("f{}", self.random.below(TARGETS));
        let order = self.random.below(2 * ORDERS);
        if order >= ORDERS {
            return event(id, &target, Timestamp(created));
        }
        let latest = self.latest.entry(order).or_default();
        *latest = created.max(*latest + 1);
        let terms = Terms { order: Some(order.to_string()), ..Terms::default() };
        Event { terms, ..event(id, &format!("f{}", order % TARGETS), Timestamp(*latest)) }
    }

    /// Everything is well, and all is delivered that waits.
    async fn heal(&self) -> HashSet<String> {
        *self.well.lock() = true;
        let store = Store::new(self.disk.clone());
        let running = self.delivery(&store);
        until_empty_every(&store, Duration::from_secs(3600), Duration::from_secs(5)).await;
        running.stop().await;
        let dead = outbox::dead(&store, None, 10_000).await.expect("memory does not fail");
        // What the trail says followed from an event has come out of it.
        let dead: HashSet<String> = dead.into_iter().map(|d| d.event.id).collect();
        let done: HashSet<String> = self.told.done.lock().iter().cloned().collect();
        for way in trail::latest(&store, None, 100_000).await.expect("memory does not fail") {
            let next = format!("{}{NEXT}", way.id);
            assert!(way.then.is_empty() || done.contains(&next) || dead.contains(&next), "{next} was lost");
        }
        for id in &self.acknowledged {
            assert!(done.contains(id) || dead.contains(id), "{id} was lost");
            assert!(!self.told.times(id).is_empty(), "{id} was never tried");
        }
        dead
    }

    /// What is to keep an order was tried in it, one after the other.
    fn check_orders(&self) {
        let mut last: HashMap<String, (Timestamp, String)> = HashMap::new();
        for event in self.told.given.lock().iter() {
            let Some(order) = &event.terms.order else { continue };
            let place = (event.created, event.id.clone());
            if let Some(before) = last.insert(order.clone(), place.clone()) {
                assert!(before <= place, "{} was tried after {}", place.1, before.1);
            }
        }
    }
}

/// One seed; gives how many events it acknowledged, buried, and attempted.
async fn live(seed: u64) -> [usize; 3] {
    let mut world = World::new(seed);
    for life in 0..LIVES {
        world.live(life).await;
    }
    let dead = world.heal().await;
    world.check_orders();
    [world.acknowledged.len(), dead.len(), world.told.given.lock().len()]
}

fn lives(seeds: Range<u64>) {
    let count = (seeds.end - seeds.start) as usize;
    let all = seeds::each(FOUND.into_iter().chain(seeds), live);
    let sum = |at: usize| all.iter().map(|one| one[at]).sum::<usize>();
    let (acknowledged, dead, attempts) = (sum(0), sum(1), sum(2));
    println!("{count} seeds: {acknowledged} events acknowledged, {dead} dead, {attempts} attempts");
    // The moods were bad enough to mean something.
    assert!(acknowledged > 3 * count && dead > count / 10 && attempts > acknowledged);
}

#[test]
fn no_acknowledged_event_is_lost() {
    lives(SEEDS);
}

#[test]
#[ignore = "it takes minutes"]
fn many_lives() {
    lives(0..20_000);
}
