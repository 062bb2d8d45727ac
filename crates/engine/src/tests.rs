//! The engine over a fake driver: what callers, logs and usage see of runs that go well and badly.

mod fake;
mod sharing;
mod streaming;

use crate::testing::{World, version};
use crate::{Runner, Version};
use base::{InvokeError, Start};
use fake::FakeDriver;
use std::sync::Arc;
use std::time::Duration;

/// A world whose functions do what their handler's name says (see `fake`). Time runs ten times as fast.
async fn world() -> (World, Arc<FakeDriver>) {
    let driver = Arc::<FakeDriver>::default();
    (World::new(driver.clone(), 10, |_| {}), driver)
}

async fn function(world: &World, name: &str, handler: &str) -> Version {
    let code = world.code(&[("bootstrap", "#!/bin/true")]).await;
    let timeout_s = if handler.starts_with("slow") { 1 } else { 60 };
    let version = Version { handler: handler.into(), code, timeout_s, ..version(name) };
    world.shelf.put(version.clone(), None);
    version
}

async fn fails(world: &World, name: &str) -> (String, String) {
    let outcome = world.engine.invoke(world.call(name, "{}")).await.expect("runs");
    let error = outcome.result.expect_err("fails");
    let body: serde_json::Value = serde_json::from_slice(&error.body).expect("JSON");
    assert_eq!(error.kind, "Unhandled");
    let message = body["errorMessage"].as_str().expect("a message").replace(&outcome.request_id, "ID");
    (error.error_type, message)
}

