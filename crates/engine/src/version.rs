//! A function version as the engine runs it, and where the engine finds one.

use async_trait::async_trait;
use base::{Arn, FunctionRef, InvokeError, Scope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::BlobId;

/// Everything the engine needs to run one version of a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub scope: Scope,
    pub name: String,
    /// `$LATEST` or a number.
    pub version: String,
    /// Changes whenever code or configuration does: instances of another revision are not reused.
    pub revision: String,
    /// The ARN that the caller invoked is in the invocation; this one is unqualified.
    pub arn: Arn,
    pub role: String,
    pub runtime: Runtime,
    pub handler: String,
    pub memory_mb: u32,
    pub timeout_s: u32,
    pub ephemeral_mb: u32,
    pub environment: BTreeMap<String, String>,
    pub code: Code,
    /// In the order they are laid over each other in /opt.
    pub layers: Vec<Package>,
    /// Whether instances may be copied from an initialised one, as SnapStart's `ApplyOn` says; `None` leaves it to the node.
    #[serde(default)]
    pub copies: Option<bool>,
    /// Calls at once in one instance; `None`: one.
    #[serde(default)]
    pub per_instance: Option<u32>,
    /// The name of its network, among the node's; `None` is the usual one.
    #[serde(default)]
    pub network: Option<String>,
    /// `/aws/lambda/<name>` unless LoggingConfig says otherwise.
    pub log_group: String,
    /// How strong a wall its instances have; `None` leaves it to the node.
    #[serde(default)]
    pub isolation: Option<Isolation>,
}

impl Version {
    /// Calls at once in one instance.
    pub fn calls(&self) -> usize {
        self.per_instance.map_or(1, |calls| calls.max(1) as usize)
    }
}

/// What a version runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Code {
    Zip(Package),
    Image(images::Image),
}

impl Code {
    /// The package, where it is one.
    pub fn zip(&self) -> Option<&Package> {
        match self {
            Self::Zip(package) => Some(package),
            Self::Image(_) => None,
        }
    }

    /// The image, where it is one.
    pub fn image(&self) -> Option<&images::Image> {
        match self {
            Self::Zip(_) => None,
            Self::Image(image) => Some(image),
        }
    }

    /// Bytes of the zip that this node keeps; none of an image.
    pub fn zip_bytes(&self) -> u64 {
        self.zip().map_or(0, |package| package.zip_bytes)
    }

    pub fn unpacked_bytes(&self) -> u64 {
        self.zip().map_or(0, |package| package.unpacked_bytes)
    }

    /// What it is made of in the blob store.
    pub fn blobs(&self) -> Vec<BlobId> {
        match self {
            Self::Zip(package) => vec![package.blob.clone()],
            Self::Image(image) => image.blobs(),
        }
    }

    /// Of the zip or of the image's manifest, lower-case hex.
    pub fn sha256(&self) -> &str {
        match self {
            Self::Zip(package) => &package.sha256,
            Self::Image(image) => &image.sha256,
        }
    }
}

/// The wall between an instance and everybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Our own sandbox.
    Process,
    /// An OCI runtime's container, within our own sandbox.
    Container,
    /// A kernel of its own (gVisor), within our own sandbox.
    Gvisor,
    /// Of components alone: WebAssembly's own, in the node's process.
    Wasm,
    /// Of components alone: WebAssembly's own, in a process in our own sandbox.
    WasmProcess,
}

impl Isolation {
    pub const ALL: [Self; 5] = [Self::Process, Self::Container, Self::Gvisor, Self::Wasm, Self::WasmProcess];

    /// Whether it is one of WebAssembly components; else it is one of packages and images.
    pub fn is_of_components(self) -> bool {
        matches!(self, Self::Wasm | Self::WasmProcess)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Container => "container",
            Self::Gvisor => "gvisor",
            Self::Wasm => "wasm",
            Self::WasmProcess => "wasm-process",
        }
    }
}

/// A zip in the blob store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Package {
    pub blob: BlobId,
    /// Of the zip, lower-case hex: also the name of its unpacked directory.
    pub sha256: String,
    pub zip_bytes: u64,
    pub unpacked_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// `python3.<minor>`
    Python { minor: u8 },
    /// `nodejs<major>.x`
    Node { major: u8 },
    /// `provided.al2`, `provided.al2023`: the package's `bootstrap` speaks the Runtime API. Holds the runtime's name.
    Provided(String),
    /// An image's own program, as the function's ImageConfig says, which speaks the Runtime API.
    Image(ImageConfig),
}

/// What of an image's own a function replaces. Empty leaves the image's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageConfig {
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub directory: Option<String>,
}

/// A version to run now and the limits that go with it.
#[derive(Clone, Debug)]
pub struct Routed {
    pub version: Arc<Version>,
    /// ARN as invoked, with the caller's qualifier if it gave one (`Lambda-Runtime-Invoked-Function-Arn`).
    pub invoked_arn: String,
    /// Reserved concurrency of the function: 0 turns it off.
    pub reserved: Option<u32>,
}

/// Name → alias (weights) → version. The functions room implements it over its records.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// `draw` is a uniform random number for an alias with weights.
    async fn route(&self, function: &FunctionRef, draw: u64) -> Result<Routed, InvokeError>;
}
