//! The chaos test: functions go from zero instances to many and back, again and again, while instances and the launcher
//! are killed and code is replaced under load. No call may be lost or answered wrongly, and nothing may be left behind.
//!
//! Every answer carries its request's own nonce, request id, a value computed from the nonce, and the number of the code that ran. A
//! call whose instance was killed while it ran must end at once with the documented error; any other error is a loss.

mod census;
mod faults;
mod judge;
mod targets;

use crate::load::Connection;
use crate::node::Node;
use crate::{processes, table};
use anyhow::{Context, Result, bail, ensure};
use census::Census;
pub use faults::mixed;
use faults::{Faults, Plan};
use judge::Judge;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use targets::Target;

#[derive(clap::Args)]
pub struct Options {
    /// Requests in all
    #[arg(long, default_value_t = 10_000)]
    requests: u64,
    /// How often functions go from zero instances to many and back
    #[arg(long, default_value_t = 50)]
    cycles: u64,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 16)]
    connections: u64,
    /// Instances killed in a cycle
    #[arg(long, default_value_t = 6)]
    kills: u64,
    /// From which all is drawn that is left to chance; drawn itself if not said
    #[arg(long, env = "WADI_SEED")]
    seed: Option<u64>,
}

/// A call that takes longer hangs. Longer than the functions' timeout, so that one that ran into it is told apart.
const CALL_MAX: Duration = Duration::from_secs(60);
/// From the last answer to no instance: the idle time of a second, how often it is looked at, and ends.
const ZERO_MAX: Duration = Duration::from_secs(30);
/// Descriptors that the node may have more in the last quarter of the cycles than in the first, each at its fewest: what is
/// kept parked comes and goes.
const DESCRIPTORS_MORE: usize = 40;

pub async fn run(wadi: &Path, options: Options) -> Result<()> {
    ensure!(options.cycles > 0 && options.connections > 0, "at least one cycle and one connection");
    let seed = options.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ table::now_ms());
    println!("chaos: seed {seed}, {} requests in {} cycles", options.requests, options.cycles);
    println!("machine: {}", table::machine());
    let scratch = tempfile::tempdir_in(wadi.parent().unwrap_or(Path::new(".")))?;
    let mut node = Node::new(wadi, &scratch.path().join("data"))?;
    node.flags = ["--idle-seconds", "1", "--account-concurrency", "10000"].map(str::to_owned).to_vec();
    node.log = Some(scratch.path().join("node.log"));
    let done = chaos(&mut node, &options, seed).await;
    if done.is_err() {
        let kept = scratch.keep();
        println!("the node's log and data: {}", kept.display());
    }
    done.with_context(|| format!("seed {seed}"))
}

async fn chaos(node: &mut Node, options: &Options, seed: u64) -> Result<()> {
    node.start().await?;
    let before = Census::take(node)?;
    let targets = targets::create(node).await?;
    let faults = Arc::new(Faults::new(node.pid()?, node.address));
    let judge = Arc::new(Judge::default());
    let mut plan = Plan::new(seed, options.kills);
    let mut held = Vec::new();
    let begin = Instant::now();
    for cycle in 0..options.cycles {
        let first = options.requests * cycle / options.cycles;
        let end = options.requests * (cycle + 1) / options.cycles;
        let faulty = plan.cycle(cycle, first..end, &targets);
        let strikes = tokio::spawn(faults.clone().strike(faulty.receiver));
        burst(node, options.connections, first..end, &targets, &judge, (&faults, faulty.sender)).await?;
        strikes.await??;
        zero(node).await.with_context(|| format!("after cycle {cycle}"))?;
        held.push(processes::descriptors(node.pid()?));
    }
    let took = begin.elapsed();
    let quarter = held.len().div_ceil(4);
    let fewest = |held: &[usize]| held.iter().copied().min().unwrap_or(0);
    let held = (fewest(&held[..quarter]), fewest(&held[held.len() - quarter..]));
    println!("{} in {:.1} s; {}", faults.told(), took.as_secs_f64(), judge.told());
    judge.verdict(&faults, options.connections)?;
    metered(node, &judge).await?;
    node.stop()?;
    ensure!(held.1 <= held.0 + DESCRIPTORS_MORE, "the node's descriptors grew from {} to {}", held.0, held.1);
    before.compare(node, &faults.seen())?;
    println!(
        "left behind: nothing (processes, control groups, mounts, files in sandboxes/; {} → {} descriptors)",
        held.0, held.1
    );
    Ok(())
}

/// Sends requests over all connections until those of this cycle are used up.
async fn burst(
    node: &Node,
    connections: u64,
    requests: std::ops::Range<u64>,
    targets: &Arc<Vec<Target>>,
    judge: &Arc<Judge>,
    (faults, strike): (&Arc<Faults>, faults::Sender),
) -> Result<()> {
    let next = Arc::new(AtomicU64::new(requests.start));
    let workers: Vec<_> = (0..connections)
        .map(|_| {
            let (next, end, address) = (next.clone(), requests.end, node.address);
            let (targets, judge, faults, strike) = (targets.clone(), judge.clone(), faults.clone(), strike.clone());
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await?;
                loop {
                    let nonce = next.fetch_add(1, Ordering::Relaxed);
                    if nonce >= end {
                        return Ok::<_, anyhow::Error>(());
                    }
                    strike.at(nonce);
                    let target = &targets[(nonce % targets.len() as u64) as usize];
                    let sent = target.sent(nonce);
                    let call = target.call(nonce);
                    match tokio::time::timeout(CALL_MAX, connection.exchange(&call)).await {
                        Ok(Ok((head, body))) => judge.answered(&sent, target, &head, &body, &faults),
                        Ok(Err(error)) => {
                            judge.lost(format!("request {nonce}: {error:#}"));
                            connection = Connection::open(address).await?;
                        }
                        Err(_) => {
                            judge.lost(format!("request {nonce}: no answer within {} s", CALL_MAX.as_secs()));
                            connection = Connection::open(address).await?;
                        }
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    Ok(())
}

/// Waits until no instance is left.
async fn zero(node: &Node) -> Result<()> {
    let begin = Instant::now();
    loop {
        let left = node.instances().await?;
        if left == 0 {
            return Ok(());
        }
        if begin.elapsed() > ZERO_MAX {
            bail!("{left} instances are left {} s after the last answer", ZERO_MAX.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Every call that took place was metered once: usage is written a moment behind the answers.
async fn metered(node: &Node, judge: &Judge) -> Result<()> {
    let (runs, failed) = judge.runs();
    let mut counted = (0, 0);
    for _ in 0..100 {
        counted = node.invocations().await?;
        if counted == (runs, failed) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("{runs} runs were answered, {failed} of them with an error, but {counted:?} were metered");
}
