//! Components as users build them: what they are given, how they end, and what is not taken.

mod guest;

use base::network::Policy;
use bytes::Bytes;
use futures::future::BoxFuture;
use guest::{COMPILER, built, bytes_of};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use sandbox::{Beyond, Component, ComponentError, ComponentRun, Components, Fault, HttpBody, Inside, Output, World};
use sandbox_wasm::{Config, Wasm};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// One driver for all tests: its pool is large.
static DRIVER: LazyLock<(Wasm, tempfile::TempDir)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    (Wasm::new(Config::new(COMPILER, dir.path().join("components"))), dir)
});

async fn http() -> Arc<dyn Component> {
    DRIVER.0.load(&built("http")).await.expect("loads")
}

async fn command() -> Arc<dyn Component> {
    DRIVER.0.load(&built("command")).await.expect("loads")
}

#[derive(Default)]
struct Heard(Mutex<Vec<u8>>);

impl Heard {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }
}

impl Output for Heard {
    fn write(&self, bytes: &[u8]) {
        self.0.lock().extend_from_slice(bytes);
    }

    fn has_room(&self) -> bool {
        true
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn run() -> (ComponentRun, Arc<Heard>) {
    let heard = Arc::<Heard>::default();
    let run = ComponentRun {
        env: [("STAGE".to_owned(), "test".to_owned())].into(),
        env_more: vec![("ONCE".to_owned(), "more".to_owned())],
        memory_bytes: 64 << 20,
        memory_peak: Arc::<AtomicUsize>::default(),
        network_bytes: Arc::default(),
        task: None,
        platform: Some(Inside { port: 4566, gate: None }),
        beyond: Beyond::Policy(Arc::new(Policy::PLATFORM)),
        output: heard.clone(),
    };
    (run, heard)
}

fn request(path: &str, body: &'static str) -> http::Request<HttpBody> {
    let body = Full::new(Bytes::from_static(body.as_bytes())).map_err(|never| match never {}).boxed_unsync();
    http::Request::post(path).header("host", "f.example").body(body).expect("a request")
}

/// Status, body and end of one request with its answer awaited whole.
async fn ask_with(
    run: ComponentRun,
    path: &str,
    body: &'static str,
) -> (Option<(u16, Option<String>)>, Result<(), Fault>) {
    let (head, answered) = oneshot::channel();
    let guest = tokio::spawn(http().await.serve(run, request(path, body), head));
    let response = match answered.await {
        Ok(response) => {
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.ok();
            Some((status, body.map(|b| String::from_utf8(b.to_bytes().to_vec()).expect("text"))))
        }
        Err(_) => None,
    };
    (response, guest.await.expect("no panic of ours"))
}

async fn ask(path: &str, body: &'static str) -> (Option<(u16, Option<String>)>, Result<(), Fault>) {
    ask_with(run().0, path, body).await
}

fn answered(status: u16, text: &str) -> (Option<(u16, Option<String>)>, Result<(), Fault>) {
    (Some((status, Some(text.to_owned()))), Ok(()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_answered_in_a_fresh_instance_with_what_it_is_given() {
    assert_eq!((http().await.world(), command().await.world()), (World::Http, World::Command));
    assert_eq!(ask("/a/b", "hello").await, answered(200, "Method::Post /a/b\nhello"));
    assert_eq!(ask("/env?STAGE", "").await, answered(200, "test"));
    assert_eq!(ask("/env?ONCE", "").await, answered(200, "more"));
    assert_eq!(ask("/env?PATH", "").await, answered(200, ""), "nothing of the node's own environment");
    let (run, heard) = run();
    let peak = run.memory_peak.clone();
    assert_eq!(ask_with(run, "/log", "").await, answered(200, "ok"));
    assert_eq!(heard.text(), "said\ncomplained");
    assert!((1 << 20..8 << 20).contains(&peak.load(Ordering::Relaxed)), "{peak:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_is_there_before_the_guest_is_done() {
    let (run, heard) = run();
    let (head, answered) = oneshot::channel();
    let mut guest = tokio::spawn(http().await.serve(run, request("/stay", ""), head));
    let body = answered.await.expect("a response").into_body();
    assert_eq!(body.collect().await.expect("whole").to_bytes(), "first\n");
    assert!(tokio::time::timeout(Duration::ZERO, &mut guest).await.is_err(), "it goes on");
    assert_eq!(guest.await.expect("no panic"), Ok(()));
    assert_eq!(heard.text(), "stayed\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_guest_does_ends_its_own_run_alone() {
    let (run, heard) = run();
    let trapped = |what: &str| (None, Err(Fault::Trap(what.to_owned())));
    assert_eq!(ask_with(run, "/panic", "").await, trapped("wasm trap: wasm `unreachable` instruction executed"));
    assert!(heard.text().contains("as asked"), "{}", heard.text());
    assert_eq!(ask("/overflow", "").await, trapped("wasm trap: call stack exhausted"));
    assert_eq!(ask("/grow", "").await, (None, Err(Fault::OutOfMemory)));
    assert_eq!(ask("/silent", "").await, (None, Ok(())));
    let (response, ended) = ask("/decline", "").await;
    assert!(
        response.is_none() && matches!(&ended, Err(Fault::Declined(what)) if what.contains("as asked")),
        "{ended:?}"
    );
    let (response, ended) = ask("/half", "").await;
    assert!(matches!(ended, Err(Fault::Trap(_))), "{ended:?}");
    assert!(response.is_some_and(|(status, body)| status == 200 && body.is_none_or(|b| b == "half")));
    assert_eq!(ask("/", "still").await, answered(200, "Method::Post /\nstill"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_loops_leave_room_for_others_and_can_be_given_up() {
    let component = http().await;
    let looping: Vec<_> = (0..4)
        .map(|_| {
            let (head, _) = oneshot::channel();
            tokio::spawn(component.serve(run().0, request("/loop", ""), head))
        })
        .collect();
    for _ in 0..20 {
        let asked = tokio::time::timeout(Duration::from_secs(5), ask("/", "x")).await.expect("in time");
        assert_eq!(asked, answered(200, "Method::Post /\nx"));
    }
    looping.iter().for_each(|task| task.abort());
    let given_up = Instant::now();
    for task in looping {
        assert!(task.await.expect_err("it was given up").is_cancelled());
    }
    assert!(given_up.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_reach_the_platform_and_nothing_else() {
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = gate.local_addr().expect("an address");
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = gate.accept().await {
            let mut head = vec![0; 4096];
            let n = stream.read(&mut head).await.expect("reads");
            let host = String::from_utf8_lossy(&head[..n]).to_lowercase().contains("host: localhost:4566");
            let status = if host { "204 No Content" } else { "400 Bad Request" };
            stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.expect("writes");
        }
    });
    let inside = Some(Inside { port: 4566, gate: Some(address) });
    let platform = || ComponentRun { platform: inside, ..run().0 };
    assert_eq!(ask_with(platform(), "/fetch?localhost:4566/x", "").await, answered(200, "204"));
    let elsewhere = format!("/fetch?{address}/x");
    let (refused, _) = ask_with(platform(), &elsewhere, "").await;
    let refused = refused.and_then(|(_, body)| body).expect("an answer");
    assert!(refused.contains("HttpRequestDenied"), "{refused}");
    let beyond = |beyond| ComponentRun { beyond, ..run().0 };
    assert_eq!(ask_with(beyond(Beyond::Host), &elsewhere, "").await, answered(200, "400"));
    // Listed with its port it is reached; the internet is not this host; no policy leads to what it does not name.
    let list = |text: &str| Policy { allow: vec![text.parse().expect("listed")], ..Policy::NONE };
    let listed = list(&format!("127.0.0.1 tcp {}", address.port()));
    for (policy, reached) in [(listed, true), (Policy::INTERNET, false), (list("127.0.0.1 tcp 1"), false)] {
        let asking = beyond(Beyond::Policy(Arc::new(policy.clone())));
        let carried = asking.network_bytes.clone();
        let (answer, _) = ask_with(asking, &elsewhere, "").await;
        let carried = carried.load(Ordering::Relaxed);
        assert_eq!((carried > 60, carried > 0), (reached, reached), "what went over the network is counted: {carried}");
        let said = answer.and_then(|(_, body)| body).expect("an answer");
        assert_eq!((said == "400", said.contains("HttpRequestDenied")), (reached, !reached), "{policy:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sockets_carry_is_counted() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    let tcp = listener.local_addr().expect("an address");
    let udp = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.read_exact(&mut [0; 1000]).await.expect("reads");
            stream.write_all(&[b'y'; 20_000]).await.expect("writes");
        }
    });
    tokio::spawn(async move {
        while let Ok((300, from)) = socket.recv_from(&mut [0; 4096]).await {
            socket.send_to(&[b'y'; 700], from).await.expect("sends");
        }
    });
    for (path, allow, back, counted) in [
        (format!("/tcp?{tcp}"), format!("127.0.0.1 tcp {}", tcp.port()), "20000", 21_000),
        (format!("/udp?{udp}"), format!("127.0.0.1 udp {}", udp.port()), "700", 1000),
    ] {
        let policy = Policy { allow: vec![allow.parse().expect("listed")], ..Policy::NONE };
        for (beyond, counted) in [(Beyond::Policy(Arc::new(policy)), counted), (Beyond::Host, 0)] {
            let asking = ComponentRun { beyond, ..run().0 };
            let carried = asking.network_bytes.clone();
            assert_eq!(ask_with(asking, &path, "").await, answered(200, back), "{path}");
            assert_eq!(carried.load(Ordering::Relaxed), counted, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_read_and_write() {
    let carry_out = |run: ComponentRun, input: &'static str| async move {
        let (ended, output) = command().await.command(run, Bytes::from_static(input.as_bytes()), 4 << 20).await;
        (ended, String::from_utf8(output.to_vec()).expect("text"))
    };
    let (first, heard) = run();
    assert_eq!(carry_out(first, r#"{"a": 1}"#).await, (Ok(()), r#"{"a": 1}"#.to_owned()));
    assert_eq!(heard.text(), "heard 8\n");
    // WASI 0.2 knows success and failure, no numbers.
    assert_eq!(carry_out(run().0, "exit 7").await.0, Err(Fault::Exit(1)));
    assert_eq!(carry_out(run().0, "exit 0").await.0, Ok(()));
    assert!(matches!(carry_out(run().0, "panic").await.0, Err(Fault::Trap(_))));
    assert_eq!(carry_out(run().0, "much").await, (Err(Fault::OutputTooLarge), String::new()));
    assert_ne!(carry_out(run().0, "ls /").await.1, "etc", "there is no file system");
    let task = tempfile::tempdir().expect("a directory");
    std::fs::write(task.path().join("data.txt"), "x").expect("writes");
    let with_task = ComponentRun { task: Some(Arc::new(PathBuf::from(task.path()))), ..run().0 };
    assert_eq!(carry_out(with_task, "ls /var/task").await.1, "data.txt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_little_memory_shows_in_a_rehearsal() {
    assert_eq!(http().await.rehearse(run().0).await, Ok(()));
    let small = ComponentRun { memory_bytes: 128 << 10, ..run().0 };
    assert_eq!(http().await.rehearse(small).await, Err(Fault::OutOfMemory));
}

/// What is said of a component that is refused.
async fn refused(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("writes");
    match DRIVER.0.compiled(file.path()).await {
        Err(ComponentError::Refused(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[tokio::test]
async fn what_is_no_component_is_called_by_its_name() {
    assert!(refused(b"#!/bin/sh\n").await.starts_with("it is not WebAssembly: build it for wasm32-wasip2"));
    assert!(refused(b"").await.starts_with("it is not WebAssembly"));
    let core = refused(b"\0asm\x01\0\0\0").await;
    assert!(core.contains("a core WebAssembly module") && core.contains("wasm-tools component new"), "{core}");
    let empty = refused(b"\0asm\x0d\0\x01\0").await;
    assert!(empty.contains("exports nothing") && empty.contains("wasi:cli/run@0.2"), "{empty}");
    let mut cut = bytes_of("http");
    cut.truncate(cut.len() / 2);
    assert!(refused(&cut).await.starts_with("it is not a valid component: "));
    let mut large = b"\0asm\x0d\0\x01\0".to_vec();
    large.resize(65 << 20, 0);
    assert!(refused(&large).await.contains("64 MB is the most"));
}

/// A driver of its own on this directory.
fn driver_at(dir: &std::path::Path) -> Wasm {
    Wasm::new(Config { instances_max: 4, ..Config::new(COMPILER, dir) })
}

#[tokio::test]
async fn compiled_once_and_never_trusted_when_damaged() {
    let dir = tempfile::tempdir().expect("a directory");
    let code = || {
        let items = std::fs::read_dir(dir.path()).expect("reads").flatten().map(|item| item.path());
        let code: Vec<PathBuf> = items.filter(|path| path.extension().is_some_and(|e| e == "cwasm")).collect();
        assert_eq!(code.len(), 1, "{code:?}");
        code[0].clone()
    };
    let inode = |path: &PathBuf| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).expect("is there"));
    driver_at(dir.path()).load(&built("command")).await.expect("compiles");
    let first = code();
    let before = inode(&first);
    driver_at(dir.path()).load(&built("command")).await.expect("loads");
    assert_eq!(inode(&first), before, "it was compiled again");

    // Damage: another file under the name, as a mapped one must not be written to.
    let mut bytes = std::fs::read(&first).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xcc);
    std::fs::remove_file(&first).expect("removes");
    std::fs::write(&first, bytes).expect("writes");
    let damaged = inode(&first);
    driver_at(dir.path()).load(&built("command")).await.expect("compiles again");
    assert_ne!(inode(&code()), damaged, "the damaged file is still there");

    // What another engine left is removed.
    let foreign = dir.path().join(format!("{}-{}.cwasm", "0".repeat(64), "1".repeat(32)));
    std::fs::write(&foreign, "x").expect("writes");
    driver_at(dir.path()).load(&built("command")).await.expect("loads");
    assert!(!foreign.exists());
}
