//! Benchmarks: a real node under load, with a floor of the same run. `cargo xtask bench aws | engine | isolation | events | …`.

mod aws;
mod chaos;
mod drill;
mod embedded;
mod engine;
mod events;
mod floor;
mod functions;
mod isolation;
mod keep_alive;
mod line;
mod load;
mod node;
mod processes;
mod references;
mod scenarios;
mod server;
mod starts;
mod table;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "Benchmarks of Wadi: every line has a floor beside it, measured in the same run.")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// The AWS door: invoke, objects, asynchronous events.
    Aws {
        /// The binary under test.
        #[arg(long, default_value = "target/release/wadi")]
        wadi: PathBuf,
        /// Seconds that each line runs.
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
    },
    /// What a start and a call cost, beside references of the same run.
    Engine {
        /// The binary under test.
        #[arg(long, default_value = "target/release/wadi")]
        wadi: PathBuf,
        #[command(flatten)]
        options: engine::Options,
    },
    /// What isolation costs: hardening, tiers, containers, processor shares and networks.
    Isolation {
        /// The binary under test.
        #[arg(long, default_value = "target/release/wadi")]
        wadi: PathBuf,
        #[command(flatten)]
        options: isolation::Options,
    },
    /// Queues, topics, the bus and schedules, beside local servers of the same APIs.
    Events {
        /// The binary under test.
        #[arg(long, default_value = "target/release/wadi")]
        wadi: PathBuf,
        #[command(flatten)]
        options: events::Options,
    },
    /// Instances and launchers killed, code replaced, from zero to many and back: no call is lost.
    Chaos {
        /// The binary under test.
        #[arg(long, default_value = "target/release/wadi")]
        wadi: PathBuf,
        #[command(flatten)]
        options: chaos::Options,
    },
    /// Messages from queue to function to bus to queue, through kills, a full disk and a function that is down: none is lost
    Drill {
        /// The binary under test.
        #[arg(long, default_value = "target/release/wadi")]
        wadi: PathBuf,
        #[command(flatten)]
        options: drill::Options,
    },
    /// What the keep-alive policies hold and what they make calls wait, by simulation.
    KeepAlive(keep_alive::Args),
    /// A bare hyper server that answers `ok`: the ceiling of anything behind HTTP. Used by the other benchmarks.
    Echo,
    /// A bare hyper server that runs a component with wasmtime, a fresh instance for each request, in one thread: what
    /// Wasm behind HTTP costs without a platform. Used by the other benchmarks.
    Embedded { component: PathBuf },
    /// A launcher that isolates programs and hardens nothing, or that just starts them. Used by `isolation`.
    Launcher(isolation::launcher::Args),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Bench::Embedded { component } = &arguments.bench {
        return embedded::serve(component).map_err(|error| anyhow::anyhow!("{error:#}"));
    }
    // It forks, and so has one thread.
    if let Bench::Launcher(args) = &arguments.bench {
        return isolation::launcher::serve(args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match arguments.bench {
        Bench::Aws { wadi, seconds } => runtime.block_on(aws::run(&wadi, seconds)),
        Bench::Engine { wadi, options } => runtime.block_on(engine::run(&wadi, options)),
        Bench::Isolation { wadi, options } => runtime.block_on(isolation::run(&wadi, options)),
        Bench::Events { wadi, options } => runtime.block_on(events::run(&wadi, options)),
        Bench::Chaos { wadi, options } => runtime.block_on(chaos::run(&wadi, options)),
        Bench::Drill { wadi, options } => runtime.block_on(drill::run(&wadi, options)),
        Bench::KeepAlive(args) => {
            keep_alive::run(&args);
            Ok(())
        }
        Bench::Echo => runtime.block_on(floor::serve_echo()),
        Bench::Embedded { .. } | Bench::Launcher(_) => unreachable!("they have gone their own way above"),
    }
}
