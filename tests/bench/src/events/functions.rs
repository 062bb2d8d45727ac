//! From a queue to a function: how soon after a send the function has the message, and how many go through.

use super::Bench;
use super::client::{ask, depth, enabled_mapping, fill, lambda, logs, mapping_settled, queue, sqs};
use crate::functions::{self, Function};
use crate::line::{self, Line, Starts, say};
use crate::load::{Connection, Figures};
use crate::table;
use anyhow::{Result, ensure};
use http::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Says how long ago each message was sent, if that stands in it.
const SOURCE: &str = "
import time
def handler(event, context):
    now = time.time() * 1000
    for record in event['Records']:
        if record['body'] != 'x':
            print('after', now - float(record['body']), 'ms')
";
const SENDS: usize = 200;
const APART: Duration = Duration::from_millis(20);
const MESSAGES: u64 = 20_000;
const DRAINED_MAX: Duration = Duration::from_secs(300);
const SAID_MAX: Duration = Duration::from_secs(30);

pub async fn run(bench: &Bench) -> Result<()> {
    let mut node = bench.node("functions").await?;
    let to = node.address;
    let function = Function::new("taker", &node.newest_python().await?, functions::package(&[("app.py", SOURCE)])?);
    function.create(to).await?;
    let queue = queue(to, "work").await?;
    let mapping = enabled_mapping(to, &queue, &function.name).await?;

    let (begin, since) = (Instant::now(), table::now_ms());
    let mut connection = Connection::open(to).await?;
    for _ in 0..SENDS {
        let body = precisely_now_ms();
        connection
            .send(&sqs("SendMessage", &json!({"QueueUrl": queue.url, "MessageBody": format!("{body:.3}")})))
            .await?;
        tokio::time::sleep(APART).await;
    }
    let figures = Figures::of(said(to, &function.name).await?, begin.elapsed());
    ensure!(figures.count() == SENDS, "{} of {SENDS} messages came", figures.count());
    let starts = Starts::of(&node, &function.name, since).await?;
    let goal = "p50 ≤ 5 ms";
    let what = "from a send to the function's first line".to_owned();
    line::print(&Line { what, starts, connections: 1, figures, against: Vec::new(), goal });

    set(to, &mapping, false).await?;
    fill(to, &queue, MESSAGES, "x").await?;
    let begin = Instant::now();
    set(to, &mapping, true).await?;
    while depth(to, &queue).await? > 0 {
        ensure!(begin.elapsed() < DRAINED_MAX, "the queue is not empty after {} s", DRAINED_MAX.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rate = MESSAGES as f64 / begin.elapsed().as_secs_f64();
    say("queue → function, batches of ten, from a backlog", "", &format!("{rate:.0} messages a second"), "");
    node.stop()
}

fn precisely_now_ms() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1e3)
}

async fn set(to: SocketAddr, mapping: &str, enabled: bool) -> Result<()> {
    let path = format!("/2015-03-31/event-source-mappings/{mapping}");
    ask(to, &lambda(Method::PUT, path, &json!({"Enabled": enabled}))).await?;
    mapping_settled(to, mapping, if enabled { "Enabled" } else { "Disabled" }).await
}

/// What the function said of its messages.
async fn said(to: SocketAddr, function: &str) -> Result<Vec<Duration>> {
    let begin = Instant::now();
    loop {
        let (mut all, mut token) = (Vec::new(), Value::Null);
        loop {
            let mut asked = json!({"logGroupName": format!("/aws/lambda/{function}"), "filterPattern": "after"});
            if !token.is_null() {
                asked["nextToken"] = token;
            }
            let page = ask(to, &logs("FilterLogEvents", &asked)).await?;
            let lines = page["events"].as_array().into_iter().flatten().filter_map(|event| event["message"].as_str());
            let ms = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
            all.extend(ms.map(|ms| Duration::from_secs_f64(ms.max(0.0) / 1e3)));
            token = page["nextToken"].clone();
            if token.is_null() {
                break;
            }
        }
        if all.len() >= SENDS || begin.elapsed() > SAID_MAX {
            return Ok(all);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
