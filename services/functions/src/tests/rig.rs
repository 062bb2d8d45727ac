//! What the tests run on: memory, a fake runner that routes through the real catalog, a clock moved by hand.

use super::queues::FakeQueues;
use crate::{Catalog, Config, Functions, Parts, room};
use ::room::{Context, Fault, Room, TableRoom};
use ::store::{Blobs, Seal, Store};
use async_trait::async_trait;
use base::port::{ObjectReader, ReadError};
use base::{
    AccountId, Broken, Caller, FunctionError, Head, Invocation, InvokeError, Outcome, Scope, Start, Streamed, Timestamp,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use engine::{Catalog as _, Image, ImageError, PrepareError, Provisioned, Runner, RuntimeReport, Version};
use futures::stream::{self, StreamExt};
use kit::{Keys, ManualClock, Seeded};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use wire::Decoded;

pub struct Rig {
    pub functions: Arc<Functions>,
    pub runner: Arc<FakeRunner>,
    pub clock: Arc<ManualClock>,
    pub store: Store,
    pub seal: Arc<Seal>,
    pub objects: Arc<FakeObjects>,
    pub queues: Arc<FakeQueues>,
    blobs: tempfile::TempDir,
    table: TableRoom<Functions>,
}

/// 2026-11-23T15:51:04.123Z
pub const START: Timestamp = Timestamp(1_795_449_064_123);
pub const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";
pub const ROLE: &str = "arn:aws:iam::000000000000:role/r";

impl Rig {
    pub fn new() -> Self {
        Self::with(Config { architecture: "x86_64", ..Config::default() })
    }

    pub fn with(config: Config) -> Self {
        let blobs = tempfile::tempdir().expect("a directory");
        Self::on(Store::new(Arc::new(store::memory::Memory::default())), blobs, config, &[1])
    }

    /// The same data, a new process.
    pub fn restarted(self) -> Self {
        let config = self.functions.config.clone();
        Self::on(self.store, self.blobs, config, &[1])
    }

    /// The same data, other master keys: 32 times each byte.
    pub fn rekeyed(self, keys: &[u8]) -> Self {
        let config = self.functions.config.clone();
        Self::on(self.store, self.blobs, config, keys)
    }

    fn on(store: Store, blobs: tempfile::TempDir, config: Config, master_keys: &[u8]) -> Self {
        let master: Vec<[u8; 32]> = master_keys.iter().map(|byte| [*byte; 32]).collect();
        let seal = Arc::new(Seal::new(&master, Arc::new(Seeded::new(2))));
        let clock = ManualClock::at(START);
        let runner =
            Arc::new(FakeRunner { catalog: Catalog::new(store.clone(), seal.clone()), script: Mutex::default() });
        let objects = Arc::new(FakeObjects::default());
        let queues = Arc::new(FakeQueues::new(clock.clone()));
        let functions = Functions::open(Parts {
            store: store.clone(),
            seal: seal.clone(),
            blobs: Blobs::directory(blobs.path()).expect("a directory"),
            clock: clock.clone(),
            entropy: Arc::new(Seeded::new(1)),
            runner: runner.clone(),
            objects: objects.clone(),
            queues: queues.clone(),
            identity: Arc::new(keys()),
            config,
        });
        let table = room(functions.clone());
        Self { functions, runner, clock, store, seal, objects, queues, blobs, table }
    }

    pub async fn call(&self, operation: &str, input: Value) -> Result<Value, Fault> {
        Ok(self.send(operation, input, Bytes::new()).await?.output)
    }

    pub async fn send(&self, operation: &str, input: Value, payload: Bytes) -> Result<wire::Encoded, Fault> {
        self.send_as(kit::caller(), operation, input, payload).await
    }

    pub async fn send_as(
        &self,
        caller: Caller,
        operation: &str,
        input: Value,
        payload: Bytes,
    ) -> Result<wire::Encoded, Fault> {
        let operation = self.table.service().operations.iter().find(|o| o.name == operation).expect("an operation");
        let request = Decoded { input, payload };
        self.table.prepare(context(caller), operation, request)?.run.await
    }

    pub async fn ok(&self, operation: &str, input: Value) -> Value {
        match self.call(operation, input.clone()).await {
            Ok(output) => output,
            Err(fault) => panic!("{operation} {input}: {fault}"),
        }
    }

    /// The operation fails with this code and a message that contains `text`.
    pub async fn refused(&self, operation: &str, input: Value, code: &str, text: &str) {
        match self.call(operation, input.clone()).await {
            Ok(output) => panic!("{operation} {input}: {output}"),
            Err(fault) => {
                assert_eq!(fault.code, code, "{operation}: {}", fault.message);
                assert!(fault.message.contains(text), "{operation}: {}", fault.message);
            }
        }
    }

    /// CreateFunction's input for a function `name`.
    pub fn create_input(name: &str) -> Value {
        json!({
            "FunctionName": name, "Runtime": "python3.11", "Role": ROLE, "Handler": "m.h",
            "Code": {"ZipFile": zip_text("1")},
        })
    }

    /// A function that is active.
    pub async fn create(&self, name: &str) -> Value {
        let created = self.ok("CreateFunction", Self::create_input(name)).await;
        self.settle().await;
        created
    }

    /// Lets the background work make everything ready.
    pub async fn settle(&self) {
        self.functions.prepare_pending().await.expect("storage works");
    }

    pub async fn update(&self, name: &str, code: &str) -> Value {
        let updated = self.ok("UpdateFunctionCode", json!({"FunctionName": name, "ZipFile": zip_text(code)})).await;
        self.settle().await;
        updated
    }

    pub async fn config(&self, input: Value) -> Value {
        self.ok("GetFunctionConfiguration", input).await
    }
}

/// The key `test` may do anything, the key `guest` nothing.
fn keys() -> Keys {
    let guest = "arn:aws:iam::000000000000:user/guest";
    Keys::test().with("guest", None, "test", guest).allowing(|caller, _| caller.access_key == "test")
}

fn context(caller: Caller) -> Context {
    Context {
        caller,
        request_id: "11111111-1111-4111-8111-111111111111".into(),
        host: "127.0.0.1:4566".into(),
        source_ip: [127, 0, 0, 1].into(),
        trace: None,
    }
}

/// A zip with a module in it that differs by `text`.
pub fn zip(text: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("m.py", zip::write::SimpleFileOptions::default()).expect("memory");
    zip.write_all(text.as_bytes()).expect("memory");
    zip.finish().expect("memory").into_inner()
}

pub fn zip_text(text: &str) -> String {
    STANDARD.encode(zip(text))
}

/// Runs nothing: answers as told, and notes what it was asked.
pub struct FakeRunner {
    catalog: Catalog,
    pub script: Mutex<Script>,
}

#[derive(Default)]
pub struct Script {
    /// The next answers; when they are used up, the payload comes back.
    pub answers: Vec<Answer>,
    pub calls: Vec<(Invocation, Version)>,
    pub prepared: Vec<Version>,
    pub retired: Vec<(String, Option<String>)>,
    pub cannot_prepare: Option<PrepareError>,
    /// Functions that are never ready.
    pub slow: Vec<String>,
    /// Versions to be ready, by function; all are at once, unless they cannot.
    pub provisioned: BTreeMap<String, Vec<(String, u32)>>,
    pub cannot_provision: bool,
    pub unreserved: Option<u32>,
}

pub enum Answer {
    Reply(Value),
    Fails(&'static str),
    Refuses(InvokeError),
    /// Begins so, and goes on with these pieces.
    Streams(Head, Vec<Result<&'static str, Broken>>),
}

impl Script {
    /// The stream that comes next, if it is one; in its place stays what comes of its run.
    fn next_stream(&mut self) -> Option<(Head, Vec<Result<&'static str, Broken>>)> {
        let answer = self.answers.first_mut().filter(|answer| matches!(answer, Answer::Streams(..)))?;
        match std::mem::replace(answer, Answer::Fails("Halfway")) {
            Answer::Streams(head, pieces) => {
                if !pieces.contains(&Err(Broken)) {
                    *answer = Answer::Reply(json!(""));
                }
                Some((head, pieces))
            }
            _ => None,
        }
    }
}

impl FakeRunner {
    pub fn then(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.lock().answers.extend(answers);
    }

    pub fn last_call(&self) -> (Invocation, Version) {
        self.script.lock().calls.last().cloned().expect("a call")
    }
}

#[async_trait]
impl Runner for FakeRunner {
    async fn resolve(&self, uri: &str) -> Result<Image, ImageError> {
        use sha2::{Digest, Sha256};
        let Some((repository, tag)) = uri.split_once(':') else {
            return Err(ImageError::Refused(format!("Source image {uri} does not exist.")));
        };
        let sha256 = hex::encode(Sha256::digest(tag));
        let layer = json!({"sha256": sha256, "bytes": 10, "packing": "gzip", "diff_sha256": sha256});
        let process = json!({"entrypoint": ["/e"], "command": [], "env": [], "directory": null});
        let resolved = format!("{repository}@sha256:{sha256}");
        let image = json!({"uri": uri, "resolved": resolved, "sha256": sha256, "layers": [layer], "process": process});
        Ok(serde_json::from_value(image).expect("an image"))
    }

    async fn invoke(&self, call: Invocation) -> Result<Outcome, InvokeError> {
        let routed = self.catalog.route(&call.function, 0).await?;
        let mut script = self.script.lock();
        script.calls.push((call.clone(), (*routed.version).clone()));
        let answer = if script.answers.is_empty() { None } else { Some(script.answers.remove(0)) };
        let result = match answer {
            None => Ok(call.payload.clone()),
            Some(Answer::Reply(value)) => Ok(value.to_string().into()),
            Some(Answer::Refuses(error)) => return Err(error),
            Some(Answer::Streams(..)) => panic!("the caller does not want a stream"),
            Some(Answer::Fails(error_type)) => Err(FunctionError {
                kind: "Unhandled",
                error_type: error_type.into(),
                body: json!({"errorMessage": "no", "errorType": error_type}).to_string().into(),
            }),
        };
        Ok(Outcome {
            request_id: call.request_id,
            executed_version: routed.version.version.clone(),
            instance: "i".into(),
            result,
            log_tail: Bytes::from_static(b"END"),
            start: Start::Cold,
            started: START,
            duration_us: 1,
            billed_ms: 1,
        })
    }

    async fn stream(&self, call: Invocation) -> Result<Streamed, InvokeError> {
        let Some((head, pieces)) = self.script.lock().next_stream() else {
            return self.invoke(call).await.map(Streamed::whole);
        };
        let outcome = self.invoke(call).await?;
        let pieces = pieces.into_iter().map(|piece| piece.map(Bytes::from));
        Ok(Streamed { head: Some(head), chunks: stream::iter(pieces).boxed(), ..Streamed::whole(outcome) })
    }

    async fn prepare(&self, version: &Version) -> Result<(), PrepareError> {
        let is_slow = {
            let mut script = self.script.lock();
            script.prepared.push(version.clone());
            script.slow.contains(&version.name)
        };
        if is_slow {
            std::future::pending::<()>().await;
        }
        self.script.lock().cannot_prepare.clone().map_or(Ok(()), Err)
    }

    async fn retire(&self, _: &Scope, _: &str, version: &str, keep_revision: Option<&str>) {
        self.script.lock().retired.push((version.to_owned(), keep_revision.map(str::to_owned)));
    }

    async fn provision(&self, _: &Scope, name: &str, wanted: Vec<(Version, u32)>) {
        let wanted = wanted.into_iter().map(|(version, n)| (version.version, n)).collect();
        self.script.lock().provisioned.insert(name.to_owned(), wanted);
    }

    async fn provisioned(&self, _: &Scope, name: &str, version: &str) -> Provisioned {
        let script = self.script.lock();
        let wanted = script.provisioned.get(name).and_then(|all| all.iter().find(|(v, _)| v == version));
        let allocated = wanted.map_or(0, |(_, n)| *n);
        match script.cannot_provision {
            true => Provisioned { failing: true, ..Provisioned::default() },
            false => Provisioned { allocated, idle: allocated, failing: false },
        }
    }

    async fn limit(&self, _: &Scope, unreserved: u32) {
        self.script.lock().unreserved = Some(unreserved);
    }

    fn network(&self, name: &str) -> Result<(), String> {
        match name {
            "platform" | "db" => Ok(()),
            _ => Err(format!("the network {name:?} is none of this node's: db, platform")),
        }
    }

    fn runtimes(&self) -> Vec<RuntimeReport> {
        let one = |name: &str| RuntimeReport { name: name.into(), program: None, note: None };
        vec![one("python3.11"), one("provided.al2023")]
    }
}

#[derive(Default)]
pub struct FakeObjects(pub Mutex<BTreeMap<(String, String), Bytes>>);

#[async_trait]
impl ObjectReader for FakeObjects {
    async fn read(&self, _: &AccountId, bucket: &str, key: &str, limit: u64) -> Result<Bytes, ReadError> {
        let objects = self.0.lock();
        if !objects.keys().any(|(b, _)| b == bucket) {
            return Err(ReadError::NoSuchBucket);
        }
        match objects.get(&(bucket.to_owned(), key.to_owned())) {
            Some(bytes) if bytes.len() as u64 > limit => Err(ReadError::TooLarge { limit }),
            Some(bytes) => Ok(bytes.clone()),
            None => Err(ReadError::NoSuchKey),
        }
    }
}
