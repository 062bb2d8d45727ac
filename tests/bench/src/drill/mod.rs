//! The drill: many messages go queue → function → bus → queue while the node is killed every few seconds, its disk is full for
//! a while, and the function fails for a minute. Everything that was acknowledged has to come out at the other end.

mod disk;
mod ledger;
mod traffic;

use crate::events::client::{ask, bus, depth, enabled_mapping, queue, sqs};
use crate::functions::{self, Function};
use crate::load::Connection;
use crate::node::Node;
use crate::table;
use anyhow::{Context, Result, ensure};
use disk::Disk;
use ledger::Ledger;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use traffic::{Client, Refusal};

#[derive(clap::Args)]
pub struct Options {
    /// Messages in all
    #[arg(long, default_value_t = 200_000)]
    messages: usize,
    /// The node is killed after so many seconds, again and again; each time they are drawn anew between a half and one and a
    /// half of this
    #[arg(long, default_value_t = 5.0)]
    kill_seconds: f64,
    /// For so long the disk is full
    #[arg(long, default_value_t = 20.0)]
    full_seconds: f64,
    /// For so long the function fails
    #[arg(long, default_value_t = 60.0)]
    down_seconds: f64,
    /// The disk's size
    #[arg(long, default_value_t = 1024)]
    disk_mb: u64,
    /// Where the disk's file and its mount are made; beside the binary if not said
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// From which times are drawn; drawn itself if not said
    #[arg(long, env = "WADI_SEED")]
    seed: Option<u64>,
}

/// Without anything new at the end for so long, what is missing is lost.
const SILENCE_MAX: Duration = Duration::from_secs(180);
/// Visible again so soon after an instance took a message and died.
const VISIBILITY_S: u32 = 6;

/// Larger than what is left in a file that has been written already.
const PROBE_BYTES: usize = 200_000;
const ROOM_AGAIN_MAX: Duration = Duration::from_secs(30);

const RELAY: &str = "
import boto3, json, os
events = boto3.client('events')
def handler(event, context):
    if os.environ.get('DOWN'):
        raise RuntimeError('down')
    entries = [{'Source': 'drill', 'DetailType': 'relayed', 'Detail': r['body']} for r in event['Records']]
    answer = events.put_events(Entries=entries)
    if answer['FailedEntryCount']:
        raise RuntimeError(json.dumps(answer['Entries']))
";

pub async fn run(wadi: &Path, options: Options) -> Result<()> {
    let seed = options.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ table::now_ms());
    println!("drill: seed {seed}, {} messages", options.messages);
    println!("machine: {}", table::machine());
    let beside = options.scratch.as_deref().or(wadi.parent()).unwrap_or(Path::new("."));
    let scratch = tempfile::tempdir_in(beside)?;
    let disk = Disk::mount(scratch.path(), options.disk_mb)?;
    let mut node = Node::new(wadi, &disk.path().join("data"))?;
    node.log = Some(scratch.path().join("node.log"));
    node.start().await?;
    let done = drill(&mut node, &disk, &options, seed).await;
    let stopped = node.stop();
    if done.is_err() {
        let log = wadi.with_file_name("drill.log");
        std::fs::copy(scratch.path().join("node.log"), &log)?;
        println!("the node's log: {}", log.display());
    }
    done.and(stopped).with_context(|| format!("seed {seed}"))
}

async fn drill(node: &mut Node, disk: &Disk, options: &Options, seed: u64) -> Result<()> {
    let to = node.address;
    let mut relay = Function::new("relay", &node.newest_python().await?, functions::package(&[("app.py", RELAY)])?);
    relay.memory_mb = 256;
    relay.timeout_s = VISIBILITY_S;
    relay.create(to).await?;
    let (first, last) = (queue(to, "in").await?, queue(to, "out").await?);
    let visible = json!({"QueueUrl": first.url, "Attributes": {"VisibilityTimeout": VISIBILITY_S.to_string()}});
    ask(to, &sqs("SetQueueAttributes", &visible)).await?;
    ask(to, &bus("PutRule", &json!({"Name": "relayed", "EventPattern": "{\"source\": [\"drill\"]}"}))).await?;
    let targets = json!({"Rule": "relayed", "Targets": [{"Id": "out", "Arn": last.arn}]});
    ensure!(ask(to, &bus("PutTargets", &targets)).await?["FailedEntryCount"] == 0, "the rule has no target");
    enabled_mapping(to, &first, "relay").await?;

    let ledger = Arc::new(Ledger::new(options.messages));
    let traffic = traffic::start(to, &first, &last, &ledger);
    let begin = Instant::now();
    let faulted = faults(node, disk, options, &ledger, seed).await;
    traffic.iter().for_each(tokio::task::JoinHandle::abort);
    let kills = faulted?;
    let took = begin.elapsed().as_secs_f64();
    let left = depth(to, &first).await? + depth(to, &last).await?;
    println!(
        "{kills} kills, disk full for {} s, function down for {} s; {took:.0} s in all, {:.0} messages a second",
        options.full_seconds,
        options.down_seconds,
        options.messages as f64 / took
    );
    println!("{}; {left} messages left in the queues", ledger.told());
    ledger.verdict()?;
    let dead = node.ask("/_wadi/api/events/dead").await?;
    ensure!(dead["Events"].as_array().is_none_or(Vec::is_empty), "dead letters: {dead}");
    Ok(())
}

