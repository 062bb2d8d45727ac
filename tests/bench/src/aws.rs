//! The AWS door under load: invocations, objects, asynchronous events, memory, start-up.

use crate::floor::{self, Floor};
use crate::functions::{self, Function};
use crate::load::{self, Call, Connection, Figures};
use crate::node::Node;
use crate::table::{self, Row};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use std::path::Path;
use std::time::{Duration, Instant};

const CONNECTIONS: [usize; 3] = [1, 8, 32];
const MEGABYTE: usize = 1 << 20;
const FIRST_INVOKES: usize = 24;

pub async fn run(wadi: &Path, seconds: f64) -> Result<()> {
    // Not in /tmp, which may be memory: durable writes must meet a disk.
    let scratch = tempfile::tempdir_in(wadi.parent().unwrap_or(Path::new(".")))?;
    let mut node = Node::new(wadi, &scratch.path().join("data"))?;
    println!("machine: {}", table::machine());
    node.start().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle_mb = node.memory_mb()?;

    let python = node.newest_python().await?;
    echo_function("echo", &python)?.create(node.address).await?;
    let echo = Floor::echo()?;
    table::head();
    invokes(&node, &echo, &python, seconds).await?;
    objects(&node, &echo, scratch.path(), seconds).await?;
    asynchronous(&node, scratch.path(), seconds).await?;
    let loaded_mb = node.memory_mb()?;
    println!(
        "\nnode and launcher, proportional memory: {idle_mb:.1} MB idle after start, {loaded_mb:.1} MB after the load"
    );
    start_up(&mut node, &python).await
}

/// Warm and first calls of a Python function that echoes its event.
async fn invokes(node: &Node, echo: &Floor, python: &str, seconds: f64) -> Result<()> {
    for connections in CONNECTIONS {
        let bare = echo.rate(connections, seconds / 2.0, 16).await?.per_second;
        let figures = load::run(node.address, connections, seconds, |_, _| invoke("echo", false)).await?;
        print("warm invoke, Python echo", connections, figures, Some(("bare hyper echo", bare)));
    }
    for i in 0..FIRST_INVOKES {
        echo_function(&format!("first-{i}"), python)?.create(node.address).await?;
    }
    let mut connection = Connection::open(node.address).await?;
    let mut latencies = Vec::new();
    let begin = Instant::now();
    for i in 0..FIRST_INVOKES {
        let started = Instant::now();
        connection.send(&invoke(&format!("first-{i}"), false)).await?;
        latencies.push(started.elapsed());
    }
    let plain = plain_python(8)?;
    print(
        "first invoke (no instance alive), Python echo",
        1,
        Figures::of(latencies, begin.elapsed()),
        Some(("plain python start", plain)),
    );
    Ok(())
}

/// Puts and gets of 1 KB and 1 MB.
async fn objects(node: &Node, echo: &Floor, disk: &Path, seconds: f64) -> Result<()> {
    Connection::open(node.address).await?.send(&s3(Method::PUT, "/bench", Bytes::new())).await?;
    for (what, bytes) in [("1 KB", 1024), ("1 MB", MEGABYTE)] {
        let body = Bytes::from(vec![b'x'; bytes]);
        // The node closes connections that rest longer than the lines of one size take.
        let mut connection = Connection::open(node.address).await?;
        connection.send(&s3(Method::PUT, &format!("/bench/get-{bytes}"), body.clone())).await?;
        for connections in CONNECTIONS {
            let floor = if bytes == 1024 {
                ("SQLite group commit", floor::group_commit(disk, connections, seconds / 2.0, bytes).await?.per_second)
            } else {
                let disk = disk.to_owned();
                let writers =
                    tokio::task::spawn_blocking(move || floor::synced_files(&disk, connections, seconds / 2.0, bytes));
                ("synced files", writers.await??.per_second)
            };
            let body = body.clone();
            let figures = load::run(node.address, connections, seconds, move |c, n| {
                s3(Method::PUT, &format!("/bench/{bytes}/{c}/{n}"), body.clone())
            });
            print(&format!("put {what}"), connections, figures.await?, Some(floor));
        }
        for connections in CONNECTIONS {
            let bare =
                echo.rate(connections, seconds / 2.0, if bytes == 1024 { 1024 } else { MEGABYTE }).await?.per_second;
            let figures = load::run(node.address, connections, seconds, move |_, _| {
                s3(Method::GET, &format!("/bench/get-{bytes}"), Bytes::new())
            });
            print(&format!("get {what}"), connections, figures.await?, Some(("bare hyper echo", bare)));
        }
    }
    Ok(())
}

