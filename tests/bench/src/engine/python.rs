//! Python that imports what handlers import: json and boto3.

use super::Bench;
use crate::functions::{self, Function, invoke};
use crate::line::{Against, Line, Starts, print};
use crate::load::{Connection, Figures};
use crate::node::Node;
use crate::references::Which;
use crate::starts::{cold_starts, gone, right, timed};
use crate::table;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Stays as long as it is asked to and says how long that was.
const SOURCE: &str = "import json, time, boto3\n\
    def handler(event, context):\n    \
        began = time.perf_counter()\n    \
        time.sleep(event.get('hold', 0))\n    \
        return json.loads(json.dumps(time.perf_counter() - began))\n";
const MEMORY_MB: u32 = 256;
/// Starts of the plain interpreter that a reference is taken from.
const PLAIN_STARTS: usize = 8;
/// Calls at once in a burst, more than are kept parked (of two the slower one is one start from the template), and how many
/// bursts.
const BURST_SIZES: [usize; 2] = [2, 8];
const BURSTS: usize = 6;
/// How long each call of a burst stays, so that none is served by an instance that another has left. Not counted.
const HOLD_S: f64 = 0.25;

fn function(name: impl Into<String>, runtime: &str) -> Result<Function> {
    let mut function = Function::new(name, runtime, functions::package(&[("app.py", SOURCE)])?);
    function.memory_mb = MEMORY_MB;
    Ok(function)
}

/// Template present, no instance alive.
pub async fn cold(bench: &Bench) -> Result<()> {
    let node = bench.node("python-cold", &["--idle-seconds", "1"]).await?;
    let python = node.newest_python().await?;
    let function = function("boto3", &python)?;
    function.create(node.address).await?;
    let (figures, starts) = cold_starts(&node, &function, bench.options.samples).await?;
    let plain = plain(bench, &node, &python).await;
    let against = |figures: &Figures| match &plain {
        Ok(plain) => vec![Against::p50("plain python3, same imports", figures, plain)],
        Err(error) => vec![Against::absent("plain python3, same imports", error)],
    };
    let goal = "p50 ≤ 1.5 ms, p99 ≤ 6 ms, ≥ 100 × plain";
    let mut against_all = against(&figures);
    against_all.push(crun(bench, &figures));
    let what = "Python, boto3, no instance alive, one call".to_owned();
    print(&Line { what, starts, connections: 1, figures, against: against_all, goal });

    for size in BURST_SIZES {
        let (figures, starts) = bursts(&node, &function, size).await?;
        let against = against(&figures);
        let what = format!("Python, boto3, no instance alive, bursts of {size}");
        print(&Line { what, starts, connections: size, figures, against, goal: "p50 ≤ 5 ms, p99 ≤ 12 ms" });
    }
    Ok(())
}

async fn bursts(node: &Node, function: &Function, size: usize) -> Result<(Figures, Starts)> {
    let (since, begin, mut latencies) = (table::now_ms(), Instant::now(), Vec::new());
    for _ in 0..BURSTS {
        gone(node).await?;
        let mut connections = Vec::new();
        for _ in 0..size {
            connections.push(Connection::open(node.address).await?);
        }
        let calls = connections.into_iter().map(|mut connection| {
            let call = invoke(&function.name, format!("{{\"hold\":{HOLD_S}}}"));
            tokio::spawn(async move {
                let started = Instant::now();
                let (head, body) = connection.exchange(&call).await?;
                let took = started.elapsed();
                right(&head, &body)?;
                let held = serde_json::from_slice::<f64>(&body)?;
                Ok::<_, anyhow::Error>(took.saturating_sub(Duration::from_secs_f64(held)))
            })
        });
        for call in calls.collect::<Vec<_>>() {
            latencies.push(call.await??);
        }
    }
    Ok((Figures::of(latencies, begin.elapsed()), Starts::of(node, &function.name, since).await?))
}

/// Each call is the first of its function, just deployed, on a node that has run nothing else of the runtime's before.
pub async fn first(bench: &Bench) -> Result<()> {
    let node = bench.node("python-first", &[]).await?;
    let python = node.newest_python().await?;
    let samples = bench.options.samples;
    for n in 0..samples {
        function(format!("first-{n}"), &python)?.create(node.address).await?;
    }
    let mut connection = Connection::open(node.address).await?;
    let (begin, since, mut latencies, mut starts) = (Instant::now(), table::now_ms(), Vec::new(), Vec::new());
    for n in 0..samples {
        let started = Instant::now();
        let (head, body) = connection.exchange(&invoke(&format!("first-{n}"), "{}")).await?;
        latencies.push(started.elapsed());
        right(&head, &body)?;
    }
    let took = begin.elapsed();
    for n in 0..samples {
        starts.push(Starts::of(&node, &format!("first-{n}"), since).await?);
    }
    let figures = Figures::of(latencies, took);
    let against = match plain(bench, &node, &python).await {
        Ok(plain) => Against::p50("plain python3, same imports", &figures, &plain),
        Err(error) => Against::absent("plain python3, same imports", &error),
    };
    let (what, goal) = ("Python, boto3, first call ever of each function".to_owned(), "p50 ≤ 60 ms");
    print(&Line { what, starts: Starts::sum(&starts), connections: 1, figures, against: vec![against], goal });
    Ok(())
}

/// The interpreter that the node has, with the boto3 that it brings, from exec to exit.
async fn plain(bench: &Bench, node: &Node, runtime: &str) -> Result<Figures> {
    bench.references.wanted(Which::Plain)?;
    let program = node.interpreter(runtime).await?;
    let packages = packages(&node.data_dir.join("runtimes"), 0).context("the node has brought no boto3")?;
    timed(PLAIN_STARTS, || {
        let mut command = Command::new(&program);
        command.args(["-c", "import json, boto3"]).env("PYTHONPATH", &packages);
        command
    })
}

/// The directory in which boto3 lies.
fn packages(dir: &std::path::Path, depth: usize) -> Option<PathBuf> {
    if dir.join("boto3/__init__.py").exists() {
        return Some(dir.to_owned());
    }
    let below = std::fs::read_dir(dir).ok()?.flatten().filter(|entry| depth < 4 && entry.path().is_dir());
    below.map(|entry| entry.path()).find_map(|path| packages(&path, depth + 1))
}

/// What isolation alone costs elsewhere.
fn crun(bench: &Bench, figures: &Figures) -> Against {
    let measured = bench.references.crun().and_then(|bundle| {
        let mut n = 0;
        timed(PLAIN_STARTS, || {
            n += 1;
            let mut command = Command::new("crun");
            command.arg("run").arg(format!("wadi-bench-{}-{n}", std::process::id())).current_dir(&bundle);
            command
        })
    });
    match measured {
        Ok(measured) => Against::p50("crun run true", figures, &measured),
        Err(error) => Against::absent("crun run true", &error),
    }
}
