//! Functions that are components, as the engine runs them: what callers, logs and usage see.

mod guest;
#[path = "../../engine/tests/support/mod.rs"]
mod support;

use async_trait::async_trait;
use base::{InvokeError, Start};
use bytes::Bytes;
use engine::{Runner, Version};
use guest::{COMPILER, bytes_of};
use http_body_util::{BodyExt, Full, StreamBody};
use sandbox::{Driver, Error, HttpBody, Promise, Raised, Spec};
use sandbox_wasm::{Config, Wasm};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use support::{World, version};

/// No function here is a process.
struct NoSandboxes;

#[async_trait]
impl Driver for NoSandboxes {
    async fn raise(&self, _: Spec) -> Result<Raised, Error> {
        Err(Error::Start("a component needs none".into()))
    }

    fn promises(&self) -> Vec<Promise> {
        Vec::new()
    }
}

static COMPONENTS: LazyLock<(Arc<Wasm>, tempfile::TempDir)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    (Arc::new(Wasm::new(Config::new(COMPILER, dir.path().join("components")))), dir)
});

fn world_with(adjust: impl FnOnce(&mut engine::Config)) -> World {
    World::with_components(Arc::new(NoSandboxes), Some(COMPONENTS.0.clone()), 1, adjust)
}

fn world() -> World {
    world_with(|_| {})
}

async fn function(world: &World, name: &str, component: &str, adjust: impl FnOnce(&mut Version)) -> Version {
    let code = world.code(&[("bootstrap.wasm", bytes_of(component))]).await;
    let mut version = Version { code, handler: "bootstrap.wasm".into(), ..version(name) };
    adjust(&mut version);
    world.shelf.put(version.clone(), None);
    version
}

/// The result as text, or the error's type and message.
async fn invoke(world: &World, name: &str, payload: impl Into<Bytes>) -> Result<String, (String, String)> {
    let outcome = world.engine.invoke(world.call(name, payload)).await.expect("runs");
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("text");
    outcome.result.map(text).map_err(|error| {
        let body: Value = serde_json::from_slice(&error.body).expect("JSON");
        let message = body["errorMessage"].as_str().expect("a message").replace(&outcome.request_id, "ID");
        (error.error_type, message)
    })
}

fn event(path: &str, query: &str) -> String {
    json!({"version": "2.0", "rawPath": path, "rawQueryString": query, "headers": {},
        "requestContext": {"http": {"method": "GET"}}})
    .to_string()
}

