//! From zero to many isolated Python instances that are busy at the same moment.

use super::Bench;
use crate::functions::{self, Function, invoke};
use crate::line::{Starts, say};
use crate::load::Connection;
use crate::node::Node;
use crate::starts::{gone, right};
use crate::{processes, table};
use anyhow::{Context, Result};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Every call says when it began and stays until this much after the burst began: long enough for all to be there at once on a
/// machine that can bear them, short enough to end on one that cannot.
const HOLD: Duration = Duration::from_secs(40);
/// Beyond the hold: for calls that waited for a place.
const GRACE: Duration = Duration::from_secs(60);

const SOURCE: &str = "import time\n\
    def handler(event, context):\n    \
        began = time.time()\n    \
        time.sleep(max(0, event.get('until', 0) - began))\n    \
        return began\n";

pub async fn run(bench: &Bench) -> Result<()> {
    let wanted = bench.options.instances;
    let concurrency = (wanted + 100).to_string();
    let node = bench.node("burst", &["--idle-seconds", "1", "--account-concurrency", &concurrency]).await?;
    let python = node.newest_python().await?;
    let mut function = Function::new("busy", &python, functions::package(&[("app.py", SOURCE)])?);
    function.timeout_s = (HOLD + GRACE).as_secs() as u32;
    function.create(node.address).await?;
    Connection::open(node.address).await?.send(&invoke("busy", "{}")).await?;
    gone(&node).await?;
    // What is there without an instance: the template, its parked child, the launcher.
    let before_kb = below_kb(&node)?;

    let mut connections = Vec::new();
    for _ in 0..wanted {
        connections.push(Connection::open(node.address).await?);
    }
    let (since, began) = (table::now_ms(), Instant::now());
    let payload = format!("{{\"until\":{}}}", since as f64 / 1000.0 + HOLD.as_secs_f64());
    let calls: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            let call = invoke("busy", payload.clone());
            tokio::spawn(async move {
                let (head, body) = connection.exchange(&call).await?;
                right(&head, &body)?;
                let began: Value = serde_json::from_slice(&body)?;
                began.as_f64().context("a time")
            })
        })
        .collect();
    let (busy, after_kb) = most_busy(&node, wanted, began).await?;
    let (mut starts, mut failures) = (Vec::new(), Vec::new());
    for call in calls {
        match call.await? {
            Ok(began) => starts.push(began - since as f64 / 1000.0),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    starts.sort_by(f64::total_cmp);
    let each_kb = after_kb.saturating_sub(before_kb) / busy.max(1) as u64;
    let at =
        |quantile: f64| starts.get(((starts.len() as f64 * quantile) as usize).min(starts.len().saturating_sub(1)));
    let time = |s: Option<&f64>| s.map_or("–".into(), |s| format!("{s:.2} s"));
    let said = format!(
        "{busy} busy at once; half after {}, all {} that ran after {}; {} failed{}; {:.2} MB each beyond the template",
        time(at(0.5)),
        starts.len(),
        time(at(1.0)),
        failures.len(),
        failures.first().map(|why| format!(" ({})", why.chars().take(100).collect::<String>())).unwrap_or_default(),
        each_kb as f64 / 1024.0
    );
    let kinds = Starts::of(&node, "busy", since).await?;
    say(&format!("0 → {wanted} Python instances"), &kinds.text(), &said, "≤ 4 s, no failure, ≤ 2 MB each");
    Ok(())
}

/// Watches until as many as wanted are busy, or the hold is nearly over; then what all of them take.
async fn most_busy(node: &Node, wanted: usize, began: Instant) -> Result<(usize, u64)> {
    loop {
        let activity = node.ask("/_wadi/api/activity").await?;
        let busy =
            activity["Functions"].as_array().into_iter().flatten().filter_map(|f| f["Busy"].as_u64()).sum::<u64>();
        if busy as usize >= wanted || began.elapsed() > HOLD * 3 / 4 {
            return Ok((busy as usize, below_kb(node)?));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Proportional memory of all below the launcher.
fn below_kb(node: &Node) -> Result<u64> {
    let launcher = processes::launcher(node.pid()?).context("the node has a launcher")?;
    Ok(processes::descendants(launcher).iter().filter_map(|process| processes::pss_kb(process.pid)).sum())
}
