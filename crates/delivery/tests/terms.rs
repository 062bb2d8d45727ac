//! What the sender of an event asks for: how long it is tried, where it goes when it dies; and the trail of all that.

mod world;

use base::port::Clock;
use base::{Arn, Event, Fate, Receipt, Terms, Timestamp, Verdict};
use delivery::Config;
use kit::RunningClock;
use std::sync::Arc;
use std::time::Duration;
use store::memory::Memory;
use store::{Store, outbox, trail};
use world::{START, Told, emit, event, run, until_empty};

const NOW: Duration = Duration::ZERO;
const DAY: Duration = Duration::from_secs(24 * 3600);

fn busy() -> Option<Verdict> {
    Some(Verdict::Retry { after: NOW, reason: "busy".into() })
}

fn queue() -> Arn {
    Arn::new("lambda", "us-east-1", "000000000000", "function:letters")
}

fn with(id: &str, terms: Terms) -> Event {
    Event { terms, ..event(id, "a", Timestamp(START)) }
}

/// Delivers one event to a target that is always busy, but for the letters; gives the store and what was told.
async fn die(terms: Terms, verdict: fn() -> Option<Verdict>) -> (Store, Arc<Told>) {
    let (store, clock) = (Store::new(Arc::new(Memory::default())), RunningClock::at(Timestamp(START)));
    let told = Told::new(&clock, move |e, _| match e.target == queue() {
        true => (NOW, Some(Verdict::Done)),
        false => (NOW, verdict()),
    });
    let running = run(&store, told.clone(), &clock, Config::default());
    emit(&store, &with("e", terms)).await.unwrap();
    until_empty(&store, 2 * DAY).await;
    assert!(clock.now().since(Timestamp(START)) <= DAY);
    running.stop().await;
    (store, told)
}

#[tokio::test(start_paused = true)]
async fn a_day_of_retries_has_the_attempts_that_eventbridge_promises() {
    let terms = Terms { retries_max: Some(185), age_max_s: Some(86_400), ..Terms::default() };
    let (store, told) = die(terms, busy).await;
    let times = told.times("e");
    assert!((150..=186).contains(&times.len()), "{}", times.len());
    let pauses: Vec<u64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(pauses[0] >= 1000 && pauses[0] <= 2000, "{pauses:?}");
    assert!(pauses.iter().skip(12).all(|p| (240_000..=480_050).contains(p)), "{pauses:?}");
    let dead = outbox::dead(&store, None, 10).await.unwrap();
    assert_eq!(dead.len(), 1, "no letter was asked for");
    assert_eq!(dead[0].tried.len(), outbox::TRIED_MAX);
    assert!(dead[0].reason.ends_with("the last: busy"), "{}", dead[0].reason);
}