fn fails<T>(error_type: &str, message: &str) -> Result<T, (String, String)> {
    Err((error_type.to_owned(), message.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_run_logged_and_metered() {
    let world = world();
    function(&world, "f", "http", |_| {}).await;
    let call = world.call("f", r#"{"a":1}"#);
    let id = call.request_id.clone();
    let outcome = world.engine.invoke(call).await.expect("runs");
    assert_eq!(outcome.result.expect("answers"), format!("Method::Post / {id}\n{{\"a\":1}}"));
    assert_eq!(outcome.start, Start::Cold, "its component had to be loaded");
    let told = invoke(&world, "f", event("/log", "")).await.expect("answers");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told, json!({"statusCode": 200, "headers": {}, "body": "ok", "isBase64Encoded": false}));
    assert_eq!(
        invoke(&world, "f", event("/env", "AWS_LAMBDA_FUNCTION_NAME")).await.expect("answers"),
        json!({"statusCode": 200, "headers": {}, "body": "f", "isBase64Encoded": false}).to_string()
    );

    world.memory.wait_for("complained").await;
    let lines = world.memory.messages();
    assert!(lines[0].starts_with("INIT_START Runtime Version: wasmtime:48\t"), "{lines:?}");
    assert_eq!(lines[1], format!("START RequestId: {id} Version: $LATEST\n"));
    assert_eq!(lines[2], format!("END RequestId: {id}\n"));
    assert!(lines[3].contains("\tMemory Size: 128 MB\tMax Memory Used: ") && lines[3].contains("Init Duration"));
    assert_eq!(lines[5..7], ["said\n".to_owned(), "complained".to_owned()]);
    let usage = world.memory.usage.lock().clone();
    assert_eq!(usage.len(), 3);
    assert_eq!((usage[0].start, usage[1].start, usage[1].init_us), (Start::Cold, Start::Warm, 0));
    assert_eq!((usage[0].bytes_in, usage[0].max_memory_mb > 0), (7, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_fail_has_its_error() {
    let world = world();
    let small = |version: &mut Version| version.timeout_s = 1;
    function(&world, "f", "http", small).await;
    function(&world, "c", "command", small).await;
    let timed_out = "RequestId: ID Error: Task timed out after 1.00 seconds";
    let exited = |what: &str| format!("RequestId: ID Error: Runtime exited with error: {what}");
    let trap = exited("wasm trap: wasm `unreachable` instruction executed");
    let f = |path: &'static str, query: &'static str| invoke(&world, "f", event(path, query));
    assert_eq!(f("/loop", "").await, fails("Sandbox.Timedout", timed_out));
    assert_eq!(f("/panic", "").await, fails("Runtime.ExitError", &trap));
    assert_eq!(f("/half", "").await, fails("Runtime.ExitError", &trap));
    assert_eq!(f("/overflow", "").await, fails("Runtime.ExitError", &exited("wasm trap: call stack exhausted")));
    assert_eq!(f("/grow", "").await, fails("Runtime.OutOfMemory", &exited("signal: killed")));
    let silent = "RequestId: ID Error: Runtime exited without providing a reason";
    assert_eq!(f("/silent", "").await, fails("Runtime.ExitError", silent));
    assert!(matches!(f("/decline", "").await, Err((kind, _)) if kind == "Runtime.ResponseError"));
    assert_eq!(invoke(&world, "c", "loop").await, fails("Sandbox.Timedout", timed_out));
    assert_eq!(invoke(&world, "c", "exit 7").await, fails("Runtime.ExitError", &exited("exit status 1")));
    assert_eq!(invoke(&world, "c", "panic").await, fails("Runtime.ExitError", &trap));
    assert!(matches!(invoke(&world, "c", "much").await, Err((kind, _)) if kind == "Function.ResponseSizeTooLarge"));
    assert_eq!(invoke(&world, "c", "{}").await, Ok("{}".to_owned()), "none of them harms another");
    world.memory.wait_for("Status: error\tError Type: Runtime.OutOfMemory").await;
    assert!(world.memory.text().contains("as asked"), "the panic's own words are in the log");
    assert_eq!(world.memory.usage.lock().len(), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_within_the_limits() {
    let world = Arc::new(world());
    let version = function(&world, "f", "http", |_| {}).await;
    world.shelf.put(version, Some(8));
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { invoke(&world, "f", event("/stay", "")).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(150)).await;
    let refused = world.engine.invoke(world.call("f", "{}")).await.expect_err("one too many");
    let reason = "ReservedFunctionConcurrentInvocationLimitExceeded";
    assert_eq!(refused, InvokeError::Throttled { reason });
    for call in calls {
        assert!(call.await.expect("no panic").is_ok());
    }
    assert_eq!(world.memory.usage.lock().len(), 8);
}

fn request(path: &str, body: HttpBody) -> http::Request<HttpBody> {
    http::Request::post(path).header("host", "f.example").body(body).expect("a request")
}

fn whole(text: &'static str) -> HttpBody {
    Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed_unsync()
}

async fn ask(world: &World, path: &str, body: HttpBody) -> engine::Served {
    let call = world.call("f", "");
    let entrance = world.engine.entrance(&call.function).await.expect("routes").expect("takes requests");
    entrance.serve(request(path, body), &call.request_id).await.expect("runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_pass_as_they_come() {
    let world = world();
    // Two hundred megabytes, byte for byte, in the test's profile.
    function(&world, "f", "http", |version| version.timeout_s = 60).await;
    function(&world, "c", "command", |_| {}).await;
    let command = world.call("c", "");
    assert!(world.engine.entrance(&command.function).await.expect("routes").is_none(), "commands take events");

    let response = ask(&world, "/x", whole("body")).await.expect("answers");
    assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), "Method::Post /x\nbody");
    let usage = world.memory.usage.lock().last().cloned().expect("metered before it is answered");
    assert_eq!((usage.bytes_in, usage.bytes_out), (4, 20));

    // A body larger than the instance's memory streams through it.
    let piece = Bytes::from(vec![0; 1 << 20]);
    let frames = futures::stream::iter((0..200).map(move |_| Ok(http_body::Frame::data(piece.clone()))));
    let response = ask(&world, "/count", StreamBody::new(frames).boxed_unsync()).await.expect("answers");
    assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), (200 << 20).to_string());
    assert_eq!(world.memory.usage.lock().last().expect("metered").bytes_in, 200 << 20);

    // The first piece is there before the last is made.
    let mut body = ask(&world, "/stream", whole("")).await.expect("answers").into_body();
    let first = body.frame().await.expect("one").expect("whole").into_data().expect("data");
    assert_eq!((first, world.memory.usage.lock().len()), (Bytes::from_static(b"piece 0\n"), 2));
    assert_eq!(body.collect().await.expect("whole").to_bytes(), "piece 1\npiece 2\n");
    for _ in 0..100 {
        if world.memory.usage.lock().len() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.memory.usage.lock()[2].bytes_out, 24);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_fails_or_is_given_up_is_metered_all_the_same() {
    let world = world();
    function(&world, "f", "http", |version| version.timeout_s = 1).await;
    assert_eq!(ask(&world, "/loop", whole("")).await.expect_err("fails").error_type, "Sandbox.Timedout");
    assert_eq!(ask(&world, "/panic", whole("")).await.expect_err("fails").error_type, "Runtime.ExitError");
    // After the head the body breaks off: nobody takes a part for the whole.
    let broken = ask(&world, "/half", whole("")).await.expect("begins").into_body().collect().await;
    assert!(broken.is_err());
    // Whoever waited goes away: the run goes on to its end.
    let given_up = tokio::time::timeout(Duration::from_millis(100), ask(&world, "/loop", whole(""))).await;
    assert!(given_up.is_err());
    drop(ask(&world, "/stay", whole("")).await.expect("begins"));
    for _ in 0..300 {
        if world.memory.usage.lock().len() == 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let errors: Vec<_> = world.memory.usage.lock().iter().map(|usage| usage.error.clone()).collect();
    let count = |kind: Option<&str>| errors.iter().filter(|error| error.as_deref() == kind).count();
    assert_eq!(
        (count(Some("Sandbox.Timedout")), count(Some("Runtime.ExitError")), count(None)),
        (2, 2, 1),
        "{errors:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_run_is_refused_when_it_is_made_ready() {
    let world = world();
    let refused = async |name: &str, component: Vec<u8>, memory_mb| {
        let code = world.code(&[("bootstrap.wasm", component)]).await;
        let version = Version { code, memory_mb, ..version(name) };
        world.engine.prepare(&version).await.expect_err("refused")
    };
    let core = refused("core", b"\0asm\x01\0\0\0".to_vec(), 128).await;
    assert_eq!(core.code, "InvalidZipFileException");
    assert!(core.message.starts_with("bootstrap.wasm cannot run: it is a core WebAssembly module"), "{core}");
    let large = refused("large", bytes_of("http"), 1).await;
    assert_eq!(large.code, "InvalidConfiguration");
    assert!(large.message.contains("does not start within 1 MB of memory: set MemorySize higher"), "{large}");

    // An executable bootstrap wins, and is no component.
    let code = world.code(&[("bootstrap.wasm", "no matter what"), ("bootstrap", "#!/bin/true")]).await;
    world.engine.prepare(&Version { code, ..version("both") }).await.expect("is ready");
    let good = function(&world, "g", "http", |_| {}).await;
    world.engine.prepare(&good).await.expect("is ready");
    let outcome = world.engine.invoke(world.call("g", "{}")).await.expect("runs");
    assert_eq!(outcome.start, Start::Warm, "it was loaded when it was made ready");
}
