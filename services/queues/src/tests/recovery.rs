//! What a node that starts again finds.

use super::*;

#[tokio::test]
async fn everything_is_as_it_was() {
    let engine = Arc::new(Memory::default());
    let clock = ManualClock::at(Timestamp(NOW));
    let s = on(engine.clone(), clock.clone(), 1);
    s.create("q", json!({"VisibilityTimeout": "30"})).await;
    s.create("q.fifo", json!({"FifoQueue": "true"})).await;
    for n in 0..20 {
        s.send("q", &n.to_string()).await;
        s.send_to("q.fifo", if n % 2 == 0 { "even" } else { "odd" }, &n.to_string()).await;
    }
    s.ok("SendMessage", json!({"QueueUrl": url("q"), "MessageBody": "later", "DelaySeconds": 100})).await;
    let got = s.receive("q", json!({"MaxNumberOfMessages": 3})).await;
    s.delete("q", &got[0]).await;
    let even = s.receive("q.fifo", json!({"MaxNumberOfMessages": 1})).await;
    s.pass(10);
    drop(s);

    let s = on(engine, clock, 2);
    assert_eq!(s.counts("q").await, (17, 2, 1));
    assert_eq!(s.counts("q.fifo").await, (19, 1, 0));
    // In flight as before: handles still work, others see nothing of it.
    s.delete("q", &got[1]).await;
    assert_eq!(s.receive("q.fifo", json!({"MaxNumberOfMessages": 1})).await[0]["Body"], "1", "the other group");
    s.delete("q.fifo", &even[0]).await;
    assert_eq!(s.receive("q.fifo", json!({"MaxNumberOfMessages": 1})).await[0]["Body"], "2");
    assert_eq!(all(&s).await, (3..20).map(|n| n.to_string()).collect::<Vec<_>>());
    s.pass(20);
    assert_eq!(all(&s).await, ["2"], "its time is over");
    s.pass(70);
    assert!(all(&s).await.contains(&"later".to_owned()));
    // What is sent now comes after all that was sent before.
    let sent = s.send_to("q.fifo", "even", "new").await;
    assert!(text(&sent["SequenceNumber"]) > text(&even[0]["Attributes"]["SequenceNumber"]));
}

/// All that can be received.
async fn all(s: &Setting) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let some = s.bodies("q").await;
        if some.is_empty() {
            return seen;
        }
        seen.extend(some);
    }
}

#[tokio::test]
async fn a_queue_that_is_forgotten_is_found_again() {
    let s = setting();
    s.create("q", json!({})).await;
    s.send("q", "a").await;
    s.pass(700);
    s.queues.sweep().await.expect("sweeps");
    assert!(s.queues.in_use(&crate::model::name::Named { scope: kit::scope(), name: "q".into() }).is_none());
    assert_eq!(s.bodies("q").await, ["a"]);
}

#[tokio::test]
async fn no_place_is_given_twice_when_the_clock_was_put_back() {
    let (engine, clock) = (Arc::new(Memory::default()), ManualClock::at(Timestamp(NOW + 10_000)));
    let s = on(engine.clone(), clock.clone(), 1);
    s.create("q", json!({})).await;
    s.send("q", "late").await;
    clock.set(Timestamp(NOW));
    s.send("q", "before the start").await;
    drop(s);
    let s = on(engine, clock, 2);
    s.send("q", "after it").await;
    s.pass(10);
    let mut seen = all(&s).await;
    seen.sort();
    assert_eq!(seen, ["after it", "before the start", "late"]);
}
