//! A node with many registered functions that rest: what each costs in memory, and what they cost at start-up.

use super::Bench;
use crate::functions::{self, Function};
use crate::line::say;
use crate::load::{self, Connection};
use crate::node::Node;
use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CONNECTIONS: usize = 8;
/// After a start: what is done once is done.
const REST: Duration = Duration::from_secs(2);
const STARTS: usize = 5;

pub async fn run(bench: &Bench) -> Result<()> {
    let many = bench.options.functions;
    let mut node = bench.node("many", &[]).await?;
    let runtime = node.newest_python().await?;
    let zip = functions::package(&[("app.py", "def handler(event, context):\n    return event\n")])?;
    // One function, so that what a runtime brings is there before either measurement.
    Function::new("first", &runtime, zip.clone()).create(node.address).await?;
    let empty_mb = restarted(&mut node).await?.1;
    register(&node, many, &runtime, &zip).await?;
    let mut times = Vec::new();
    let mut full_mb = 0.0;
    for _ in 0..STARTS {
        let (time, mb) = restarted(&mut node).await?;
        times.push(time);
        full_mb = mb;
    }
    times.sort();
    // Below nothing where the functions cost less than two starts differ by.
    let each_kb = (full_mb - empty_mb) * 1024.0 / many as f64;
    let said = format!(
        "{each_kb:.2} KB each ({empty_mb:.1} → {full_mb:.1} MB); ready in {:.0} ms (median of {STARTS})",
        times[STARTS / 2].as_secs_f64() * 1e3
    );
    say(&format!("{many} registered, idle functions"), "none", &said, "≤ 10 KB each, start-up ≤ 1 s");
    Ok(())
}

/// Stops and starts the node: how long that took until it was ready, and what it takes at rest.
async fn restarted(node: &mut Node) -> Result<(Duration, f64)> {
    node.stop()?;
    let time = node.start().await?;
    tokio::time::sleep(REST).await;
    Ok((time, node.memory_mb()?))
}

async fn register(node: &Node, many: usize, runtime: &str, zip: &str) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (next, runtime, zip, address) = (next.clone(), runtime.to_owned(), zip.to_owned(), node.address);
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await?;
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= many {
                        return Ok::<_, anyhow::Error>(());
                    }
                    let function = Function::new(format!("rests-{n}"), &runtime, zip.clone());
                    connection.send(&function.creation()).await.with_context(|| function.name)?;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    // The last ones made are the last to be active.
    let mut connection = load::Connection::open(node.address).await?;
    for n in many.saturating_sub(CONNECTIONS)..many {
        functions::settled(&mut connection, &format!("rests-{n}")).await?;
    }
    Ok(())
}
