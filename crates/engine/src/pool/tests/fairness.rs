//! One machine, several functions: what a flood of one does to another's calls.

use super::*;

/// Floods a function with `callers` that call again and again, each run taking `run_ms`, until told to stop.
fn flood(made: &Made, name: &str, callers: usize, run_ms: u64, stop: &Arc<AtomicBool>) {
    let version = Arc::new(version(name));
    for _ in 0..callers {
        let (pools, version, stop) = (made.0.clone(), version.clone(), stop.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                if let Ok(lease) = pools.acquire(&version).await {
                    tokio::time::sleep(Duration::from_millis(run_ms)).await;
                    lease.give_back();
                }
            }
        });
    }
}

/// Calls a function one after the other, `run_ms` each and `pause_ms` between; the waits in milliseconds, sorted.
async fn waits(pools: &Arc<Pools<Arc<Counter>>>, name: &str, calls: usize, run_ms: u64, pause_ms: u64) -> Vec<u64> {
    let version = Arc::new(version(name));
    let mut waits = Vec::new();
    for _ in 0..calls {
        let began = tokio::time::Instant::now();
        let lease = pools.acquire(&version).await.expect("is served");
        waits.push(began.elapsed().as_millis() as u64);
        tokio::time::sleep(Duration::from_millis(run_ms)).await;
        lease.give_back();
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
    waits.sort_unstable();
    waits
}

#[tokio::test(start_paused = true)]
async fn a_flood_on_a_full_machine_leaves_others_their_share() {
    let made = pools(4);
    made.1.takes_ms.store(5, Ordering::SeqCst);
    let stop = Arc::<AtomicBool>::default();
    flood(&made, "hot", 200, 20, &stop);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(made.0.live(), 4, "the flood has the machine");
    let calm = waits(&made.0, "calm", 50, 20, 100).await;
    // Alone it waits 5 ms for a new instance; among the flood, also for the end of one run and again after each pause.
    assert!(calm[25] <= 15 && calm[49] <= 30, "{calm:?}");
    stop.store(true, Ordering::SeqCst);
}

#[tokio::test(start_paused = true)]
async fn two_floods_share_the_places_evenly() {
    let made = pools(10);
    made.1.takes_ms.store(5, Ordering::SeqCst);
    let stop = Arc::<AtomicBool>::default();
    flood(&made, "early", 100, 20, &stop);
    tokio::time::sleep(Duration::from_secs(1)).await;
    flood(&made, "late", 100, 20, &stop);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let held = |name: &str| made.0.state.lock().pools[&Key::of(&version(name))].held();
    assert_eq!((held("early"), held("late")), (5, 5));
    let before = made.1.made.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(made.1.made.load(Ordering::SeqCst), before, "once even, nothing is ended to be made again");
    stop.store(true, Ordering::SeqCst);
}

#[tokio::test(start_paused = true)]
async fn more_functions_than_places_take_turns() {
    let made = pools(2);
    made.1.takes_ms.store(5, Ordering::SeqCst);
    let stop = Arc::<AtomicBool>::default();
    for name in ["a", "b", "c"] {
        flood(&made, name, 20, 10, &stop);
    }
    let calm = waits(&made.0, "d", 10, 10, 300).await;
    assert!(calm[9] < 500, "{calm:?}");
    stop.store(true, Ordering::SeqCst);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_raised_a_few_at_once() {
    let (pools, counter, _) = with(2000, 8);
    counter.takes_ms.store(5, Ordering::SeqCst);
    let f = Arc::new(version("f"));
    let began = tokio::time::Instant::now();
    let all = futures::future::join_all((0..1000).map(|_| pools.acquire(&f))).await;
    assert_eq!(all.iter().filter(|lease| lease.is_ok()).count(), 1000);
    assert_eq!(counter.making_max.load(Ordering::SeqCst), 8);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_one_function_does_not_hold_up_anothers_start() {
    let (pools, counter, _) = with(2000, 8);
    counter.takes_ms.store(100, Ordering::SeqCst);
    let hot = Arc::new(version("hot"));
    let burst = tokio::spawn({
        let pools = pools.clone();
        async move { futures::future::join_all((0..200).map(|_| pools.acquire(&hot))).await.len() }
    });
    tokio::time::sleep(Duration::from_millis(250)).await;
    let calm = waits(&pools, "calm", 1, 1, 1).await;
    assert!(calm[0] <= 200, "{calm:?}: the next slot and its own start");
    assert_eq!(burst.await.expect("joins"), 200);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_waits_for_long_does_not_keep_others_from_starting() {
    let (pools, counter, _) = with(100, 2);
    counter.slow.store(true, Ordering::SeqCst);
    let stuck = Arc::new(version("stuck"));
    for _ in 0..2 {
        let (pools, stuck) = (pools.clone(), stuck.clone());
        tokio::spawn(async move { pools.acquire(&stuck).await.map(drop) });
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    counter.slow.store(false, Ordering::SeqCst);
    let calm = waits(&pools, "calm", 1, 1, 1).await;
    assert!(calm[0] <= 1_000, "{calm:?}");
}

#[tokio::test(start_paused = true)]
async fn scarce_memory_ends_the_idle_before_it_refuses() {
    let (pools, _, free) = with(100, 8);
    let [a, b, c] = ["a", "b", "c"].map(|name| Arc::new(version(name)));
    for version in [&a, &b] {
        pools.acquire(version).await.expect("made").give_back();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    free.set(INSTANCE_BYTES / 2);
    let lease = pools.acquire(&c).await.expect("the longest idle made room");
    let names: Vec<String> = pools.state.lock().pools.keys().map(|key| key.arn.clone()).collect();
    assert!(names.len() == 2 && !names.contains(&a.arn.to_string()), "{names:?}");
    free.set(0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    pools.sweep();
    assert_eq!(pools.live(), 1, "the other one goes too, before anybody asks");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = tokio::time::Instant::now();
    let refused = pools.acquire(&b).await.map(drop);
    assert_eq!(refused, Err(InvokeError::Throttled { reason: "ConcurrentInvocationLimitExceeded" }));
    assert_eq!(began.elapsed(), PLACE_WAIT_MAX);
    let waiting = tokio::spawn({
        let (pools, b) = (pools.clone(), b.clone());
        async move { pools.acquire(&b).await.map(drop) }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    free.set(INSTANCE_BYTES);
    assert_eq!(waiting.await.expect("joins"), Ok(()), "memory came back");
    lease.give_back();
}

#[tokio::test(start_paused = true)]
async fn one_instance_is_borne_whatever_the_memory() {
    let (pools, _, free) = with(100, 8);
    free.set(0);
    assert!(pools.acquire(&Arc::new(version("f"))).await.is_ok());
}
