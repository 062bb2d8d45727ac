//! PutEvents on a bus with few rules and with many, one of which matches and sends what it matches to a queue.

use super::client::{bus, queue};
use super::{Bench, COMPARED, CONNECTIONS, Measure, line};
use crate::line::say;
use crate::load::{self, Connection, Figures};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Instant;

pub async fn run(bench: &Bench) -> Result<()> {
    let mut first = None;
    for rules in [1, 100, bench.options.rules] {
        let mut node = bench.node(&format!("bus-{rules}")).await?;
        prepare(node.address, rules).await?;
        let began = Instant::now();
        Connection::open(node.address).await?.send(&put()).await?;
        let compiled = began.elapsed().as_secs_f64() * 1e3;
        for connections in CONNECTIONS {
            let what = format!("PutEvents, {rules} rules");
            match rules {
                1 => {
                    let goal = if connections == COMPARED { "≥ 6 × ministack" } else { "" };
                    bench.line(line(what, connections, goal), node.address, Puts).await?;
                }
                _ => bench.alone(line(what, connections, ""), node.address, Puts).await?,
            }
        }
        let figures = Puts.at(node.address, COMPARED, bench.options.seconds).await?;
        let one = *first.get_or_insert(figures.ms(0.5));
        let times = figures.ms(0.5) / one;
        let said =
            format!("p50 {times:.2} × that with one rule; first event after the rules were made: {compiled:.1} ms");
        say(&format!("PutEvents, {rules} rules, {COMPARED} connections"), "", &said, "≤ 2 × of one rule");
        node.stop()?;
    }
    Ok(())
}

fn put() -> crate::load::Call {
    let entry = json!({"Source": "bench.0", "DetailType": "measured", "Detail": "{\"state\": \"done\", \"n\": 1}"});
    bus("PutEvents", &json!({"Entries": [entry]}))
}

/// Rules on the default bus; the first is the one that matches.
async fn prepare(to: SocketAddr, rules: usize) -> Result<()> {
    let queue = queue(to, "matched").await?;
    let mut connection = Connection::open(to).await?;
    for n in 0..rules {
        let name = format!("rule-{n}");
        let pattern = json!({"source": [format!("bench.{n}")], "detail": {"state": ["done", {"prefix": "fini"}]}});
        connection.send(&bus("PutRule", &json!({"Name": name, "EventPattern": pattern.to_string()}))).await?;
        if n == 0 {
            let targets = json!({"Rule": name, "Targets": [{"Id": "queue", "Arn": queue.arn}]});
            let put: Value = serde_json::from_slice(&connection.send(&bus("PutTargets", &targets)).await?)?;
            ensure!(put["FailedEntryCount"] == 0, "{put}");
        }
    }
    Ok(())
}

struct Puts;

impl Measure for Puts {
    async fn at(&self, to: SocketAddr, connections: usize, seconds: f64) -> Result<Figures> {
        prepare(to, 1).await?;
        load::run(to, connections, seconds, move |_, _| put()).await
    }
}