#[tokio::test(start_paused = true)]
async fn a_dead_event_goes_where_its_sender_said_with_the_reason() {
    let rule = "arn:aws:events:us-east-1:000000000000:rule/r";
    let terms = Terms { retries_max: Some(2), dead_letter: Some(queue()), rule: Some(rule.into()), ..Terms::default() };
    let (store, told) = die(terms, busy).await;
    assert_eq!(told.times("e").len(), 3);
    assert_eq!(outbox::counts(&store, 10).await.unwrap(), outbox::Counts::default());
    let letter = told.given.lock().iter().find(|e| e.target == queue()).cloned().expect("a letter");
    assert_eq!(letter.payload.get(), "{}");
    assert_eq!(letter.terms.origin.as_deref(), Some("e"));
    let said =
        |name: &str| letter.attributes["MessageAttributes"][name]["StringValue"].as_str().unwrap_or("-").to_owned();
    let names =
        ["RULE_ARN", "TARGET_ARN", "ERROR_CODE", "ERROR_MESSAGE", "EXHAUSTED_RETRY_CONDITION", "RETRY_ATTEMPTS"];
    let target = event("", "a", Timestamp(0)).target.to_string();
    assert_eq!(names.map(said), [rule, &target, "SDK_CLIENT_ERROR", "busy", "MaximumRetryAttempts", "2"]);
    let ways = trail::latest(&store, None, 10).await.unwrap();
    let way = |dead: bool| ways.iter().find(|w| (w.id == "e") == dead).expect("a way");
    let (letter, died) = (way(false), way(true));
    assert_eq!((letter.failure.as_deref(), letter.attempts, &letter.target), (None, 1, &queue()));
    assert_eq!((died.failure.as_deref(), died.attempts, died.then.as_slice()), (Some("busy"), 3, &[queue()][..]));
    assert_eq!(died.tried.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn age_and_refusal_end_an_event_too() {
    let dead_letter = || Some(queue());
    let (_, told) = die(Terms { age_max_s: Some(60), dead_letter: dead_letter(), ..Terms::default() }, busy).await;
    let letter = told.given.lock().last().cloned().expect("a letter");
    let attributes = &letter.attributes["MessageAttributes"];
    assert_eq!(attributes["EXHAUSTED_RETRY_CONDITION"]["StringValue"], "MaximumEventAgeInSeconds");
    let refuse = || Some(Verdict::Dead { reason: "no".into() });
    let (_, told) = die(Terms { dead_letter: dead_letter(), ..Terms::default() }, refuse).await;
    let letter = told.given.lock().last().cloned().expect("a letter");
    let attributes = &letter.attributes["MessageAttributes"];
    assert_eq!(
        (&attributes["ERROR_CODE"]["StringValue"], &attributes["ERROR_MESSAGE"]["StringValue"]),
        (&"INVALID_TARGET".into(), &"no".into())
    );
    assert!(attributes.get("EXHAUSTED_RETRY_CONDITION").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_follows_an_event_commits_with_its_end() {
    let follow = || {
        Some(Verdict::Over {
            failure: None,
            then: vec![Event { target: queue(), ..event("next", "", Timestamp(START)) }],
        })
    };
    let (store, told) = die(Terms::default(), follow).await;
    assert_eq!((told.times("e").len(), told.times("next").len()), (1, 1));
    let ways = trail::latest(&store, None, 10).await.unwrap();
    assert_eq!(ways.iter().map(|w| (w.id.as_str(), w.then.len())).collect::<Vec<_>>(), [("next", 0), ("e", 1)]);
    let fail = || Some(Verdict::Over { failure: Some("bad".into()), then: Vec::new() });
    let (store, _) = die(Terms { dead_letter: Some(queue()), ..Terms::default() }, fail).await;
    let dead = outbox::dead(&store, None, 10).await.unwrap();
    assert_eq!(dead.iter().map(|d| d.reason.as_str()).collect::<Vec<_>>(), ["bad"], "the target had taken it");
}

#[tokio::test(start_paused = true)]
async fn the_trail_stays_within_its_bounds() {
    let (store, clock) = (Store::new(Arc::new(Memory::default())), RunningClock::at(Timestamp(START)));
    let told = Told::new(&clock, |_, _| (NOW, Some(Verdict::Done)));
    let config = Config { trail_max: 20, trail_age_max: Duration::from_secs(600), ..Config::default() };
    let running = run(&store, told, &clock, config);
    let sweep = tokio::spawn(running.delivery.clone().sweep(running.stop.clone()));
    for n in 0..50 {
        emit(&store, &event(n, "a", clock.now())).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(trail::count(&store).await.unwrap(), 20);
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert_eq!(trail::count(&store).await.unwrap(), 0);
    running.stop().await;
    sweep.await.unwrap();
}

/// What a sender is told of an event, with this outcome, that asked for receipts.
async fn receipts(terms: Terms, verdict: fn() -> Option<Verdict>) -> Vec<Event> {
    let to = queue();
    let receipt = Receipt { to, taken: true, failed: true, about: serde_json::json!({"mine": 1}) };
    let (_, told) = die(Terms { receipt: Some(receipt), ..terms }, verdict).await;
    let given = told.given.lock();
    given.iter().filter(|event| event.attributes.contains_key("receipt")).cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn senders_are_told_once_what_became_of_an_event() {
    let over: fn() -> Option<Verdict> = || Some(Verdict::Over { failure: Some("it failed".into()), then: vec![] });
    let dead: fn() -> Option<Verdict> = || Some(Verdict::Dead { reason: "refused".into() });
    let done: fn() -> Option<Verdict> = || Some(Verdict::Done);
    let twice = Terms { retries_max: Some(1), ..Terms::default() };
    let letter = Terms { dead_letter: Some(queue()), ..Terms::default() };
    for (terms, verdict, attempts, failure) in [
        (Terms::default(), done, 1, None),
        (Terms::default(), over, 1, None),
        (Terms::default(), dead, 1, Some("refused")),
        (letter, dead, 1, Some("refused")),
        (twice, busy as fn() -> _, 2, Some("tried 2 times; the last: busy")),
    ] {
        let told = receipts(terms, verdict).await;
        assert_eq!(told.len(), 1, "{told:?}");
        let fate: Fate = serde_json::from_value(told[0].attributes["receipt"].clone()).unwrap();
        assert_eq!((fate.event.as_str(), fate.attempts, fate.failure.as_deref()), ("e", attempts, failure));
        assert_eq!(told[0].payload.get(), r#"{"mine":1}"#);
        assert_eq!(told[0].terms.receipt, None);
    }
}