/// Events accepted (202 after the commit) and then drained.
async fn asynchronous(node: &Node, disk: &Path, seconds: f64) -> Result<()> {
    let mut accepted = 0u64;
    let before = node.invocations().await?.0;
    let begin = Instant::now();
    for connections in CONNECTIONS {
        let floor = floor::group_commit(disk, connections, seconds / 2.0, 512).await?.per_second;
        let figures = load::run(node.address, connections, seconds / 2.0, |_, _| invoke("echo", true)).await?;
        accepted += (figures.per_second * seconds / 2.0) as u64;
        print("asynchronous events accepted", connections, figures, Some(("SQLite group commit", floor)));
    }
    let waiting = Instant::now();
    let at_rest = node.invocations().await?.0 - before;
    loop {
        let done = node.invocations().await?.0 - before;
        if done >= accepted * 99 / 100 {
            let rate = (done - at_rest) as f64 / waiting.elapsed().as_secs_f64();
            println!(
                "\nasynchronous events drained: {done} in {:.1} s; {rate:.0} per s once nothing more came in",
                begin.elapsed().as_secs_f64()
            );
            return Ok(());
        }
        if waiting.elapsed() > Duration::from_secs(300) {
            bail!("only {done} of {accepted} events were run within 300 s");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Restart on a data directory with 1,000 functions.
async fn start_up(node: &mut Node, python: &str) -> Result<()> {
    let mut connection = Connection::open(node.address).await?;
    for i in 0..1000 {
        let creation = echo_function(&format!("many-{i}"), python)?.creation();
        connection.send(&creation).await.with_context(|| format!("function {i}"))?;
    }
    for i in 0..1000 {
        functions::settled(&mut connection, &format!("many-{i}")).await?;
    }
    let mut times = Vec::new();
    for _ in 0..5 {
        node.stop()?;
        times.push(node.start().await?);
    }
    times.sort();
    println!(
        "ready on a data directory with 1,000 functions: median {:.0} ms of 5 starts",
        times[2].as_secs_f64() * 1e3
    );
    Ok(())
}

fn print(what: &str, connections: usize, figures: Figures, floor: Option<(&'static str, f64)>) {
    table::print(&Row { what: what.to_owned(), connections, figures, floor });
}

const ECHO: &str = "def handler(event, context):\n    return event\n";

fn invoke(name: &str, event: bool) -> Call {
    let mut call = functions::invoke(name, "{\"hello\":\"wadi\"}");
    if event {
        call.headers.push(("x-amz-invocation-type", "Event".into()));
    }
    call
}

fn s3(method: Method, path: &str, body: Bytes) -> Call {
    Call::new(method, path, "s3", body)
}

fn echo_function(name: &str, runtime: &str) -> Result<Function> {
    Ok(Function::new(name, runtime, functions::package(&[("app.py", ECHO)])?))
}

/// Starts of `python3 -c pass` a second, one after the other.
fn plain_python(times: u32) -> Result<f64> {
    let begin = Instant::now();
    for _ in 0..times {
        std::process::Command::new("python3").args(["-c", "import json"]).status()?;
    }
    Ok(f64::from(times) / begin.elapsed().as_secs_f64())
}
