//! How late schedules are: many, due in each second of a minute, into a queue.

use super::Bench;
use super::client::{Queue, queue, sqs};
use crate::line::{self, Line, Starts, say};
use crate::load::{Call, Connection, Figures};
use crate::table;
use anyhow::{Result, ensure};
use base::Timestamp;
use http::Method;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// They are due in the seconds of a minute, which begins when all have been made.
const SECONDS: usize = 60;
const MADE_PER_SECOND_MIN: usize = 200;
/// A schedule that has not fired by then is missing.
const LATE_MAX: Duration = Duration::from_secs(15);
const CREATORS: usize = 8;

pub async fn run(bench: &Bench) -> Result<()> {
    let count = bench.options.schedules;
    let mut node = bench.node("schedules").await?;
    let to = node.address;
    let queue = queue(to, "fired").await?;
    let (began, ahead) = (Instant::now(), Duration::from_secs((10 + count / MADE_PER_SECOND_MIN) as u64));
    let first = Timestamp(table::now_ms()).plus(ahead);
    let makers: Vec<_> = (0..CREATORS)
        .map(|part| tokio::spawn(make(to, queue.arn.clone(), first, (part..count).step_by(CREATORS).collect())))
        .collect();
    for maker in makers {
        maker.await??;
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    say("CreateSchedule, 8 connections", "", &format!("{rate:.0} a second"), "");
    ensure!(began.elapsed() < ahead, "schedules are made too slowly");
    let watched = ahead + Duration::from_secs(SECONDS as u64) + LATE_MAX;
    let (mut late, mut seen) = (Vec::new(), HashSet::new());
    let mut connection = Connection::open(to).await?;
    while began.elapsed() < watched && seen.len() < count {
        take(&mut connection, &queue, &mut late, &mut seen).await?;
    }
    let memory = node.memory_mb()?;
    ensure!(seen.len() == count, "{} of {count} schedules fired", seen.len());
    let figures = Figures::of(late, Duration::from_secs(SECONDS as u64));
    let what = format!("{count} schedules due within a minute: from its time to its message");
    line::print(&Line { what, starts: Starts::none(), connections: 1, figures, against: Vec::new(), goal: "" });
    say("node and launcher with them, proportional memory", "", &format!("{memory:.1} MB"), "");
    node.stop()
}

async fn make(to: SocketAddr, queue: String, first: Timestamp, numbers: Vec<usize>) -> Result<()> {
    let mut connection = Connection::open(to).await?;
    for n in numbers {
        let due = Timestamp(first.millis() / 1000 * 1000).plus(Duration::from_secs((n % SECONDS) as u64));
        let time = due.iso8601();
        let expression = format!("at({})", time.get(..19).unwrap_or(&time));
        let body = json!({
            "ScheduleExpression": expression, "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {"Arn": queue, "RoleArn": "arn:aws:iam::000000000000:role/bench", "Input": format!("{n} {}", due.millis())},
        });
        let call = Call::new(Method::POST, format!("/schedules/once-{n}"), "scheduler", body.to_string());
        connection.send(&call.with("content-type", "application/json")).await?;
    }
    Ok(())
}

/// Ten messages, or as many as there are: how long after its time each was sent.
async fn take(
    connection: &mut Connection,
    queue: &Queue,
    late: &mut Vec<Duration>,
    seen: &mut HashSet<String>,
) -> Result<()> {
    let asked = json!({"QueueUrl": queue.url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1, "AttributeNames": ["SentTimestamp"]});
    let got: Value = serde_json::from_slice(&connection.send(&sqs("ReceiveMessage", &asked)).await?)?;
    let messages = got["Messages"].as_array().cloned().unwrap_or_default();
    let mut entries = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let sent: u64 = message["Attributes"]["SentTimestamp"].as_str().unwrap_or_default().parse()?;
        let (number, due) = message["Body"].as_str().and_then(|body| body.split_once(' ')).unwrap_or_default();
        late.push(Duration::from_millis(sent.saturating_sub(due.parse()?)));
        seen.insert(number.to_owned());
        entries.push(json!({"Id": at.to_string(), "ReceiptHandle": message["ReceiptHandle"]}));
    }
    if !entries.is_empty() {
        connection.send(&sqs("DeleteMessageBatch", &json!({"QueueUrl": queue.url, "Entries": entries}))).await?;
    }
    Ok(())
}
