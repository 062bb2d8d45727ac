//! Instances that take several calls at once.

use super::{function, world};
use crate::testing::World;
use crate::{Runner, Version};
use base::{Outcome, Start};
use futures::future::join_all;
use std::collections::BTreeSet;

async fn shared(world: &World, calls: u32, timeout_s: u32) -> Version {
    let version = function(world, "f", &format!("several {calls}")).await;
    let version = Version { per_instance: Some(calls), timeout_s, ..version };
    world.shelf.put(version.clone(), None);
    version
}

async fn at_once(world: &World, payloads: &[&'static str]) -> Vec<Outcome> {
    let calls = payloads.iter().map(|payload| world.engine.invoke(world.call("f", *payload)));
    join_all(calls).await.into_iter().map(|ran| ran.expect("runs")).collect()
}

fn error(outcome: &Outcome) -> Option<&str> {
    outcome.result.as_ref().err().map(|error| error.error_type.as_str())
}

#[tokio::test]
async fn calls_share_an_instance_up_to_its_number() {
    let (world, driver) = world().await;
    shared(&world, 4, 60).await;
    let six = at_once(&world, &["150"; 6]).await;
    assert_eq!(driver.raised(), 2, "four and two");
    let instances: BTreeSet<_> = six.iter().map(|outcome| outcome.instance.clone()).collect();
    assert_eq!(instances.len(), 2);
    let cold = six.iter().filter(|outcome| outcome.start == Start::Cold).count();
    assert_eq!(cold, 2, "those that came later found one that was there");
    assert!(six.iter().all(|outcome| outcome.result.is_ok()));
    for _ in 0..2 {
        let again = at_once(&world, &["10"; 8]).await;
        assert!(again.iter().all(|o| o.result.is_ok() && o.start == Start::Warm && instances.contains(&o.instance)));
    }
    assert_eq!((driver.raised(), driver.alive()), (2, 2));
    // Each call is logged and metered as its own.
    assert_eq!(world.memory.usage.lock().len(), 22);
    let streams: BTreeSet<_> = world.memory.lines.lock().iter().map(|(stream, _)| stream.clone()).collect();
    assert_eq!(streams.len(), 2, "a stream for each instance");
}

#[tokio::test]
async fn a_call_that_is_over_its_time_disturbs_nobody() {
    let (world, driver) = world().await;
    shared(&world, 2, 3).await;
    let both = at_once(&world, &["hang", "100"]).await;
    assert_eq!((error(&both[0]), error(&both[1])), (Some("Sandbox.Timedout"), None));
    assert_eq!(both[0].instance, both[1].instance);
    // What it does goes on, so there is room for one call only.
    let next = at_once(&world, &["100", "100"]).await;
    assert!(next.iter().all(|outcome| outcome.result.is_ok()));
    assert_eq!((driver.raised(), driver.alive()), (2, 2));
    let first = both[0].instance.clone();
    assert_eq!(next.iter().filter(|outcome| outcome.instance == first).count(), 1);
    // Once it has answered, which nobody hears, there is room again.
    driver.say_the_word();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let four = at_once(&world, &["100"; 4]).await;
    assert_eq!(four.iter().filter(|outcome| outcome.instance == first).count(), 2);
    assert_eq!(driver.raised(), 2);
}

#[tokio::test]
async fn a_call_that_is_tried_again_gets_its_own_answer() {
    let (world, driver) = world().await;
    shared(&world, 3, 3).await;
    let kept = world.call("f", "250");
    let hung = world.call("f", "hang");
    // Another call keeps the instance; the one that hangs is given up, and tried again with the id that it had.
    let (_, first) = tokio::join!(world.engine.invoke(kept), world.engine.invoke(hung.clone()));
    assert_eq!(error(&first.expect("runs")), Some("Sandbox.Timedout"));
    let again = base::Invocation { payload: "20".into(), ..hung };
    for _ in 0..2 {
        let outcome = world.engine.invoke(again.clone()).await.expect("runs");
        assert_eq!(outcome.result.expect("answers"), "20");
    }
    assert_eq!(driver.raised(), 1);
}

#[tokio::test]
async fn the_end_of_an_instance_is_that_of_all_its_calls() {
    let (world, driver) = world().await;
    shared(&world, 3, 60).await;
    let began = std::time::Instant::now();
    let three = at_once(&world, &["5000", "5000", "exit"]).await;
    assert!(three.iter().all(|outcome| error(outcome) == Some("Runtime.ExitError")), "{three:?}");
    assert!(began.elapsed().as_secs() < 4, "at once");
    let next = at_once(&world, &["1"]).await;
    assert_eq!((error(&next[0]), next[0].start, driver.raised()), (None, Start::Cold, 2));
    assert_ne!(next[0].instance, three[0].instance);
}

#[tokio::test]
async fn a_new_revision_ends_what_is_shared() {
    let (world, driver) = world().await;
    let old = shared(&world, 3, 60).await;
    at_once(&world, &["10"; 3]).await;
    world.shelf.put(Version { revision: "r2".into(), ..old.clone() }, None);
    world.engine.retire(&old.scope, "f", "$LATEST", Some("r2")).await;
    driver.wait_until_alive(0).await;
    assert_eq!(at_once(&world, &["1"]).await[0].start, Start::Cold);
}

#[tokio::test]
async fn an_instance_that_does_not_start_is_not_tried_in_turn() {
    let (world, driver) = world().await;
    let version = function(&world, "f", "init-exit 1").await;
    world.shelf.put(Version { per_instance: Some(4), ..version }, None);
    let eight = at_once(&world, &["1"; 8]).await;
    assert!(eight.iter().all(|outcome| error(outcome) == Some("Runtime.ExitError")));
    assert!(driver.raised() < 8, "{} of 8 tried", driver.raised());
    driver.wait_until_alive(0).await;
}
