//! Whole lives of a queue under seeds: storage that fails and lies, nodes that go down between calls and within any call of
//! storage, clients that give up, clocks that jump. What was acknowledged is never lost, what was deleted is never seen
//! again, nothing is given out while it is invisible, and groups keep their order.

use super::*;
use kit::seeds;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use store::flaky::{Faults, Flaky};

/// What every run of the tests lives through, for each kind of queue.
const SEEDS: Range<u64> = 0..2_400;
const MANY: Range<u64> = 0..10_000;
/// Seeds that have found something once. 42: after the clock was put back and a start two messages got the same place.
const FOUND: [u64; 1] = [42];
const STEPS: usize = 60;
const VISIBILITY: u64 = 30;
const GROUPS: u64 = 3;
/// Engine calls after which a node goes down.
const CALLS_MAX: u64 = 400;
const JUMP_MAX_MS: u64 = 20_000;

/// What the clients know.
#[derive(Default)]
struct Known {
    /// Acknowledged, by number; and those whose sending failed, which may be there or not.
    sent: BTreeSet<u64>,
    maybe: BTreeSet<u64>,
    deleted: BTreeSet<u64>,
    /// A deletion that failed: it may be there or not.
    maybe_deleted: BTreeSet<u64>,
    /// Received, by number: until when it must not be seen again, and the message.
    received: BTreeMap<u64, (u64, Value)>,
    next: u64,
}

struct World {
    engine: Arc<Memory>,
    flaky: Arc<Flaky>,
    clock: Arc<ManualClock>,
    s: Setting,
    random: Seeded,
    known: Known,
    fifo: bool,
    /// How often a node went down within a call.
    downs: usize,
}

const FAULTS: Faults = Faults { read: 30, commit_lost: 60, commit_unknown: 60, full: 30, delay_max: Duration::ZERO };

impl World {
    async fn new(seed: u64, fifo: bool) -> Self {
        let (engine, clock) = (Arc::new(Memory::default()), ManualClock::at(Timestamp(NOW)));
        let flaky = Arc::new(Flaky::new(engine.clone(), clock.clone(), seed, Faults::default()));
        let s = on(flaky.clone(), clock.clone(), seed);
        let visibility = VISIBILITY.to_string();
        match fifo {
            true => s.create("q.fifo", json!({"FifoQueue": "true", "VisibilityTimeout": visibility})).await,
            false => s.create("q", json!({"VisibilityTimeout": visibility})).await,
        };
        flaky.set(FAULTS);
        let mut world =
            Self { engine, flaky, clock, s, random: Seeded::new(seed), known: Known::default(), fifo, downs: 0 };
        world.doom();
        world
    }

    /// Sometimes the node will go down within a call.
    fn doom(&mut self) {
        if self.random.below(3) > 0 {
            self.flaky.go_down_after(self.random.below(CALLS_MAX));
        }
    }

    /// Asks the node. If it goes down meanwhile nobody knows what became of that, and another comes.
    async fn call(&mut self, operation: &str, input: Value) -> Result<Value, Fault> {
        let answer = tokio::select! {
            answer = self.s.call(operation, input) => Some(answer),
            () = self.flaky.down() => None,
        };
        match answer {
            Some(answer) => answer,
            None => {
                self.downs += 1;
                self.crash();
                Err(Fault::new("Down", 503, "the connection was closed"))
            }
        }
    }

