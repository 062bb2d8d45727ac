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
    pub code: Package,
    /// In the order they are laid over each other in /opt.
    pub layers: Vec<Package>,
    /// Whether instances may be copied from an initialised one, as SnapStart's `ApplyOn` says; `None` leaves it to the node.
    #[serde(default)]
    pub copies: Option<bool>,
    /// The name of its network, among the node's; `None` is the usual one.
    #[serde(default)]
    pub network: Option<String>,
    /// `/aws/lambda/<name>` unless LoggingConfig says otherwise.
    pub log_group: String,
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