/// Kills, fills and breaks until all is through, or nothing comes any more. How often the node was killed.
async fn faults(node: &mut Node, disk: &Disk, options: &Options, ledger: &Ledger, seed: u64) -> Result<u64> {
    let mut draw = seed;
    let (mut kills, mut filled, mut broke) = (0, false, false);
    let mut mended: Option<Instant> = None;
    while !ledger.is_complete() {
        draw = crate::chaos::mixed(draw);
        let pause = options.kill_seconds * (0.5 + (draw % 1000) as f64 / 1000.0);
        tokio::time::sleep(Duration::from_secs_f64(pause)).await;
        if ledger.is_complete() {
            break;
        }
        node.kill()?;
        kills += 1;
        node.start().await?;
        if mended.is_none() {
            goes_on(ledger).await?;
        }
        if !filled && ledger.seen() > options.messages / 4 {
            filled = true;
            full(node, disk, options.full_seconds).await?;
        }
        if !broke && ledger.seen() > options.messages / 2 {
            broke = true;
            set_down(node, true).await?;
            mended = Some(Instant::now() + Duration::from_secs_f64(options.down_seconds));
        }
        if mended.is_some_and(|at| at < Instant::now()) {
            mended = None;
            set_down(node, false).await?;
        }
    }
    ensure!(
        filled && broke && mended.is_none(),
        "all was through before everything had gone wrong: take more messages"
    );
    Ok(kills)
}

/// Something has come: a node that is killed before it has done anything would never get on, on a machine that is slow.
async fn goes_on(ledger: &Ledger) -> Result<()> {
    let seen = ledger.seen();
    while ledger.seen() == seen && !ledger.is_complete() {
        ensure!(ledger.silence() < SILENCE_MAX, "nothing has come for {} s: {}", SILENCE_MAX.as_secs(), ledger.told());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The disk has no room. Reads go on, writes are refused in words that say so, and all goes on by itself afterwards.
async fn full(node: &Node, disk: &Disk, seconds: f64) -> Result<()> {
    let probe = queue(node.address, "probe").await?;
    let write = sqs("SendMessage", &json!({"QueueUrl": probe.url, "MessageBody": "x".repeat(PROBE_BYTES)}));
    let ballast = disk.fill()?;
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let (mut reads, mut refused) = (0, BTreeMap::<String, u64>::new());
    let mut client = Client::new(node.address);
    while Instant::now() < end {
        let read = ask(node.address, &sqs("ListQueues", &json!({}))).await.context("a read while the disk is full")?;
        ensure!(
            read["QueueUrls"].as_array().is_some_and(|all| all.len() == 3),
            "a read while the disk is full: {read}"
        );
        reads += 1;
        match client.ask(&write).await.map_err(|error| error.downcast::<Refusal>()) {
            Ok(_) => {}
            Err(Ok(refusal)) => *refused.entry(refusal.0).or_default() += 1,
            Err(Err(error)) => return Err(error.context("a write while the disk is full")),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(ballast);
    println!("disk full: {reads} reads answered; writes refused: {refused:?}");
    ensure!(!refused.is_empty(), "nothing was refused: the disk was not full");
    ensure!(refused.keys().all(|said| said.starts_with('5')), "a refusal that clients do not send again");
    let began = Instant::now();
    while let Err(error) = client.ask(&write).await {
        ensure!(began.elapsed() < ROOM_AGAIN_MAX, "nothing is taken though the disk has room again: {error:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("room again: a write was taken after {:.2} s", began.elapsed().as_secs_f64());
    ask(node.address, &sqs("DeleteQueue", &json!({"QueueUrl": probe.url}))).await?;
    Ok(())
}

async fn set_down(node: &Node, down: bool) -> Result<()> {
    let variables = if down { json!({"DOWN": "1"}) } else { json!({}) };
    let body = json!({"Environment": {"Variables": variables}});
    let mut connection = Connection::open(node.address).await?;
    connection.send(&functions::configure("relay", &body)).await?;
    functions::settled(&mut connection, "relay").await
}
