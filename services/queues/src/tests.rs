//! What a user of the queues room would notice.

mod events;
mod fifo;
mod queues;
mod recovery;
mod redrive;
mod simulation;
mod standard;

use crate::{Config, Parts, Queues, api};
use base::Timestamp;
use base::port::Clock;
use kit::{ManualClock, Seeded};
use room::{Context, Room};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use store::engine::Engine;
use store::{Store, memory::Memory};
use wire::{Decoded, Fault};

const NOW: u64 = 1_795_449_064_000;

struct Setting {
    queues: Arc<Queues>,
    table: room::TableRoom<Queues>,
    clock: Arc<ManualClock>,
    store: Store,
}

fn setting() -> Setting {
    on(Arc::new(Memory::default()), ManualClock::at(Timestamp(NOW)), 1)
}

fn on(engine: Arc<dyn Engine>, clock: Arc<ManualClock>, seed: u64) -> Setting {
    let store = Store::new(engine);
    // Small, so that every test meets the bounds.
    let config = Config { window_max: 8, fifo_window_max: 16, kept_bytes_max: 600, ..Config::default() };
    let parts = Parts { store: store.clone(), clock: clock.clone(), entropy: Arc::new(Seeded::new(seed)), config };
    let queues = Queues::open(parts);
    Setting { table: crate::room(queues.clone()), queues, clock, store }
}

fn context() -> Context {
    Context {
        caller: kit::caller(),
        request_id: "r".into(),
        host: "localhost:4566".into(),
        source_ip: [127, 0, 0, 1].into(),
        trace: None,
    }
}

fn url(name: &str) -> String {
    format!("http://localhost:4566/000000000000/{name}")
}

fn arn(name: &str) -> String {
    format!("arn:aws:sqs:us-east-1:000000000000:{name}")
}

impl Setting {
    /// Runs an operation as the gate does, without the wire.
    async fn call(&self, operation: &str, input: Value) -> Result<Value, Fault> {
        let op = api::SERVICE.operation(operation).expect("in the model");
        let prepared = self.table.prepare(context(), op, Decoded { input, payload: Default::default() })?;
        let action = operation.strip_suffix("Batch").unwrap_or(operation);
        assert_eq!(prepared.access[0].action, format!("sqs:{action}"));
        prepared.run.await.map(|e| e.output)
    }

    async fn ok(&self, operation: &str, input: Value) -> Value {
        self.call(operation, input).await.unwrap_or_else(|f| panic!("{operation}: {f}"))
    }

    async fn fails(&self, operation: &str, input: Value, code: &str) -> String {
        let fault = self.call(operation, input).await.expect_err(operation);
        assert_eq!(fault.code, code, "{operation}: {fault}");
        fault.message
    }

    async fn create(&self, name: &str, attributes: Value) -> String {
        let made = self.ok("CreateQueue", json!({"QueueName": name, "Attributes": attributes})).await;
        made["QueueUrl"].as_str().expect("a URL").to_owned()
    }

    async fn send(&self, name: &str, body: &str) -> Value {
        self.ok("SendMessage", json!({"QueueUrl": url(name), "MessageBody": body})).await
    }

    /// To a FIFO queue; the deduplication id is the body.
    async fn send_to(&self, name: &str, group: &str, body: &str) -> Value {
        let input = json!({
            "QueueUrl": url(name), "MessageBody": body, "MessageGroupId": group, "MessageDeduplicationId": body,
        });
        self.ok("SendMessage", input).await
    }

    /// Messages with all their attributes.
    async fn receive(&self, name: &str, more: Value) -> Vec<Value> {
        let mut input = json!({
            "QueueUrl": url(name), "MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        input.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        let got = self.ok("ReceiveMessage", input).await;
        got["Messages"].as_array().cloned().unwrap_or_default()
    }

    async fn bodies(&self, name: &str) -> Vec<String> {
        self.receive(name, json!({})).await.iter().map(|m| text(&m["Body"])).collect()
    }

    async fn delete(&self, name: &str, message: &Value) {
        self.ok("DeleteMessage", json!({"QueueUrl": url(name), "ReceiptHandle": message["ReceiptHandle"]})).await;
    }

    /// Visible, in flight, delayed.
    async fn counts(&self, name: &str) -> (u64, u64, u64) {
        let all = self.ok("GetQueueAttributes", json!({"QueueUrl": url(name), "AttributeNames": ["All"]})).await;
        let count = |of: &str| {
            all["Attributes"][format!("ApproximateNumberOfMessages{of}")]
                .as_str()
                .and_then(|t| t.parse().ok())
                .expect("a number")
        };
        (count(""), count("NotVisible"), count("Delayed"))
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

/// Lets others run for a while.
async fn others_run() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}
