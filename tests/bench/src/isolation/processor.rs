//! Shares of a core as weights and as quotas: what they cost short calls, what calls of known work get, and how a neighbour fares.

use super::{Bench, programs};
use crate::functions::{self, Function, invoke};
use crate::line::{Against, Line, Starts, print, say};
use crate::load::{self, Connection, Figures};
use crate::node::Node;
use crate::starts::{Subject, right};
use anyhow::{Context, Result};
use serde_json::Value;

/// AWS gives a whole core at the last of these.
const SIZES_MB: [u32; 3] = [128, 512, 1769];
const SETTINGS: [&str; 2] = ["weight", "quota"];
/// Loops of so many rounds, or for so many seconds; says how long that was, by the clock and of the processor.
const WORK: &str = "import time\n\
    def handler(event, context):\n    \
        wall, cpu, n = time.perf_counter(), time.process_time(), 0\n    \
        end = wall + event.get('seconds', 0)\n    \
        for n in range(event.get('rounds', 0)): pass\n    \
        while time.perf_counter() < end: pass\n    \
        return [time.perf_counter() - wall, time.process_time() - cpu]\n";
/// Of the processor.
const WORK_S: f64 = 0.3;
const ROUNDS: u64 = 2_000_000;
const CALLS: usize = 3;
/// Calls that keep the machine's cores busy beside the neighbour.
const BUSY: usize = 4;

pub async fn run(bench: &Bench) -> Result<()> {
    let mut nodes = Vec::new();
    for setting in SETTINGS {
        let config = bench.scratch.path().join(format!("{setting}.toml"));
        std::fs::write(&config, format!("[limits]\ncpu = \"{setting}\"\n"))?;
        let config = config.to_str().context("a path in UTF-8")?;
        nodes.push(bench.node(&format!("cpu-{setting}"), &["--config", config]).await?);
    }
    let python = nodes[0].newest_python().await?;
    for memory_mb in SIZES_MB {
        let mut subjects = Vec::new();
        for (node, setting) in nodes.iter().zip(SETTINGS) {
            let function = programs::python_function(format!("echo-{memory_mb}"), &python, memory_mb)?;
            function.create(node.address).await?;
            let name = format!("Python of {memory_mb} MB, cpu = {setting}");
            subjects.push((name, Subject { node, name: function.name }));
        }
        bench.compare(subjects, ["", ""]).await?;
    }
    for (node, setting) in nodes.iter().zip(SETTINGS) {
        shares(node, setting, &python).await?;
        neighbour(bench, node, setting, &python).await?;
    }
    Ok(())
}

fn work(name: String, runtime: &str, memory_mb: u32) -> Result<Function> {
    let mut function = Function::new(name, runtime, functions::package(&[("app.py", WORK)])?);
    (function.memory_mb, function.timeout_s) = (memory_mb, 60);
    Ok(function)
}

/// The same work on each size: what of a core it got.
async fn shares(node: &Node, setting: &str, python: &str) -> Result<()> {
    let whole = *SIZES_MB.last().context("sizes")?;
    for memory_mb in SIZES_MB {
        work(format!("work-{memory_mb}"), python, memory_mb)?.create(node.address).await?;
    }
    let (_, cpu) = worked(node, whole, ROUNDS).await?;
    let rounds = (ROUNDS as f64 * WORK_S / cpu) as u64;
    for memory_mb in SIZES_MB {
        let mut all = Vec::new();
        for _ in 0..CALLS {
            all.push(worked(node, memory_mb, rounds).await?);
        }
        let (wall, cpu) = all.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let (share, promised) = (cpu / wall, f64::from(memory_mb) / f64::from(whole));
        let each = |sum: f64| sum / CALLS as f64;
        let mut said = format!("{:.2} s for {:.2} s of processor time: {share:.3} of a core", each(wall), each(cpu));
        let mut goal = "";
        if setting == "quota" {
            goal = "within 5 % of the proportion";
            let beside = (share / promised - 1.0) * 100.0;
            said += &format!(", of {promised:.3} in proportion to memory ({beside:+.1} %)");
        }
        say(&format!("known work, Python of {memory_mb} MB, cpu = {setting}"), "", &said, goal);
    }
    Ok(())
}

/// Seconds by the clock and of the processor.
async fn worked(node: &Node, memory_mb: u32, rounds: u64) -> Result<(f64, f64)> {
    let payload = format!("{{\"rounds\":{rounds}}}");
    spent(node, &format!("work-{memory_mb}"), payload).await
}

async fn spent(node: &Node, function: &str, payload: String) -> Result<(f64, f64)> {
    let mut connection = Connection::open(node.address).await?;
    let (head, body) = connection.exchange(&invoke(function, payload)).await?;
    right(&head, &body)?;
    let spent: Value = serde_json::from_slice(&body)?;
    Ok((spent[0].as_f64().context("a time")?, spent[1].as_f64().context("a time")?))
}

/// Warm calls beside functions that loop on every core, and alone.
async fn neighbour(bench: &Bench, node: &Node, setting: &str, python: &str) -> Result<()> {
    programs::python_function("neighbour", python, 256)?.create(node.address).await?;
    let seconds = bench.options.seconds;
    let call = |_, _| invoke("neighbour", "{}");
    load::run(node.address, 1, 0.3, call).await?;
    let alone = load::run(node.address, 1, seconds, call).await?;
    let payload = format!("{{\"seconds\":{}}}", seconds + 1.0);
    let looping = loops(node, &payload);
    let waited = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        load::run(node.address, 1, seconds, call).await
    };
    let (beside, looped) = tokio::join!(waited, looping);
    let (beside, looped): (Figures, f64) = (beside?, looped?);
    let what = format!("warm, Python of 256 MB beside {BUSY} of 128 MB that loop, cpu = {setting}");
    let ratio = format!("{:.1} × as long; each loop had {looped:.3} of a core", beside.ms(0.5) / alone.ms(0.5));
    let against = vec![Against::said("alone", &alone, ratio)];
    print(&Line { what, starts: Starts::none(), connections: 1, figures: beside, against, goal: "" });
    Ok(())
}

/// Several calls at once that loop; what of a core each got.
async fn loops(node: &Node, payload: &str) -> Result<f64> {
    let one = || spent(node, "work-128", payload.to_owned());
    let all: [_; BUSY] = tokio::join!(one(), one(), one(), one()).into();
    let mut share = 0.0;
    for spent in all {
        let (wall, cpu) = spent?;
        share += cpu / wall / BUSY as f64;
    }
    Ok(share)
}
