//! Queues: sends, and cycles of receive and delete, on an empty queue and on one with a backlog.

use super::client::{fill, queue, sqs};
use super::{Bench, CONNECTIONS, Measure, line};
use crate::line::say;
use crate::load::{self, Connection, Figures};
use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub const BODY_BYTES: usize = 256;
const NAME: &str = "bench";

pub async fn run(bench: &Bench) -> Result<()> {
    let mut node = bench.node("queues").await?;
    let idle_mb = node.memory_mb()?;
    lines(bench, "empty queue", node.address).await?;
    let backlog = bench.options.backlog;
    let began = Instant::now();
    fill(node.address, &queue(node.address, NAME).await?, backlog, &"x".repeat(BODY_BYTES)).await?;
    let rate = backlog as f64 / began.elapsed().as_secs_f64();
    say("messages sent ten at a time, 16 connections", "", &format!("{rate:.0} messages a second"), "");
    let filled_mb = node.memory_mb()?;
    lines(bench, &format!("queue of {backlog}"), node.address).await?;
    let loaded_mb = node.memory_mb()?;
    let memory =
        format!("{idle_mb:.1} MB idle, {filled_mb:.1} MB with {backlog} messages, {loaded_mb:.1} MB after the load");
    say("node and launcher, proportional memory", "", &memory, "");
    node.stop()?;
    node.start().await?;
    let queue = queue(node.address, NAME).await?;
    let began = Instant::now();
    Connection::open(node.address).await?.send(&sqs("ReceiveMessage", &json!({"QueueUrl": queue.url}))).await?;
    let first = format!("{:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    say("first receive after a restart", "", &first, "");
    node.stop()
}

/// Sends, and cycles of what was sent, on the queue as it is.
async fn lines(bench: &Bench, what: &str, to: SocketAddr) -> Result<()> {
    for connections in CONNECTIONS {
        let (send, cycle) = match connections {
            8 => ("≥ 6 × ministack", "≥ 8 × ministack"),
            32 => ("≥ 50 % of the floor", "≥ 50 % of the floor"),
            _ => ("", ""),
        };
        bench.line(line(format!("send, {what}"), connections, send), to, Sends).await?;
        bench.line(line(format!("receive and delete, {what}"), connections, cycle), to, Cycles).await?;
    }
    Ok(())
}

struct Sends;

impl Measure for Sends {
    async fn at(&self, to: SocketAddr, connections: usize, seconds: f64) -> Result<Figures> {
        let queue = queue(to, NAME).await?;
        let send = sqs("SendMessage", &json!({"QueueUrl": queue.url, "MessageBody": "x".repeat(BODY_BYTES)}));
        load::run(to, connections, seconds, move |_, _| send.clone()).await
    }
}

/// A cycle receives one message and deletes it. Sends one itself where the queue has none.
struct Cycles;

impl Measure for Cycles {
    async fn at(&self, to: SocketAddr, connections: usize, seconds: f64) -> Result<Figures> {
        let queue = queue(to, NAME).await?;
        let begin = Instant::now();
        let end = begin + Duration::from_secs_f64(seconds);
        let loops: Vec<_> = (0..connections).map(|_| tokio::spawn(cycles(to, queue.url.clone(), end))).collect();
        let mut all = Vec::new();
        for one in loops {
            all.extend(one.await??);
        }
        Ok(Figures::of(all, begin.elapsed()))
    }
}

async fn cycles(to: SocketAddr, url: String, end: Instant) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(to).await?;
    let receive = sqs("ReceiveMessage", &json!({"QueueUrl": url}));
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let started = Instant::now();
        let got = connection.send(&receive).await?;
        let Some(handle) = handle(&got)? else {
            connection.send(&sqs("SendMessage", &json!({"QueueUrl": url, "MessageBody": "x"}))).await?;
            continue;
        };
        connection.send(&sqs("DeleteMessage", &json!({"QueueUrl": url, "ReceiptHandle": handle}))).await?;
        latencies.push(started.elapsed());
    }
    Ok(latencies)
}

fn handle(reply: &Bytes) -> Result<Option<String>> {
    let reply: Value = serde_json::from_slice(reply).context("a reply")?;
    Ok(reply["Messages"][0]["ReceiptHandle"].as_str().map(str::to_owned))
}
