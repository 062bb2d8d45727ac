//! Who sends and who receives: clients that try again until they are answered.

use super::ledger::Ledger;
use crate::events::client::{Queue, sqs};
use crate::load::{Call, Connection};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

const SENDERS: usize = 4;
const RECEIVERS: usize = 4;
const BATCH: usize = 10;
/// So many are under way at most, and a quarter of all: the drill is as long as what goes through, not a flood and its
/// drain.
const AHEAD_MAX: usize = 8000;
const ANSWER_MAX: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(100);

pub fn start(to: SocketAddr, first: &Queue, last: &Queue, ledger: &Arc<Ledger>) -> Vec<JoinHandle<()>> {
    let next = Arc::new(AtomicUsize::new(0));
    let senders = (0..SENDERS).map(|_| tokio::spawn(send_all(to, first.url.clone(), ledger.clone(), next.clone())));
    let mut tasks: Vec<_> = senders.collect();
    tasks.extend((0..RECEIVERS).map(|_| tokio::spawn(receive_all(to, last.url.clone(), ledger.clone()))));
    tasks
}

async fn send_all(to: SocketAddr, url: String, ledger: Arc<Ledger>, next: Arc<AtomicUsize>) {
    let mut client = Client::new(to);
    loop {
        let first = next.fetch_add(BATCH, Ordering::Relaxed);
        let mut left: Vec<usize> = (first..(first + BATCH).min(ledger.messages())).collect();
        if left.is_empty() {
            return;
        }
        while first > ledger.seen() + AHEAD_MAX.min(ledger.messages() / 4) {
            tokio::time::sleep(AGAIN).await;
        }
        while !left.is_empty() {
            let entry = |n: &usize| json!({"Id": n.to_string(), "MessageBody": format!("{{\"n\": {n}}}")});
            let entries: Vec<Value> = left.iter().map(entry).collect();
            let send = sqs("SendMessageBatch", &json!({"QueueUrl": url, "Entries": entries}));
            match client.ask(&send).await {
                Ok(reply) => {
                    let taken = reply["Successful"].as_array().into_iter().flatten();
                    for n in taken.filter_map(|entry| entry["Id"].as_str()?.parse::<usize>().ok()) {
                        ledger.acknowledge(n);
                        left.retain(|other| *other != n);
                    }
                }
                Err(_) => {
                    ledger.fail();
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

async fn receive_all(to: SocketAddr, url: String, ledger: Arc<Ledger>) {
    let mut client = Client::new(to);
    loop {
        if receive(&mut client, &url, &ledger).await.is_err() {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

async fn receive(client: &mut Client, url: &str, ledger: &Ledger) -> Result<()> {
    let asked = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1});
    let got = client.ask(&sqs("ReceiveMessage", &asked)).await?;
    let mut entries = Vec::new();
    for (at, message) in got["Messages"].as_array().into_iter().flatten().enumerate() {
        let event: Value = serde_json::from_str(message["Body"].as_str().context("a body")?)?;
        let number = event["detail"]["n"].as_u64().context("a number")?;
        ledger.receive(usize::try_from(number)?, message["MessageId"].as_str().context("an id")?);
        entries.push(json!({"Id": at.to_string(), "ReceiptHandle": message["ReceiptHandle"]}));
    }
    if !entries.is_empty() {
        client.ask(&sqs("DeleteMessageBatch", &json!({"QueueUrl": url, "Entries": entries}))).await?;
    }
    Ok(())
}

/// Status and code of an answer that is an error.
#[derive(Debug)]
pub struct Refusal(pub String);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// Connects again when it has to.
pub struct Client {
    to: SocketAddr,
    connection: Option<Connection>,
}

impl Client {
    pub fn new(to: SocketAddr) -> Self {
        Self { to, connection: None }
    }

    pub async fn ask(&mut self, call: &Call) -> Result<Value> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.to).await?,
        };
        let (head, body) = tokio::time::timeout(ANSWER_MAX, connection.exchange(call)).await.context("no answer")??;
        let reply: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
        self.connection = Some(connection);
        if !head.status.is_success() {
            let code = reply["__type"].as_str().unwrap_or_default();
            bail!(Refusal(format!(
                "{} {code}: {}",
                head.status.as_u16(),
                reply["message"].as_str().unwrap_or_default()
            )));
        }
        Ok(reply)
    }
}