#[tokio::test]
async fn a_call_is_run_logged_and_metered() {
    let (world, driver) = world().await;
    function(&world, "f", "echo").await;
    let cold = world.engine.invoke(world.call("f", r#"{"a":1}"#)).await.expect("runs");
    let warm = world.engine.invoke(world.call("f", "2")).await.expect("runs");
    assert_eq!(cold.result.expect("answers"), r#"{"a":1}"#);
    assert_eq!((cold.start, warm.start), (Start::Cold, Start::Warm));
    assert_eq!((cold.instance, driver.raised()), (warm.instance, 1));

    let tail = String::from_utf8(warm.log_tail.to_vec()).expect("text");
    let id = &warm.request_id;
    let lines: Vec<&str> = tail.lines().collect();
    assert_eq!(lines[0], format!("START RequestId: {id} Version: $LATEST"));
    // Two pipes: there is no order between them, but both come before END.
    let mut written = lines[1..3].to_vec();
    written.sort_unstable();
    assert_eq!(written, ["framed", "running"].map(|l| format!("{l} {id}")), "{tail}");
    assert_eq!(lines[3], format!("END RequestId: {id}"));
    assert!(lines[4].starts_with(&format!("REPORT RequestId: {id}\tDuration: ")), "{tail}");
    assert!(lines[4].contains("\tMemory Size: 128 MB\tMax Memory Used: 7 MB\t"), "{tail}");
    assert!(!lines[4].contains("Init Duration"), "{tail}");

    let usage = world.memory.usage.lock().clone();
    assert_eq!(usage.len(), 2);
    assert_eq!((usage[0].start, usage[0].bytes_in, usage[0].bytes_out), (Start::Cold, 7, 7));
    assert!(usage[0].init_us > 0 && usage[1].init_us == 0);
    let whole = usage[0].init_us + usage[0].duration_us;
    assert_eq!(usage[0].billed_ms, whole.div_ceil(1000));
    world.memory.wait_for(&format!("END RequestId: {id}")).await;
    assert!(world.memory.text().starts_with("INIT_START Runtime Version: provided:al2023\t"));
}

#[tokio::test]
async fn a_timeout_ends_the_instance() {
    let (world, driver) = world().await;
    function(&world, "f", "slow").await;
    let want = ("Sandbox.Timedout".to_owned(), "RequestId: ID Error: Task timed out after 1.00 seconds".to_owned());
    assert_eq!(fails(&world, "f").await, want);
    assert_eq!(fails(&world, "f").await, want);
    assert_eq!(driver.raised(), 2);
    world.memory.wait_for("Status: timeout").await;
    assert_eq!(world.memory.usage.lock()[0].error.as_deref(), Some("Sandbox.Timedout"));
}

#[tokio::test]
async fn ends_are_told_apart() {
    let (world, _driver) = world().await;
    let exit = |text: &str| ("Runtime.ExitError".to_owned(), format!("RequestId: ID Error: Runtime exited {text}"));
    for (handler, want) in [
        ("exit 0", exit("without providing a reason")),
        ("exit 3", exit("with error: exit status 3")),
        ("init-exit 1", exit("with error: exit status 1")),
        (
            "oom",
            ("Runtime.OutOfMemory".into(), "RequestId: ID Error: Runtime exited with error: signal: killed".into()),
        ),
        ("error", ("KeyError".into(), "no such thing".into())),
        ("init-error", ("Runtime.ImportModuleError".into(), "Unable to import".into())),
        (
            "large",
            (
                "Function.ResponseSizeTooLarge".into(),
                "Response payload size exceeded maximum allowed payload size (6291556 bytes).".into(),
            ),
        ),
    ] {
        let name = handler.replace(' ', "-");
        function(&world, &name, handler).await;
        assert_eq!(fails(&world, &name).await, want, "{handler}");
    }
    world.memory.wait_for("Status: error\tError Type: Runtime.OutOfMemory").await;
    world.memory.wait_for("INIT_REPORT Init Duration: ").await;
}

#[tokio::test]
async fn an_exception_keeps_the_instance_and_other_failures_do_not() {
    let (world, driver) = world().await;
    function(&world, "polite", "error").await;
    function(&world, "dead", "exit 1").await;
    for _ in 0..2 {
        fails(&world, "polite").await;
    }
    assert_eq!(driver.raised(), 1);
    for _ in 0..2 {
        fails(&world, "dead").await;
    }
    assert_eq!(driver.raised(), 3);
}

#[tokio::test]
async fn an_instance_that_died_idle_costs_nobody_a_call() {
    let (world, driver) = world().await;
    function(&world, "f", "die-after-1").await;
    for n in 1..=4 {
        let outcome = world.engine.invoke(world.call("f", "1")).await.expect("runs");
        assert_eq!(outcome.result.expect("answers"), "1");
        assert_eq!(driver.raised(), n);
    }
}

#[tokio::test]
async fn a_call_survives_instances_that_are_killed_while_they_start() {
    let (world, driver) = world().await;
    function(&world, "f", "killed-early 3").await;
    let outcome = world.engine.invoke(world.call("f", "1")).await.expect("runs");
    assert_eq!((outcome.result.expect("answers"), outcome.start, driver.raised()), ("1".into(), Start::Cold, 4));

    let (world, driver) = self::world().await;
    function(&world, "f", "killed-early 99").await;
    let killed = "RequestId: ID Error: Runtime exited with error: signal: killed";
    assert_eq!(fails(&world, "f").await, ("Runtime.ExitError".to_owned(), killed.to_owned()));
    assert_eq!(driver.raised(), 4, "not for ever");
    assert_eq!(world.memory.usage.lock().len(), 1, "and metered once");
}

#[tokio::test]
async fn a_slow_initialisation_is_done_again_on_the_calls_time() {
    let (world, driver) = world().await;
    let slow = function(&world, "f", "slow-init-once").await;
    world.shelf.put(Version { timeout_s: 60, ..slow }, None);
    let outcome = world.engine.invoke(world.call("f", "1")).await.expect("runs");
    assert_eq!(outcome.result.expect("answers"), "1");
    assert_eq!(driver.raised(), 2);
    world.memory.wait_for("Phase: init\tStatus: timeout").await;
    function(&world, "never", "slow-init").await;
    assert_eq!(fails(&world, "never").await.0, "Sandbox.Timedout");
}

#[tokio::test]
async fn a_new_revision_gets_new_instances() {
    let (world, driver) = world().await;
    let old = function(&world, "f", "echo").await;
    world.engine.invoke(world.call("f", "1")).await.expect("runs");
    let new = Version { revision: "r2".into(), ..old.clone() };
    world.shelf.put(new.clone(), None);
    world.engine.retire(&old.scope, "f", "$LATEST", Some("r2")).await;
    driver.wait_until_alive(0).await;
    world.engine.invoke(world.call("f", "1")).await.expect("runs");
    assert_eq!(driver.raised(), 2);
    world.engine.retire(&old.scope, "f", "$LATEST", Some("r2")).await;
    assert_eq!(world.engine.instances(), 1, "the kept revision stays");
    world.engine.retire(&old.scope, "f", "$LATEST", None).await;
    driver.wait_until_alive(0).await;
}

#[tokio::test]
async fn reserved_concurrency_throttles_at_once() {
    let (world, _driver) = world().await;
    let version = function(&world, "f", "slow").await;
    world.shelf.put(version, Some(1));
    let (first, second) = tokio::join!(world.engine.invoke(world.call("f", "1")), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        world.engine.invoke(world.call("f", "1")).await
    });
    assert!(first.is_ok());
    let reason = "ReservedFunctionConcurrentInvocationLimitExceeded";
    assert_eq!(second.expect_err("refused"), InvokeError::Throttled { reason });
    assert_eq!(world.memory.usage.lock().len(), 1, "what was refused is not metered");
}

#[tokio::test]
async fn a_full_machine_makes_room() {
    let driver = Arc::<FakeDriver>::default();
    let world = World::new(driver.clone(), 10, |config| config.instances_max = 1);
    function(&world, "a", "echo").await;
    function(&world, "b", "echo").await;
    for name in ["a", "b", "a"] {
        world.engine.invoke(world.call(name, "1")).await.expect("runs");
        driver.wait_until_alive(1).await;
    }
    assert_eq!(driver.raised(), 3);
    let many = (0..20).map(|i| world.engine.invoke(world.call(["a", "b"][i % 2], "1")));
    for outcome in futures::future::join_all(many).await {
        outcome.expect("everybody has a turn");
    }
    assert_eq!(driver.alive_max(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_its_run() {
    let (world, _driver) = world().await;
    function(&world, "f", "pause").await;
    let call = world.engine.invoke(world.call("f", "1"));
    assert!(tokio::time::timeout(Duration::from_millis(20), call).await.is_err());
    world.memory.wait_for("REPORT RequestId").await;
    assert_eq!(world.memory.usage.lock()[0].error, None);
}

#[tokio::test]
async fn stopping_drains_and_refuses() {
    let (world, driver) = world().await;
    function(&world, "f", "pause").await;
    let running = world.engine.invoke(world.call("f", "1"));
    let stop = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        world.engine.stop(Duration::from_secs(30)).await;
        world.engine.invoke(world.call("f", "1")).await
    };
    let (running, refused) = tokio::join!(running, stop);
    assert!(running.expect("was in flight").result.is_ok());
    assert!(matches!(refused, Err(InvokeError::Unavailable(_))));
    assert_eq!(driver.alive(), 0);
    assert!(world.memory.text().contains("REPORT RequestId"), "logs are shipped before it stops");
}

#[tokio::test]
async fn idle_instances_end() {
    let driver = Arc::<FakeDriver>::default();
    let world = World::new(driver.clone(), 10, |config| config.idle_ttl = Duration::from_secs(2));
    function(&world, "f", "echo").await;
    world.engine.invoke(world.call("f", "1")).await.expect("runs");
    assert_eq!(driver.alive(), 1);
    driver.wait_until_alive(0).await;
    assert_eq!(world.engine.instances(), 0);
}

#[tokio::test]
async fn the_runtime_api_refuses_what_is_out_of_turn() {
    let (world, _driver) = world().await;
    function(&world, "f", "out-of-turn").await;
    for _ in 0..2 {
        let outcome = world.engine.invoke(world.call("f", "1")).await.expect("runs");
        let seen = String::from_utf8(outcome.result.expect("answers").to_vec()).expect("text");
        let want = "403 InvalidStateTransition, 403 InvalidStateTransition, 400 InvalidRequestID, \
                    501 Extension.Unsupported, 404 InvalidPath";
        assert_eq!(seen, want);
    }
}

#[tokio::test]
async fn what_cannot_be_executed_says_so() {
    let (world, driver) = world().await;
    let code = world.code(&[("app.py", "")]).await;
    world.shelf.put(Version { code, ..version("f") }, None);
    let (error_type, message) = fails(&world, "f").await;
    assert_eq!(error_type, "Runtime.InvalidEntrypoint");
    assert!(message.contains("Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"), "{message}");
    assert_eq!(driver.raised(), 0);
}

#[tokio::test]
async fn a_layer_with_an_extension_is_refused_and_a_missing_python_named() {
    let (world, _driver) = world().await;
    let version = function(&world, "f", "echo").await;
    let layer = world.package(&[("extensions/monitor", "#!/bin/true")]).await;
    let error = world.engine.prepare(&Version { layers: vec![layer], ..version.clone() }).await.expect_err("refused");
    assert!(error.message.contains("extension"), "{error}");
    let python = crate::Runtime::Python { minor: 12 };
    let python = Version { runtime: python, revision: "r2".into(), ..version };
    let error = world.engine.prepare(&python).await.expect_err("no interpreters here");
    assert_eq!(error.code, "InvalidRuntime");
    assert!(error.message.starts_with("python3.12 is not on this machine"), "{error}");
}

#[tokio::test]
async fn a_full_machine_throttles_within_a_bound() {
    let driver = Arc::<FakeDriver>::default();
    let world = World::new(driver.clone(), 10, |config| config.instances_max = 1);
    let long = function(&world, "long", "slow").await;
    world.shelf.put(Version { timeout_s: 30, ..long }, None);
    function(&world, "other", "echo").await;
    let running = world.engine.invoke(world.call("long", "1"));
    let waiting = async {
        driver.wait_until_alive(1).await;
        let began = std::time::Instant::now();
        let refused = world.engine.invoke(world.call("other", "1")).await;
        (refused, began.elapsed() * 10)
    };
    let (running, (refused, waited)) = tokio::join!(running, waiting);
    let reason = "ConcurrentInvocationLimitExceeded";
    assert_eq!(refused.expect_err("no place"), InvokeError::Throttled { reason });
    let bound = crate::pool::PLACE_WAIT_MAX;
    assert!((bound..bound + Duration::from_secs(5)).contains(&waited), "{waited:?}");
    assert_eq!(running.expect("ran").result.expect_err("timed out").error_type, "Sandbox.Timedout");
    assert_eq!(driver.raised(), 1, "nothing was made for the one that was refused");
    world.engine.invoke(world.call("other", "1")).await.expect("the place is free again");
}