    fn name(&self) -> &'static str {
        if self.fifo { "q.fifo" } else { "q" }
    }

    fn now(&self) -> u64 {
        self.clock.now().millis()
    }

    async fn step(&mut self) {
        match self.random.below(100) {
            0..40 => self.send().await,
            40..70 => self.receive(10).await,
            70..88 => self.delete().await,
            88..92 => self.show().await,
            92..97 => {
                let ms = self.random.below(VISIBILITY * 700);
                self.clock.advance(Duration::from_millis(ms));
            }
            97 => self.crash(),
            98 => self.jump(),
            _ => tokio::select! {
                swept = self.s.queues.sweep() => drop(swept),
                () = self.flaky.down() => self.crash(),
            },
        }
    }

    async fn send(&mut self) {
        let n = self.known.next;
        let entries = 1 + self.random.below(3);
        self.known.next += entries;
        let entry = |n: u64| {
            let mut entry = json!({"Id": n.to_string(), "MessageBody": n.to_string()});
            // A standard queue has tenants, and messages that have none.
            if self.fifo || n % 4 > 0 {
                entry["MessageGroupId"] = (n % GROUPS).to_string().into();
            }
            if self.fifo {
                entry["MessageDeduplicationId"] = n.to_string().into();
            }
            entry
        };
        let all: Vec<Value> = (n..n + entries).map(entry).collect();
        let sent = self.call("SendMessageBatch", json!({"QueueUrl": url(self.name()), "Entries": all})).await;
        match sent {
            Ok(_) => self.known.sent.extend(n..n + entries),
            Err(_) => self.known.maybe.extend(n..n + entries),
        }
    }

    async fn receive(&mut self, max: u64) {
        let max = 1 + self.random.below(max);
        let began = self.now();
        let input = json!({"QueueUrl": url(self.name()), "MaxNumberOfMessages": max});
        let Ok(got) = self.call("ReceiveMessage", input).await else {
            // What was visible may have been received, and nobody was told under which handle.
            self.known.received.retain(|_, (until, _)| *until > began);
            return;
        };
        let mut order: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for message in got["Messages"].as_array().into_iter().flatten() {
            let n: u64 = text(&message["Body"]).parse().expect("a number");
            assert!(self.known.sent.contains(&n) || self.known.maybe.contains(&n), "{n} was never sent");
            assert!(!self.known.deleted.contains(&n), "{n} is seen after its deletion");
            if let Some((until, _)) = self.known.received.get(&n) {
                assert!(began >= *until, "{n} is seen {} ms too early", until - began);
            }
            self.known.maybe_deleted.remove(&n);
            self.known.received.insert(n, (began + VISIBILITY * 1000, message.clone()));
            order.entry(n % GROUPS).or_default().push(n);
        }
        if self.fifo {
            order.into_iter().for_each(|(group, got)| self.check_order(group, &got));
        }
    }

    /// What a group gives out is the first of what it still has.
    fn check_order(&self, group: u64, got: &[u64]) {
        assert!(got.is_sorted(), "{got:?}");
        let there = self.known.sent.iter().filter(|n| **n % GROUPS == group && !self.known.deleted.contains(n));
        let last = got[got.len() - 1];
        for n in there.take_while(|n| **n < last) {
            let excused = got.contains(n) || self.known.maybe_deleted.contains(n);
            assert!(excused, "{last} of group {group} overtakes {n}");
        }
        let now = self.now();
        for (n, (until, _)) in self.known.received.iter().filter(|(n, _)| **n % GROUPS == group && !got.contains(n)) {
            assert!(*until <= now || self.known.maybe_deleted.contains(n), "group {group} is blocked by {n}");
        }
    }

    fn any_received(&mut self) -> Option<(u64, Value)> {
        let at = self.random.below(self.known.received.len().max(1) as u64) as usize;
        self.known.received.iter().nth(at).map(|(n, (_, message))| (*n, message.clone()))
    }

    async fn delete(&mut self) {
        let Some((n, message)) = self.any_received() else { return };
        let input = json!({"QueueUrl": url(self.name()), "ReceiptHandle": message["ReceiptHandle"]});
        match self.call("DeleteMessage", input).await {
            Ok(_) => {
                self.known.received.remove(&n);
                self.known.deleted.insert(n);
                self.known.maybe_deleted.remove(&n);
            }
            // Its handle has expired.
            Err(fault) if fault.code == "InvalidParameterValue" => {}
            Err(_) => drop(self.known.maybe_deleted.insert(n)),
        }
    }

    async fn show(&mut self) {
        let Some((n, message)) = self.any_received() else { return };
        let seconds = self.random.below(20);
        let input = json!({
            "QueueUrl": url(self.name()), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": seconds,
        });
        let now = self.now();
        let shown = self.call("ChangeMessageVisibility", input).await;
        let Some((until, _)) = self.known.received.get_mut(&n) else { return };
        match shown {
            Ok(_) => *until = now + seconds * 1000,
            // It may have been done.
            Err(fault) if fault.status >= 500 => *until = (now + seconds * 1000).min(*until),
            Err(_) => {}
        }
    }

    /// The node is gone with all it held in memory; another comes.
    fn crash(&mut self) {
        let seed = self.random.below(u64::MAX);
        self.flaky = Arc::new(Flaky::new(self.engine.clone(), self.clock.clone(), seed, FAULTS));
        self.s = on(self.flaky.clone(), self.clock.clone(), seed);
        self.doom();
    }

    /// The clock is put back: no time passes, and what was visible already may be seen.
    fn jump(&mut self) {
        let (now, back) = (self.now(), self.random.below(JUMP_MAX_MS));
        self.known.received.values_mut().filter(|(until, _)| *until <= now).for_each(|(until, _)| *until = 0);
        self.clock.set(Timestamp(now - back));
    }

    /// Storage heals and everything is received: all that was acknowledged and not deleted is there.
    async fn drain(&mut self) {
        if self.random.below(2) == 0 {
            self.crash();
        }
        self.flaky.set(Faults::default());
        self.flaky.go_down_after(u64::MAX);
        self.clock.advance(Duration::from_secs(VISIBILITY + 1));
        let mut idle = 0;
        while idle < 3 {
            let before = self.known.deleted.len();
            self.receive(10).await;
            while let Some((n, _)) = self.known.received.iter().find(|(_, (until, _))| *until > self.now()) {
                let (n, message) = (*n, self.known.received[n].1.clone());
                self.s.delete(self.name(), &message).await;
                self.known.received.remove(&n);
                self.known.deleted.insert(n);
            }
            if self.known.deleted.len() == before {
                idle += 1;
                self.clock.advance(Duration::from_secs(VISIBILITY + 1));
            }
        }
        let lost: Vec<_> = self.known.sent.difference(&self.known.deleted).collect();
        let lost: Vec<_> = lost.into_iter().filter(|n| !self.known.maybe_deleted.contains(n)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        assert_eq!(self.s.counts(self.name()).await, (0, 0, 0));
    }
}

