//! Responses that stream: when they reach the caller, how they end, and what is metered.

use super::fake::FakeDriver;
use super::{function, world};
use crate::Runner;
use crate::testing::World;
use base::{Broken, FunctionError, Head, Outcome, Start, Streamed};
use bytes::Bytes;
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;

fn text_plain() -> Option<Head> {
    Some(Head::Payload { content_type: Some("text/plain".into()) })
}

async fn stream(world: &World, name: &str) -> Streamed {
    world.engine.stream(world.call(name, "{}")).await.expect("runs")
}

async fn next(streamed: &mut Streamed) -> Option<Bytes> {
    streamed.chunks.next().await.map(|piece| piece.expect("not broken off"))
}

/// What came, and what came of it. A response that began is whole if, and only if, the run went well.
async fn rest(mut streamed: Streamed) -> (String, Outcome) {
    let (mut body, mut broken) = (Vec::new(), false);
    while let Some(piece) = streamed.chunks.next().await {
        match piece {
            Ok(piece) => body.extend_from_slice(&piece),
            Err(Broken) => broken = true,
        }
    }
    let outcome = streamed.outcome.await.expect("an outcome");
    assert_eq!(broken, streamed.head.is_some() && outcome.result.is_err());
    (String::from_utf8(body).expect("text"), outcome)
}

fn document(error: &FunctionError) -> serde_json::Value {
    serde_json::from_slice(&error.body).expect("JSON")
}

#[tokio::test]
async fn the_first_byte_comes_before_the_last_is_made() {
    let (world, driver) = world().await;
    function(&world, "f", "stream").await;
    for start in [Start::Cold, Start::Warm] {
        let mut streamed = stream(&world, "f").await;
        assert_eq!((streamed.executed_version.as_str(), &streamed.head), ("$LATEST", &text_plain()));
        assert_eq!(next(&mut streamed).await.as_deref(), Some(&b"one"[..]));
        // Only now may the handler go on.
        driver.say_the_word();
        let (body, outcome) = rest(streamed).await;
        assert_eq!(body, "two");
        assert_eq!((outcome.result, outcome.start), (Ok("".into()), start));
        let tail = String::from_utf8(outcome.log_tail.to_vec()).expect("text");
        assert!(tail.contains("\nEND RequestId: ") && tail.contains("\nREPORT RequestId: "), "{tail}");
    }
    let usage = world.memory.usage.lock().clone();
    assert_eq!(usage.iter().map(|u| u.bytes_out).collect::<Vec<_>>(), [6, 6]);
    assert_eq!(driver.raised(), 1);
}

#[tokio::test]
async fn a_plain_invocation_collects() {
    let (world, driver) = world().await;
    function(&world, "f", "stream").await;
    driver.say_the_word();
    let outcome = world.engine.invoke(world.call("f", "{}")).await.expect("runs");
    assert_eq!(outcome.result.expect("answers"), "onetwo");
    assert_eq!(world.memory.usage.lock()[0].bytes_out, 6);
    function(&world, "failing", "stream-fails").await;
    let outcome = world.engine.invoke(world.call("failing", "{}")).await.expect("runs");
    let error = outcome.result.expect_err("fails");
    assert_eq!((error.error_type.as_str(), &document(&error)["errorMessage"]), ("Oops", &"halfway".into()));
    function(&world, "flood", "stream-flood").await;
    let outcome = world.engine.invoke(world.call("flood", "{}")).await.expect("runs");
    assert_eq!(outcome.result.expect_err("too large").error_type, "Function.ResponseSizeTooLarge");
}

#[tokio::test]
async fn a_whole_answer_is_one_chunk() {
    let (world, _driver) = world().await;
    function(&world, "f", "echo").await;
    let mut streamed = stream(&world, "f").await;
    assert_eq!(streamed.head, Some(Head::Payload { content_type: None }));
    assert_eq!(next(&mut streamed).await.as_deref(), Some(&b"{}"[..]));
    let (body, outcome) = rest(streamed).await;
    assert_eq!((body.as_str(), outcome.result), ("", Ok("".into())));
    assert_eq!(world.memory.usage.lock()[0].bytes_out, 2);
}

#[tokio::test]
async fn nothing_at_all_is_a_response_too() {
    let (world, _driver) = world().await;
    function(&world, "f", "stream-empty").await;
    let streamed = stream(&world, "f").await;
    assert_eq!(streamed.head, text_plain());
    let (body, outcome) = rest(streamed).await;
    assert_eq!((body.as_str(), outcome.result), ("", Ok("".into())));
}

#[tokio::test]
async fn failures_before_the_response_begins() {
    let (world, _driver) = world().await;
    for (handler, error_type) in [
        ("error", "KeyError"),
        ("exit 1", "Runtime.ExitError"),
        ("init-exit 1", "Runtime.ExitError"),
        ("stream-fails-at-once", "Oops"),
        ("stream-fails-and-exits", "Oops"),
    ] {
        let name = handler.replace(' ', "-");
        function(&world, &name, handler).await;
        let streamed = stream(&world, &name).await;
        assert_eq!(streamed.head, None, "{handler}");
        let (body, outcome) = rest(streamed).await;
        assert_eq!((body.as_str(), outcome.result.expect_err("fails").error_type.as_str()), ("", error_type));
    }
}

