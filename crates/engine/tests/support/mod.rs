//! Stand-ins for what the engine meets: a clock that can run fast, sinks that remember, a catalogue in memory, zips.

#![allow(dead_code)]

use async_trait::async_trait;
use base::log::LogBatch;
use base::port::{LogSink, Meter};
use base::{Arn, FunctionRef, Invocation, InvokeError, Mode, UsageRecord};
use bytes::Bytes;
use engine::{Catalog, Code, Config, Engine, Package, Parts, Routed, Runtime, Version};
use kit::{Free, Keys, RunningClock, Seeded, scope};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::{BlobId, Blobs};

/// A version of a function whose package is not there.
pub fn version(name: &str) -> Version {
    Version {
        scope: scope(),
        name: name.into(),
        version: "$LATEST".into(),
        revision: "r1".into(),
        arn: Arn::new("lambda", "us-east-1", "000000000000", format!("function:{name}")),
        role: "arn:aws:iam::000000000000:role/r".into(),
        runtime: Runtime::Provided("provided.al2023".into()),
        handler: "app.handler".into(),
        memory_mb: 128,
        timeout_s: 3,
        ephemeral_mb: 512,
        environment: BTreeMap::new(),
        code: Code::Zip(Package {
            blob: BlobId::new("code", "00000000-0000-4000-8000-000000000000"),
            sha256: "0".repeat(64),
            zip_bytes: 0,
            unpacked_bytes: 0,
        }),
        layers: Vec::new(),
        copies: None,
        per_instance: None,
        network: None,
        log_group: format!("/aws/lambda/{name}"),
        isolation: None,
    }
}

pub fn routed(name: &str, reserved: Option<u32>) -> Routed {
    let version = Arc::new(version(name));
    Routed { invoked_arn: version.arn.to_string(), version, reserved }
}

/// Remembers lines by stream, in order, and usage.
#[derive(Default)]
pub struct Memory {
    pub lines: Mutex<Vec<(String, String)>>,
    pub usage: Mutex<Vec<UsageRecord>>,
}

impl Memory {
    /// All messages of a group's streams so far.
    pub fn messages(&self) -> Vec<String> {
        self.lines.lock().iter().map(|(_, message)| message.clone()).collect()
    }

    pub fn text(&self) -> String {
        self.messages().concat()
    }

    /// Waits until a line with this text has arrived.
    pub async fn wait_for(&self, text: &str) {
        for _ in 0..500 {
            if self.text().contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no line with {text:?} in:\n{}", self.text());
    }
}

#[async_trait]
impl LogSink for Memory {
    async fn append(&self, batch: LogBatch) {
        let lines = batch.lines.into_iter().map(|line| (batch.stream.clone(), line.message));
        self.lines.lock().extend(lines);
    }
}

#[async_trait]
impl Meter for Memory {
    async fn record(&self, usage: UsageRecord) {
        self.usage.lock().push(usage);
    }
}

/// Functions by name.
#[derive(Default)]
pub struct Shelf(Mutex<HashMap<String, Routed>>);

impl Shelf {
    pub fn put(&self, version: Version, reserved: Option<u32>) {
        let version = Arc::new(version);
        let routed = Routed { invoked_arn: version.arn.to_string(), version: version.clone(), reserved };
        self.0.lock().insert(version.name.clone(), routed);
    }
}

#[async_trait]
impl Catalog for Shelf {
    async fn route(&self, function: &FunctionRef, _: u64) -> Result<Routed, InvokeError> {
        let found = self.0.lock().get(&function.name).cloned();
        found.ok_or_else(|| InvokeError::NotFound(function.name.clone()))
    }
}

/// No two worlds of a process draw the same numbers.
static SEEDS: AtomicU64 = AtomicU64::new(1);

/// An engine with everything around it.
pub struct World {
    pub engine: Arc<Engine>,
    pub shelf: Arc<Shelf>,
    pub memory: Arc<Memory>,
    pub blobs: Blobs,
    pub dir: tempfile::TempDir,
    ids: AtomicU64,
}

impl World {
    pub fn new(driver: Arc<dyn sandbox::Driver>, scale: u32, adjust: impl FnOnce(&mut Config)) -> Self {
        Self::with_components(driver, None, scale, adjust)
    }

    pub fn with_components(
        driver: Arc<dyn sandbox::Driver>,
        components: Option<Arc<dyn sandbox::Components>>,
        scale: u32,
        adjust: impl FnOnce(&mut Config),
    ) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let blobs = Blobs::directory(&dir.path().join("blobs")).expect("blobs");
        let (shelf, memory) = (Arc::<Shelf>::default(), Arc::<Memory>::default());
        let mut config = Config::new(dir.path());
        adjust(&mut config);
        let parts = Parts {
            catalog: shelf.clone(),
            driver,
            components,
            blobs: blobs.clone(),
            images: Arc::new(images::Images::new(images::Config::default(), blobs.clone())),
            clock: RunningClock::scaled(scale),
            entropy: Arc::new(Seeded::new(SEEDS.fetch_add(1, Ordering::Relaxed))),
            meter: memory.clone(),
            logs: memory.clone(),
            identity: Arc::new(Keys::test()),
            headroom: Free::unbounded(),
            config,
        };
        let engine = Engine::new(parts).expect("an engine");
        Self { engine, shelf, memory, blobs, dir, ids: AtomicU64::new(1) }
    }

    /// A package of files, as a version's code.
    pub async fn code(&self, files: &[(&str, impl AsRef<[u8]>)]) -> Code {
        Code::Zip(self.package(files).await)
    }

    /// Puts files into a package and gives it to the version.
    pub async fn package(&self, files: &[(&str, impl AsRef<[u8]>)]) -> Package {
        let zip = zip(files);
        let sha256 = {
            use sha2::Digest;
            hex::encode(sha2::Sha256::digest(&zip))
        };
        let id = format!("00000000-0000-4000-8000-{}", &sha256[..12]);
        let (blob, zip_bytes) = (BlobId::new("code", &id), zip.len() as u64);
        self.blobs.put(&blob, zip.into()).await.expect("stores");
        Package { blob, sha256, zip_bytes, unpacked_bytes: 0 }
    }

    pub fn call(&self, name: &str, payload: impl Into<Bytes>) -> Invocation {
        let n = self.ids.fetch_add(1, Ordering::Relaxed);
        Invocation {
            function: FunctionRef { scope: scope(), name: name.into(), qualifier: None },
            request_id: format!("00000000-0000-4000-9000-{n:012}"),
            payload: payload.into(),
            mode: Mode::Wait,
            client_context: None,
            trace_id: None,
        }
    }
}

/// A zip of files; `bootstrap` is executable.
pub fn zip(files: &[(&str, impl AsRef<[u8]>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, contents) in files {
        let mode = if Path::new(name).ends_with("bootstrap") { 0o755 } else { 0o644 };
        let options = zip::write::SimpleFileOptions::default().unix_permissions(mode);
        writer.start_file(*name, options).expect("starts");
        writer.write_all(contents.as_ref()).expect("writes");
    }
    writer.finish().expect("finishes").into_inner()
}
