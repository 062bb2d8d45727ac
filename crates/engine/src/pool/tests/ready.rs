//! What is kept ready: spares, and what the keep-alive policy plans.

use super::*;
use crate::Provisioned;
use crate::keep::{Costs, History, KeepAlive, Plan, Window};

async fn settle() {
    tokio::time::sleep(SPARE_LATER + Duration::from_millis(10)).await;
}

fn spares_of(pools: &Pools<Arc<Counter>>, version: &Version) -> usize {
    pools.state.lock().pools.get(&Key::of(version)).map_or(0, |pool| pool.spares.len())
}

#[tokio::test(start_paused = true)]
async fn a_spare_is_taken_and_replaced() {
    let (pools, counter) = pools(10);
    counter.spares.store(1, Ordering::SeqCst);
    let f = Arc::new(version("f"));
    let first = pools.acquire(&f).await.expect("made");
    assert!(!first.set_aside, "it was made for its caller");
    settle().await;
    assert_eq!(spares_of(&pools, &f), 1);
    let second = pools.acquire(&f).await.expect("the spare");
    assert!(second.set_aside);
    settle().await;
    assert_eq!((spares_of(&pools, &f), counter.made.load(Ordering::SeqCst)), (1, 3));
    first.give_back();
    assert_eq!(pools.acquire(&f).await.expect("idle").number, 1, "one that has run before one that has not");
}

