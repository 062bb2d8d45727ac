//! Calls of the APIs that are measured, to any server that has them.

use crate::load::{Call, Connection};
use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub fn sqs(operation: &str, input: &Value) -> Call {
    json_call("sqs", "AmazonSQS", "application/x-amz-json-1.0", operation, input)
}

pub fn bus(operation: &str, input: &Value) -> Call {
    json_call("events", "AWSEvents", "application/x-amz-json-1.1", operation, input)
}

pub fn logs(operation: &str, input: &Value) -> Call {
    json_call("logs", "Logs_20140328", "application/x-amz-json-1.1", operation, input)
}

fn json_call(service: &'static str, target: &str, kind: &str, operation: &str, input: &Value) -> Call {
    Call::new(Method::POST, "/", service, input.to_string())
        .with("x-amz-target", &format!("{target}.{operation}"))
        .with("content-type", kind)
}

/// A call of the older protocol; values are percent-encoded as far as these benchmarks need it.
pub fn sns(operation: &str, parameters: &[(&str, &str)]) -> Call {
    let mut form = format!("Action={operation}&Version=2010-03-31");
    for (name, value) in parameters {
        let value = value.replace('%', "%25").replace('&', "%26").replace('+', "%2B").replace(' ', "%20");
        form += &format!("&{name}={value}");
    }
    Call::new(Method::POST, "/", "sns", form).with("content-type", "application/x-www-form-urlencoded")
}

pub async fn ask(to: SocketAddr, call: &Call) -> Result<Value> {
    let reply = Connection::open(to).await?.send(call).await?;
    if reply.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&reply).context("a reply in JSON")
}

/// Whoever asks may send: rules and topics need to be let.
const OPEN: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"*"}]}"#;

/// A queue, made if it is not there.
pub struct Queue {
    pub url: String,
    pub arn: String,
}

pub async fn queue(to: SocketAddr, name: &str) -> Result<Queue> {
    let made = ask(to, &sqs("CreateQueue", &json!({"QueueName": name, "Attributes": {"Policy": OPEN}}))).await?;
    let url = made["QueueUrl"].as_str().context("the queue's URL")?.to_owned();
    let asked = json!({"QueueUrl": url, "AttributeNames": ["QueueArn"]});
    let got = ask(to, &sqs("GetQueueAttributes", &asked)).await?;
    let arn = got["Attributes"]["QueueArn"].as_str().context("the queue's ARN")?.to_owned();
    Ok(Queue { url, arn })
}

/// Messages in a queue, those being received included.
pub async fn depth(to: SocketAddr, queue: &Queue) -> Result<u64> {
    let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
    let got = ask(to, &sqs("GetQueueAttributes", &json!({"QueueUrl": queue.url, "AttributeNames": names}))).await?;
    let of = |name: &str| got["Attributes"][name].as_str().and_then(|n| n.parse::<u64>().ok()).context("a number");
    Ok(of(names[0])? + of(names[1])?)
}

/// Sends `count` messages, ten at a time, over 16 connections.
pub async fn fill(to: SocketAddr, queue: &Queue, count: u64, body: &str) -> Result<()> {
    let entries: Vec<Value> = (0..10).map(|n| json!({"Id": n.to_string(), "MessageBody": body})).collect();
    let send = sqs("SendMessageBatch", &json!({"QueueUrl": queue.url, "Entries": entries}));
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
    Ok(())
}

/// How long a mapping may take to get into a state.
const SETTLED_MAX: Duration = Duration::from_secs(30);

pub fn lambda(method: Method, path: String, body: &Value) -> Call {
    Call::new(method, path, "lambda", body.to_string()).with("content-type", "application/json")
}

/// Has a function take messages from a queue, ten at a time; the mapping's id, once it is enabled.
pub async fn enabled_mapping(to: SocketAddr, queue: &Queue, function: &str) -> Result<String> {
    let body = json!({"EventSourceArn": queue.arn, "FunctionName": function, "BatchSize": 10});
    let made = ask(to, &lambda(Method::POST, "/2015-03-31/event-source-mappings".into(), &body)).await?;
    let id = made["UUID"].as_str().context("the mapping's id")?.to_owned();
    mapping_settled(to, &id, "Enabled").await?;
    Ok(id)
}

pub async fn mapping_settled(to: SocketAddr, mapping: &str, state: &str) -> Result<()> {
    let begin = Instant::now();
    let get = Call::get(format!("/2015-03-31/event-source-mappings/{mapping}"), "lambda");
    while ask(to, &get).await?["State"] != state {
        ensure!(begin.elapsed() < SETTLED_MAX, "the mapping is not {state} after {} s", SETTLED_MAX.as_secs());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
