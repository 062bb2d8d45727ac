//! `bench engine`: what a start and a call cost, each line with what kind of start it was and a reference of the same run.
//!
//! A scenario starts a node of its own, deploys through the Lambda API, asks the usage API how each call started, and
//! ends all that it started. References come from PATH, from a flag, or, into `target/bench-refs`, from PyPI and npm.

mod bursts;
mod many;
mod nodejs;
mod python;
mod warm;
mod wasm;

use crate::floor::Floor;
use crate::functions::{Function, invoke};
use crate::line::{self, Against, Starts};
use crate::load::{Connection, Figures};
use crate::node::Node;
use crate::references::{References, Which};
use crate::server::Server;
use crate::table;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What can be measured, in the order in which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// A Wasm component: a fresh instance for each request, one connection pinned, and 32
    Wasm,
    /// Python that imports boto3, template present: one call at a time, and bursts
    PythonCold,
    /// Python that imports boto3: the first call ever on this node
    PythonFirst,
    /// Node.js, a small handler and express, no instance alive
    NodeCold,
    /// Calls of living Python and Node.js functions at 8 connections
    Warm,
    /// From zero to many Python instances busy at once
    Burst,
    /// A node with many registered functions that rest
    Many,
}

#[derive(clap::Args)]
pub struct Options {
    /// Some of the scenarios, in a list with commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Some of the references, in a list with commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    refs: Vec<Which>,
    /// Where references are installed
    #[arg(long, default_value = "target/bench-refs")]
    refs_dir: PathBuf,
    /// A component of the wasi:http/proxy world that answers any request at once
    #[arg(long)]
    component: Option<PathBuf>,
    /// wasmtime's command line, if it is not on PATH
    #[arg(long, default_value = "wasmtime")]
    wasmtime: PathBuf,
    /// Seconds that each line of load runs
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Starts that a line of starts is taken from
    #[arg(long, default_value_t = 20)]
    samples: usize,
    /// Instances busy at once in the burst from zero
    #[arg(long, default_value_t = 1000)]
    instances: usize,
    /// Functions registered in `many`
    #[arg(long, default_value_t = 20_000)]
    functions: usize,
}

/// What every scenario has.
struct Bench {
    wadi: PathBuf,
    options: Options,
    references: References,
    /// On a disk, like a node's data directory should be.
    scratch: tempfile::TempDir,
}

/// Longer than any scenario takes on a machine that is worth measuring on.
const SCENARIO_MAX: Duration = Duration::from_secs(1200);
/// From a call's end until its instance has gone, with the idle time of a second.
const GONE_MAX: Duration = Duration::from_secs(30);

pub async fn run(wadi: &Path, options: Options) -> Result<()> {
    let scratch = tempfile::tempdir_in(wadi.parent().unwrap_or(Path::new(".")))?;
    let references = References::new(&options.refs_dir, &options.refs, &options.wasmtime)?;
    println!("machine: {}", table::machine());
    let bench = Bench { wadi: wadi.to_owned(), references, scratch, options };
    line::head();
    let mut failed = Vec::new();
    for scenario in Scenario::value_variants() {
        if !bench.options.only.is_empty() && !bench.options.only.contains(scenario) {
            continue;
        }
        let done = match tokio::time::timeout(SCENARIO_MAX, bench.scenario(*scenario)).await {
            Ok(done) => done,
            Err(_) => Err(anyhow::anyhow!("not done within {} s", SCENARIO_MAX.as_secs())),
        };
        // The others can still be measured.
        if let Err(error) = done {
            line::note(&format!("{scenario:?} failed: {error:#}"));
            failed.push(format!("{scenario:?}"));
        }
    }
    line::note("chaos (`bench chaos`) and the keep-alive replay have figures of their own: docs/performance.md");
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

impl Bench {
    async fn scenario(&self, scenario: Scenario) -> Result<()> {
        match scenario {
            Scenario::Wasm => wasm::run(self).await,
            Scenario::PythonCold => python::cold(self).await,
            Scenario::PythonFirst => python::first(self).await,
            Scenario::NodeCold => nodejs::cold(self).await,
            Scenario::Warm => warm::run(self).await,
            Scenario::Burst => bursts::run(self).await,
            Scenario::Many => many::run(self).await,
        }
    }

    /// A node on a data directory of its own; its log lies beside it while the benchmark runs.
    async fn node(&self, name: &str, flags: &[&str]) -> Result<Node> {
        let mut node = Node::new(&self.wadi, &self.scratch.path().join(name))?;
        node.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        node.log = Some(self.scratch.path().join(format!("{name}.log")));
        node.start().await?;
        Ok(node)
    }

    /// How a line compares with a server of the same run, which ends with this.
    async fn served(&self, name: &str, ours: &Figures, connections: usize, server: Result<Server>) -> Against {
        let measured = async { server?.rate(connections, self.options.seconds).await };
        match measured.await {
            Ok(theirs) => Against::rate(name, ours, &theirs),
            Err(error) => Against::absent(name, &error),
        }
    }

    /// Requests a second of a bare hyper echo at so many connections.
    async fn ceiling(&self, connections: usize) -> Result<Figures> {
        Floor::echo()?.rate(connections, self.options.seconds / 2.0, 16).await
    }
}

/// Calls with no instance alive, one after the other: the last one's has gone each time.
async fn cold_starts(node: &Node, function: &Function, samples: usize) -> Result<(Figures, Starts)> {
    let mut connection = Connection::open(node.address).await?;
    // What is done once per version (templates, caches) is not what this measures.
    connection.send(&invoke(&function.name, "{}")).await?;
    gone(node).await?;
    let since = table::now_ms();
    let (begin, mut latencies) = (Instant::now(), Vec::new());
    for _ in 0..samples {
        let started = Instant::now();
        let (head, body) = connection.exchange(&invoke(&function.name, "{}")).await?;
        latencies.push(started.elapsed());
        right(&head, &body)?;
        gone(node).await?;
    }
    Ok((Figures::of(latencies, begin.elapsed()), Starts::of(node, &function.name, since).await?))
}

/// Waits until no instance is idle, busy or being made. Parked ones and templates stay.
async fn gone(node: &Node) -> Result<()> {
    let begin = Instant::now();
    while node.instances().await? > 0 {
        if begin.elapsed() > GONE_MAX {
            bail!("instances are left {} s after the last call", GONE_MAX.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A call that failed is no figure.
fn right(head: &http::response::Parts, body: &[u8]) -> Result<()> {
    let text = || String::from_utf8_lossy(body).into_owned();
    if !head.status.is_success() || head.headers.contains_key("x-amz-function-error") {
        bail!("the call failed: {} {}", head.status, text());
    }
    Ok(())
}

/// Durations of `times` runs of a program to its end.
fn timed(times: usize, mut command: impl FnMut() -> std::process::Command) -> Result<Figures> {
    let (begin, mut latencies) = (Instant::now(), Vec::new());
    for _ in 0..times {
        let mut command = command();
        let started = Instant::now();
        let done = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
        latencies.push(started.elapsed());
        if !done.status.success() {
            bail!("{:?} failed: {}", command.get_program(), String::from_utf8_lossy(&done.stderr).trim());
        }
    }
    Ok(Figures::of(latencies, begin.elapsed()))
}
