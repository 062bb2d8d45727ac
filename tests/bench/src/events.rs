//! Events under load: queues' sends, and cycles of receive and delete, on an empty queue and on one with a backlog.

use crate::floor;
use crate::load::{self, Call, Connection, Figures};
use crate::node::Node;
use crate::table::{self, Row};
use anyhow::{Context, Result};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

const CONNECTIONS: [usize; 3] = [1, 8, 32];
const BODY_BYTES: usize = 256;

#[derive(clap::Args)]
pub struct Options {
    /// Seconds that each line runs.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Messages that lie in the queue of the second half.
    #[arg(long, default_value_t = 100_000)]
    backlog: u64,
}

pub async fn run(wadi: &Path, options: Options) -> Result<()> {
    // Not in /tmp, which may be memory: durable writes must meet a disk.
    let scratch = tempfile::tempdir_in(wadi.parent().unwrap_or(Path::new(".")))?;
    let mut node = Node::new(wadi, &scratch.path().join("data"))?;
    println!("machine: {}", table::machine());
    node.start().await?;
    let idle_mb = node.memory_mb()?;
    table::head();
    lines(&node, "empty queue", scratch.path(), options.seconds).await?;
    fill(node.address, options.backlog).await?;
    let filled_mb = node.memory_mb()?;
    lines(&node, &format!("queue of {}", options.backlog), scratch.path(), options.seconds).await?;
    let loaded_mb = node.memory_mb()?;
    println!(
        "\nnode and launcher, proportional memory: {idle_mb:.1} MB idle, {filled_mb:.1} MB with the backlog, {loaded_mb:.1} MB after the load"
    );
    node.stop()?;
    node.start().await?;
    let began = Instant::now();
    let mut connection = Connection::open(node.address).await?;
    connection.send(&call("ReceiveMessage", json!({"QueueUrl": url(node.address)}))).await?;
    println!("first receive after a restart: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    node.stop()
}

fn url(node: SocketAddr) -> String {
    format!("http://{node}/000000000000/bench")
}

fn call(operation: &str, input: Value) -> Call {
    Call::new(Method::POST, "/", "sqs", input.to_string())
        .with("x-amz-target", &format!("AmazonSQS.{operation}"))
        .with("content-type", "application/x-amz-json-1.0")
}

/// Sends, and cycles of what was sent, on the queue as it is.
async fn lines(node: &Node, what: &str, disk: &Path, seconds: f64) -> Result<()> {
    let to = node.address;
    Connection::open(to).await?.send(&call("CreateQueue", json!({"QueueName": "bench"}))).await?;
    let body = "x".repeat(BODY_BYTES);
    for connections in CONNECTIONS {
        let floor = floor::group_commit(disk, connections, seconds / 2.0, BODY_BYTES).await?.per_second;
        let send = call("SendMessage", json!({"QueueUrl": url(to), "MessageBody": body}));
        let figures = load::run(to, connections, seconds, move |_, _| send.clone()).await?;
        print(&format!("send, {what}"), connections, figures, floor);
        let figures = cycles(to, connections, seconds).await?;
        print(&format!("receive and delete, {what}"), connections, figures, floor);
    }
    Ok(())
}

fn print(what: &str, connections: usize, figures: Figures, floor: f64) {
    let what = what.to_owned();
    table::print(&Row { what, connections, figures, floor: Some(("SQLite group commit", floor)) });
}

/// A cycle receives one message and deletes it. Sends one itself where the queue has none.
async fn cycles(to: SocketAddr, connections: usize, seconds: f64) -> Result<Figures> {
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    let loops: Vec<_> = (0..connections)
        .map(|_| {
            tokio::spawn(async move {
                let mut connection = Connection::open(to).await?;
                let receive = call("ReceiveMessage", json!({"QueueUrl": url(to)}));
                let mut latencies = Vec::new();
                while Instant::now() < end {
                    let started = Instant::now();
                    let got = connection.send(&receive).await?;
                    let Some(handle) = handle(&got)? else {
                        connection.send(&call("SendMessage", json!({"QueueUrl": url(to), "MessageBody": "x"}))).await?;
                        continue;
                    };
                    let delete = json!({"QueueUrl": url(to), "ReceiptHandle": handle});
                    connection.send(&call("DeleteMessage", delete)).await?;
                    latencies.push(started.elapsed());
                }
                Ok::<_, anyhow::Error>(latencies)
            })
        })
        .collect();
    let mut all = Vec::new();
    for one in loops {
        all.extend(one.await??);
    }
    Ok(Figures::of(all, begin.elapsed()))
}

fn handle(reply: &Bytes) -> Result<Option<String>> {
    let reply: Value = serde_json::from_slice(reply).context("a reply")?;
    Ok(reply["Messages"][0]["ReceiptHandle"].as_str().map(str::to_owned))
}

/// Sends `count` messages, ten at a time.
async fn fill(to: SocketAddr, count: u64) -> Result<()> {
    let body = "x".repeat(BODY_BYTES);
    let entries: Vec<Value> = (0..10).map(|n| json!({"Id": n.to_string(), "MessageBody": body})).collect();
    let send = call("SendMessageBatch", json!({"QueueUrl": url(to), "Entries": entries}));
    let began = Instant::now();
    let loops: Vec<_> = (0..16u64)
        .map(|part| {
            let send = send.clone();
            tokio::spawn(async move {
                let mut connection = Connection::open(to).await?;
                for _ in (part..count / 10).step_by(16) {
                    connection.send(&send).await?;
                }
                Ok::<_, anyhow::Error>(())
            })
        })
        .collect();
    for one in loops {
        one.await??;
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!("filled with {count} messages by batches of ten, 16 connections: {rate:.0} messages per s");
    Ok(())
}
