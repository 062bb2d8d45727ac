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
use crate::line::{self, Against};
use crate::load::Figures;
use crate::node::Node;
use crate::references::{References, Which};
use crate::scenarios;
use crate::server::Server;
use crate::table;
use anyhow::Result;
use clap::ValueEnum;
use std::path::{Path, PathBuf};

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

pub async fn run(wadi: &Path, options: Options) -> Result<()> {
    let scratch = tempfile::tempdir_in(wadi.parent().unwrap_or(Path::new(".")))?;
    let references = References::new(&options.refs_dir, &options.refs, &options.wasmtime)?;
    println!("machine: {}", table::machine());
    let bench = Bench { wadi: wadi.to_owned(), references, scratch, options };
    line::head();
    let done = scenarios::each(&bench.options.only, async |scenario| bench.scenario(scenario).await).await;
    line::note("chaos (`bench chaos`) and the keep-alive replay have figures of their own: docs/performance.md");
    done
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

    /// A node on a data directory of its own.
    async fn node(&self, name: &str, flags: &[&str]) -> Result<Node> {
        let mut node = Node::below(&self.wadi, self.scratch.path(), name)?;
        node.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
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
