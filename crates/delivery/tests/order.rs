//! Events that keep an order, and letters that are their sender's affair.

mod world;

use base::{Event, Terms, Timestamp, Verdict};
use delivery::Config;
use kit::RunningClock;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use store::memory::Memory;
use store::{Store, outbox};
use world::{START, Told, emit, event, run, until_empty};

const HOUR: Duration = Duration::from_secs(3600);

fn ordered(n: u32, group: &str) -> Event {
    let terms = Terms { order: Some(group.into()), ..Terms::default() };
    Event { terms, ..event(format!("{group}{n:03}"), "a", Timestamp(START + u64::from(n) / 4)) }
}

/// Of every seven events one fails twice and one for ever.
fn flaky(event: &Event, attempt: u32) -> (Duration, Option<Verdict>) {
    let n: u32 = event.id[1..].parse().expect("a number");
    let verdict = match n % 7 {
        2 if attempt < 3 => Verdict::Retry { after: Duration::from_secs(5), reason: "busy".into() },
        4 => Verdict::Dead { reason: "no".into() },
        _ => Verdict::Done,
    };
    (Duration::from_millis(u64::from(n % 3)), Some(verdict))
}

#[tokio::test(start_paused = true)]
async fn a_group_keeps_its_order_over_retries_and_restarts() {
    let (store, clock) = (Store::new(Arc::new(Memory::default())), RunningClock::at(Timestamp(START)));
    let told = Told::new(&clock, flaky);
    let mut running = run(&store, told.clone(), &clock, Config::default());
    for n in 0..100 {
        for group in ["g", "h"] {
            emit(&store, &ordered(n, group)).await.expect("memory");
        }
        if n % 20 == 13 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            running.stop().await;
            running = run(&store, told.clone(), &clock, Config::default());
        }
    }
    until_empty(&store, HOUR).await;
    running.stop().await;
    for group in ["g", "h"] {
        let tried: Vec<String> =
            told.given.lock().iter().map(|e| e.id.clone()).filter(|id| id.starts_with(group)).collect();
        assert!(tried.is_sorted(), "{tried:?}");
        let done = told.done.lock().iter().filter(|id| id.starts_with(group)).count();
        assert_eq!(done, (0..100).filter(|n| n % 7 != 4).count());
    }
}

#[tokio::test(start_paused = true)]
async fn one_group_that_waits_holds_up_no_other() {
    let (store, clock) = (Store::new(Arc::new(Memory::default())), RunningClock::at(Timestamp(START)));
    let busy = |event: &Event, _| match event.id.starts_with('g') {
        true => (Duration::ZERO, Some(Verdict::Retry { after: HOUR, reason: "busy".into() })),
        false => (Duration::ZERO, Some(Verdict::Done)),
    };
    let told = Told::new(&clock, busy);
    let running = run(&store, told.clone(), &clock, Config::default());
    for n in 0..10 {
        emit(&store, &ordered(n, "g")).await.expect("memory");
        emit(&store, &ordered(n, "h")).await.expect("memory");
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(told.done.lock().len(), 10);
    assert_eq!(told.given.lock().len(), 11, "the first of the other was tried once, and nothing behind it");
    assert_eq!(outbox::counts(&store, 100).await.expect("memory").waiting, 10);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_is_what_its_sender_says() {
    let (store, clock) = (Store::new(Arc::new(Memory::default())), RunningClock::at(Timestamp(START)));
    let to = event("", "letters", Timestamp(0)).target;
    let is_letter = to.clone();
    let told = Told::new(&clock, move |e, _| match e.target == is_letter {
        true => (Duration::ZERO, Some(Verdict::Done)),
        false => (Duration::ZERO, Some(Verdict::Dead { reason: "no".into() })),
    });
    let running = run(&store, told.clone(), &clock, Config::default());
    let mut dying = ordered(1, "g");
    dying.terms.dead_letter = Some(to.clone());
    dying.attributes.insert("letter".into(), json!({"body": "as a text", "MessageGroupId": "g"}));
    emit(&store, &dying).await.expect("memory");
    until_empty(&store, HOUR).await;
    running.stop().await;
    let letter = told.given.lock().iter().find(|e| e.target == to).cloned().expect("a letter");
    assert_eq!(letter.payload.get(), "\"as a text\"");
    assert_eq!(serde_json::Value::Object(letter.attributes), json!({"MessageGroupId": "g", "RawBody": true}));
    assert_eq!(letter.terms.order.as_deref(), Some("g"), "letters keep the order, too");
}