/// One seed; gives how many messages were acknowledged and deleted, and how often a node went down within a call.
async fn live(seed: u64, fifo: bool) -> [usize; 3] {
    let mut world = World::new(seed, fifo).await;
    for _ in 0..STEPS {
        world.step().await;
    }
    world.drain().await;
    [world.known.sent.len(), world.known.deleted.len(), world.downs]
}

fn lives(fifo: bool, seeds: Range<u64>) {
    let count = (seeds.end - seeds.start) as usize;
    let all = seeds::each(FOUND.into_iter().chain(seeds), |seed| live(seed, fifo));
    let sum = |at: usize| all.iter().map(|one| one[at]).sum::<usize>();
    println!(
        "{count} seeds: {} messages acknowledged, {} deleted, {} nodes down within a call",
        sum(0),
        sum(1),
        sum(2)
    );
    assert!(sum(0) > 10 * count && sum(1) > 10 * count && sum(2) > count / 10);
}

#[test]
fn standard_queues() {
    lives(false, SEEDS);
}

#[test]
fn fifo_queues() {
    lives(true, SEEDS);
}

#[test]
#[ignore = "it takes minutes"]
fn many_standard_queues() {
    lives(false, MANY);
}

#[test]
#[ignore = "it takes minutes"]
fn many_fifo_queues() {
    lives(true, MANY);
}
