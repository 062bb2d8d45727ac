//! The room through its table: what it commits for its subscribers, what it refuses, and what comes of endpoints' answers.

mod endpoints;
mod events;
mod feedback;
mod fifo;
mod standard;
mod topics;

use crate::store::{SigningKey, Space};
use crate::{Parts, TopicDoor, Topics, room, signer};
use ::room::{Context, Fault, Room, TableRoom};
use ::store::{Seal, Store, Tx, outbox};
use base::port::Courier;
use base::{Event, Timestamp};
use bytes::Bytes;
use kit::{ManualClock, Pigeonhole, Seeded};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use wire::Decoded;

const START: Timestamp = Timestamp(1_795_449_064_123);
const T: &str = "arn:aws:sns:us-east-1:000000000000:t";
const FIFO: &str = "arn:aws:sns:us-east-1:000000000000:t.fifo";
const Q: &str = "arn:aws:sqs:us-east-1:000000000000:q";
const FIFO_Q: &str = "arn:aws:sqs:us-east-1:000000000000:q.fifo";
const F: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";
const URL: &str = "http://endpoint.test/x";

struct Rig {
    topics: Arc<Topics>,
    store: Store,
    clock: Arc<ManualClock>,
    courier: Arc<Pigeonhole>,
    table: TableRoom<Topics>,
}

/// One key for all tests: making it takes a while.
fn key() -> &'static (Vec<u8>, String) {
    static KEY: OnceLock<(Vec<u8>, String)> = OnceLock::new();
    KEY.get_or_init(|| signer::make(&Seeded::new(7)).expect("a key"))
}

impl Rig {
    async fn new() -> Self {
        Self::with(Pigeonhole::always(200)).await
    }

    async fn with(courier: Pigeonhole) -> Self {
        let store = Store::new(Arc::new(::store::memory::Memory::default()));
        let (clock, entropy) = (ManualClock::at(START), Arc::new(Seeded::new(1)));
        let seal = Arc::new(Seal::new(&[[7; 32]], entropy.clone()));
        let (der, certificate) = key().clone();
        let kept = SigningKey { sealed: seal.seal("topics/key", &der), certificate };
        let put = store.transact(async |tx: Tx| tx.put(&Space::SigningKey.key(), &kept)).await;
        put.expect("memory");
        let courier = Arc::new(courier);
        let to: Arc<dyn Courier> = courier.clone();
        let topics = Topics::open(Parts { store: store.clone(), seal, clock: clock.clone(), entropy, courier: to });
        Self { table: room(topics.clone()), topics, store, clock, courier }
    }

    async fn call(&self, operation: &str, input: Value) -> Result<Value, Fault> {
        let operation = self.table.service().operation(operation).expect("an operation");
        let cx = Context {
            caller: kit::caller(),
            request_id: "r".into(),
            host: "127.0.0.1:4566".into(),
            source_ip: [127, 0, 0, 1].into(),
            trace: None,
        };
        let request = Decoded { input, payload: Bytes::new() };
        Ok(self.table.prepare(cx, operation, request)?.run.await?.output)
    }

    async fn ok(&self, operation: &str, input: Value) -> Value {
        match self.call(operation, input.clone()).await {
            Ok(output) => output,
            Err(fault) => panic!("{operation} {input}: {fault}"),
        }
    }

    async fn refused(&self, operation: &str, input: Value, code: &str, text: &str) {
        match self.call(operation, input.clone()).await {
            Ok(output) => panic!("{operation} {input}: {output}"),
            Err(fault) => {
                assert_eq!(fault.code, code, "{operation}: {}", fault.message);
                assert!(fault.message.contains(text), "{operation}: {}", fault.message);
            }
        }
    }

    async fn topic(&self, name: &str) {
        self.ok("CreateTopic", json!({"Name": name})).await;
    }

    async fn fifo_topic(&self, attributes: Value) {
        let mut all = json!({"FifoTopic": "true"});
        all.as_object_mut().expect("one").extend(attributes.as_object().expect("one").clone());
        self.ok("CreateTopic", json!({"Name": "t.fifo", "Attributes": all})).await;
    }

    /// The ARN of a new subscription.
    async fn subscribe(&self, topic: &str, protocol: &str, endpoint: &str, attributes: Value) -> String {
        let input = json!({
            "TopicArn": topic, "Protocol": protocol, "Endpoint": endpoint, "Attributes": attributes,
            "ReturnSubscriptionArn": true,
        });
        self.ok("Subscribe", input).await["SubscriptionArn"].as_str().expect("an ARN").to_owned()
    }

    async fn publish(&self, message: &str) -> Value {
        self.ok("Publish", json!({"TopicArn": T, "Message": message})).await
    }

    async fn waiting(&self) -> Vec<Event> {
        outbox::waiting(&self.store, None, 1000).await.expect("memory").into_iter().map(|w| w.event).collect()
    }

    /// Empties the outbox.
    async fn settle(&self) -> Vec<Event> {
        let waiting = outbox::waiting(&self.store, None, 1000).await.expect("memory");
        let done = async |tx: Tx| {
            waiting.iter().for_each(|w| outbox::done(&tx, w));
            Ok::<_, ::store::Error>(())
        };
        self.store.transact(done).await.expect("memory");
        waiting.into_iter().map(|w| w.event).collect()
    }

    fn door(&self) -> TopicDoor {
        TopicDoor::new(self.topics.clone())
    }
}

fn payload(event: &Event) -> Value {
    serde_json::from_str(event.payload.get()).expect("JSON")
}