#[tokio::test]
async fn failures_in_the_middle() {
    let driver = Arc::<FakeDriver>::default();
    let world = World::new(driver.clone(), 2, |_| {});
    for (handler, error_type, message) in [
        ("stream-fails", "Oops", "halfway"),
        ("stream-exits", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ("stream-breaks-off", "Runtime.TruncatedResponse", "The runtime broke off its response before the end"),
        ("slow stream", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
    ] {
        let handler = if handler.starts_with("slow") { "stream-never-ends" } else { handler };
        let version = function(&world, handler, handler).await;
        world
            .shelf
            .put(crate::Version { timeout_s: if handler == "stream-never-ends" { 1 } else { 60 }, ..version }, None);
        let streamed = stream(&world, handler).await;
        assert_eq!(streamed.head, text_plain(), "{handler}");
        let (body, outcome) = rest(streamed).await;
        let error = outcome.result.expect_err("fails");
        assert_eq!((body.as_str(), error.error_type.as_str()), ("one", error_type));
        let said = document(&error)["errorMessage"].as_str().expect("a message").to_owned();
        assert!(said.ends_with(message), "{handler}: {said}");
        let usage = world.memory.usage.lock().last().cloned().expect("metered");
        assert_eq!((usage.error.as_deref(), usage.bytes_out), (Some(error_type), 3 + error.body.len() as u64));
    }
    // An error in the trailers is the handler's own and keeps its instance; the others do not.
    driver.wait_until_alive(1).await;
    world.memory.wait_for("Status: error\tError Type: Runtime.TruncatedResponse").await;
}

#[tokio::test]
async fn too_much_ends_at_the_limit() {
    let driver = Arc::<FakeDriver>::default();
    let world = World::new(driver.clone(), 10, |config| config.stream_bytes_max = 1_000_003);
    function(&world, "f", "stream-flood").await;
    let (body, outcome) = rest(stream(&world, "f").await).await;
    assert_eq!(body.len(), 1_000_003);
    let error = outcome.result.expect_err("too large");
    assert_eq!(error.error_type, "Function.ResponseSizeTooLarge");
    assert!(document(&error)["errorMessage"].as_str().expect("a message").contains("(1000003 bytes)"));
    driver.wait_until_alive(0).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_the_run() {
    let driver = Arc::<FakeDriver>::default();
    let world = World::new(driver.clone(), 10, |config| config.stream_bytes_max = 20_000_000);
    function(&world, "f", "stream").await;
    let mut streamed = stream(&world, "f").await;
    next(&mut streamed).await.expect("the first");
    drop(streamed);
    driver.say_the_word();
    world.memory.wait_for("REPORT RequestId").await;
    assert_eq!((world.memory.usage.lock()[0].bytes_out, driver.alive()), (6, 1));
    // Far more than fits on the way: nobody reads it, and nobody waits.
    function(&world, "flood", "stream-flood").await;
    drop(stream(&world, "flood").await);
    world.memory.wait_for("Error Type: Function.ResponseSizeTooLarge").await;
    let usage = world.memory.usage.lock().last().cloned().expect("metered");
    assert!(usage.bytes_out > 20_000_000, "{}", usage.bytes_out);
}

#[tokio::test]
async fn a_caller_who_does_not_read_holds_the_function_until_its_timeout() {
    let (world, driver) = world().await;
    let version = function(&world, "f", "stream-flood").await;
    world.shelf.put(crate::Version { timeout_s: 2, ..version }, None);
    let streamed = stream(&world, "f").await;
    world.memory.wait_for("Status: timeout").await;
    let taken = world.memory.usage.lock()[0].bytes_out;
    assert!(taken < 8 << 20, "{taken} bytes were taken from a function that nobody listens to");
    driver.wait_until_alive(0).await;
    let (_, outcome) = tokio::time::timeout(Duration::from_secs(5), rest(streamed)).await.expect("it ends");
    assert_eq!(outcome.result.expect_err("timed out").error_type, "Sandbox.Timedout");
}

#[tokio::test]
async fn the_run_is_over_when_the_next_call_is_asked_for() {
    let (world, driver) = world().await;
    function(&world, "f", "stream-and-go-on").await;
    let mut streamed = stream(&world, "f").await;
    assert_eq!(next(&mut streamed).await.as_deref(), Some(&b"one"[..]));
    assert_eq!(next(&mut streamed).await, None, "the response is whole");
    assert!(world.memory.usage.lock().is_empty(), "and the handler still at work");
    driver.say_the_word();
    rest(streamed).await.1.result.expect("ends well");
    // A handler that never ends is over its time, though its response was whole.
    let version = function(&world, "g", "stream-and-go-on").await;
    world.shelf.put(crate::Version { timeout_s: 1, ..version }, None);
    let mut streamed = stream(&world, "g").await;
    while next(&mut streamed).await.is_some() {}
    let outcome = streamed.outcome.await.expect("an outcome");
    assert_eq!(outcome.result.expect_err("timed out").error_type, "Sandbox.Timedout");
}

#[tokio::test]
async fn nothing_else_answers_while_it_streams() {
    let (world, driver) = world().await;
    function(&world, "f", "stream-in-turn").await;
    let streamed = stream(&world, "f").await;
    driver.say_the_word();
    let (body, outcome) = rest(streamed).await;
    assert_eq!(body, "one");
    outcome.result.expect("ends well");
}