#[tokio::test(start_paused = true)]
async fn spares_take_no_room_from_calls() {
    let (pools, counter) = pools(2);
    counter.spares.store(1, Ordering::SeqCst);
    let [f, g] = ["f", "g"].map(|name| Arc::new(version(name)));
    let _running = pools.acquire(&f).await.expect("made");
    settle().await;
    assert_eq!(spares_of(&pools, &f), 1);
    let _other = pools.acquire(&g).await.expect("in the spare's place");
    settle().await;
    assert_eq!((spares_of(&pools, &f), spares_of(&pools, &g), pools.live()), (0, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_spare_that_cannot_be_made_is_not_tried_all_the_time() {
    let (pools, counter) = pools(10);
    counter.spares.store(1, Ordering::SeqCst);
    let f = Arc::new(version("f"));
    let _first = pools.acquire(&f).await.expect("made");
    counter.stillborn.store(true, Ordering::SeqCst);
    settle().await;
    let _second = pools.acquire(&f).await.expect("the spare");
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        pools.sweep();
    }
    let made = counter.made.load(Ordering::SeqCst);
    assert!((4..=6).contains(&made), "{made}");
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_ends_when_the_plan_says() {
    let (pools, counter) = pools(10);
    counter.spares.store(1, Ordering::SeqCst);
    let f = Arc::new(version("f"));
    pools.acquire(&f).await.expect("made").give_back();
    settle().await;
    pools.sweep();
    assert_eq!(pools.live(), 2);
    tokio::time::sleep(Duration::from_secs(59)).await;
    pools.sweep();
    assert_eq!((pools.live(), counter.let_go.load(Ordering::SeqCst)), (2, 0));
    tokio::time::sleep(Duration::from_secs(2)).await;
    pools.sweep();
    assert_eq!((pools.live(), counter.let_go.load(Ordering::SeqCst)), (0, 1));
    pools.sweep();
    assert_eq!(counter.let_go.load(Ordering::SeqCst), 1, "a template is let go of once");
    assert_eq!(counter.made.load(Ordering::SeqCst), 2);
}

/// Lets go at once, and has one ready from 100 to 200 seconds after the last call.
struct Late;

impl KeepAlive for Late {
    fn plan(&self, _: &History, _: &Costs) -> Plan {
        let window = Window { from: Duration::from_secs(100), until: Duration::from_secs(200) };
        Plan { instances: Duration::ZERO, spares: window, template: window }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_made_again_in_time() {
    let counter = Arc::<Counter>::default();
    let bounds = Bounds { places_max: 10, raising_max: 8 };
    let pools = Pools::new(counter.clone(), bounds, Arc::new(Late), Free::unbounded(), RunningClock::real());
    let f = Arc::new(version("f"));
    pools.acquire(&f).await.expect("made").give_back();
    let mut live = Vec::new();
    for _ in 0..25 {
        settle().await;
        pools.sweep();
        settle().await;
        live.push(pools.live());
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let want = [vec![0; 10], vec![1; 10], vec![0; 5]].concat();
    assert_eq!((live, counter.made.load(Ordering::SeqCst)), (want, 2));
    pools.retire(&f.arn.to_string(), "$LATEST", None);
    assert!(pools.state.lock().tracks.is_empty() && pools.state.lock().pools.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_new_revision_inherits_what_is_known_and_the_old_one_is_not_made_again() {
    let counter = Arc::<Counter>::default();
    let bounds = Bounds { places_max: 10, raising_max: 8 };
    let pools = Pools::new(counter.clone(), bounds, Arc::new(Late), Free::unbounded(), RunningClock::real());
    let old = Arc::new(version("f"));
    let new = Arc::new(Version { revision: "r2".into(), ..version("f") });
    pools.acquire(&old).await.expect("made").give_back();
    pools.retire(&old.arn.to_string(), "$LATEST", Some("r2"));
    tokio::time::sleep(Duration::from_secs(150)).await;
    pools.sweep();
    settle().await;
    assert_eq!(pools.live(), 0);
    pools.acquire(&new).await.expect("made").give_back();
    tokio::time::sleep(Duration::from_secs(150)).await;
    pools.sweep();
    settle().await;
    assert_eq!(pools.live(), 1);
    assert_eq!(pools.state.lock().tracks.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn provisioned_instances_are_there_before_calls_and_after_deaths() {
    let (pools, counter) = pools(10);
    let f = Arc::new(version("f"));
    let arn = f.arn.to_string();
    pools.provision(&arn, vec![(f.clone(), 2)]);
    settle().await;
    let ready = Provisioned { allocated: 2, idle: 2, failing: false };
    assert_eq!(pools.provisioned(&arn, "$LATEST"), ready);
    let (first, second) = (pools.acquire(&f).await.expect("one"), pools.acquire(&f).await.expect("two"));
    assert!(first.set_aside && second.set_aside);
    assert_eq!(pools.provisioned(&arn, "$LATEST"), Provisioned { idle: 0, ..ready });
    let third = pools.acquire(&f).await.expect("beyond");
    assert!(!third.set_aside);
    third.give_back();
    second.give_back();
    drop(first);
    settle().await;
    assert_eq!((pools.provisioned(&arn, "$LATEST"), counter.made.load(Ordering::SeqCst)), (ready, 4));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    pools.sweep();
    assert_eq!(pools.live(), 2, "idle time does not end them");
    pools.provision(&arn, vec![(f.clone(), 1)]);
    assert_eq!(pools.live(), 1);
    pools.provision(&arn, Vec::new());
    assert!(pools.live() == 0 && pools.state.lock().pools.is_empty());
}

#[tokio::test(start_paused = true)]
async fn provisioned_instances_that_fail_are_tried_again_at_a_distance() {
    let (pools, counter) = pools(10);
    counter.failing.store(true, Ordering::SeqCst);
    let f = Arc::new(version("f"));
    let arn = f.arn.to_string();
    pools.provision(&arn, vec![(f.clone(), 1)]);
    for _ in 0..120 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        pools.sweep();
    }
    let state = pools.provisioned(&arn, "$LATEST");
    assert_eq!(state, Provisioned { allocated: 0, idle: 0, failing: true });
    counter.failing.store(false, Ordering::SeqCst);
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        pools.sweep();
    }
    assert_eq!(pools.provisioned(&arn, "$LATEST"), Provisioned { allocated: 1, idle: 1, failing: false });
}
