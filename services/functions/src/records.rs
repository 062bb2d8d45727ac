//! The records that the functions room keeps. [`crate::store::At`] says under which keys.

use crate::api::shapes::{CapacityProviderScalingConfig, CapacityProviderVpcConfig, InstanceRequirements};
use crate::model::settings::Settings;
use crate::model::{LATEST, LATEST_PUBLISHED};
use base::{Arn, FunctionRef, Scope, Timestamp};
use engine::{Code, Package};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use store::{Sealed, record::Record, seal::AtRest};

macro_rules! versioned {
    ($($record:ty),*) => { $(impl Record for $record { const VERSION: u8 = 1; })* };
}

versioned!(
    Function,
    Published,
    Alias,
    Policy,
    Url,
    UrlOwner,
    EventConfig,
    Layer,
    LayerVersion,
    Account,
    Pending,
    Provisioned,
    CapacityProvider,
    CapacityUse,
    Mapping,
    Retry,
    Secret,
    Witness
);

/// A function and its `$LATEST`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Function {
    pub name: String,
    pub latest: Snapshot,
    /// What still runs while an update is being made ready, and after one that failed.
    pub previous: Option<Box<Snapshot>>,
    /// The number that the next published version gets. Numbers are never used twice.
    pub next_version: u64,
    /// The version published last, and the revision it was made from.
    pub published: Option<(u64, String)>,
    pub reserved: Option<u32>,
    pub tags: BTreeMap<String, String>,
    /// It may be invoked by what it has caused itself, for ever.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loops: bool,
}

impl Function {
    /// What an invocation of `$LATEST` runs now.
    pub fn running(&self) -> &Snapshot {
        self.previous.as_deref().unwrap_or(&self.latest)
    }

    /// The qualifier of what a call with this one runs: on a capacity provider, only what was published runs.
    pub fn called<'a>(&self, qualifier: Option<&'a str>) -> Option<&'a str> {
        match qualifier {
            None if self.latest.settings.managed.is_some() => Some(LATEST_PUBLISHED),
            other => other,
        }
    }
}

/// Code and configuration of one version, and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub settings: Settings,
    pub layers: Vec<LayerUse>,
    pub code: Code,
    /// Changes with code or configuration only: the engine's revision.
    pub revision: String,
    /// The `RevisionId` that clients see: changes with the state too.
    pub revision_id: String,
    pub modified: Timestamp,
    pub state: State,
    pub update: Update,
}

impl Snapshot {
    /// AWS's word for its state, as the version of this name.
    pub fn state_name(&self, version: &str) -> &'static str {
        match self.state {
            State::Pending => "Pending",
            State::Failed { .. } => "Failed",
            State::Active if version == LATEST && self.settings.managed.is_some() => "ActiveNonInvocable",
            State::Active => "Active",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Pending,
    Active,
    Failed { code: String, reason: String },
}

/// `LastUpdateStatus`; there is none before the function has been active.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    None,
    Successful,
    InProgress,
    Failed { code: String, reason: String },
}

/// A layer version as a function uses it. It stays usable after the layer version was deleted, as on AWS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerUse {
    pub arn: String,
    pub package: Package,
}

/// A published version: never changes but for its state; but `$LATEST.PUBLISHED` is published again in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    pub number: u64,
    pub snapshot: Snapshot,
    /// What still runs while another in its place is being made ready, and after one that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Box<Snapshot>>,
}

impl Published {
    /// What an invocation runs now.
    pub fn running(&self) -> &Snapshot {
        self.previous.as_deref().unwrap_or(&self.snapshot)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alias {
    pub name: String,
    /// `$LATEST` or a number.
    pub version: String,
    pub description: String,
    /// Share of requests that go to another version.
    pub weights: BTreeMap<String, f64>,
    pub revision_id: String,
}

/// The resource policy of a function or of one of its qualifiers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub statements: Vec<Value>,
    pub revision_id: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Url {
    /// 32 lower-case letters and digits.
    pub id: String,
    /// `NONE` or `AWS_IAM`
    pub auth: String,
    /// `RESPONSE_STREAM`, or `BUFFERED`.
    #[serde(default)]
    pub streams: bool,
    pub cors: Option<crate::api::shapes::Cors>,
    pub created: Timestamp,
    pub modified: Timestamp,
}

/// Whose URL it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlOwner {
    pub scope: Scope,
    pub name: String,
    /// An alias, or `None` for `$LATEST`.
    pub qualifier: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventConfig {
    pub retries_max: Option<u32>,
    pub age_max_s: Option<u32>,
    /// ARNs.
    #[serde(default)]
    pub on_success: Option<String>,
    #[serde(default)]
    pub on_failure: Option<String>,
    pub modified: Timestamp,
}

/// A layer, kept after its last version is gone so that no number is used twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    pub name: String,
    pub next_version: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerVersion {
    pub layer: String,
    pub number: u64,
    pub description: String,
    pub licence: Option<String>,
    pub runtimes: Vec<String>,
    pub architectures: Vec<String>,
    pub package: Package,
    pub created: Timestamp,
    pub policy: Option<Policy>,
}

/// Totals of an account in a region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub functions: u64,
    /// Zipped bytes of all versions and layer versions.
    pub code_bytes: u64,
    /// Sum of all reserved concurrency.
    pub reserved: u32,
    /// Sum of the provisioned concurrency of functions without reserved concurrency.
    #[serde(default)]
    pub provisioned: u32,
}

/// Provisioned concurrency of a version or an alias.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provisioned {
    pub wanted: u32,
    pub modified: Timestamp,
}

/// What functions with several calls at once in an instance are assigned to; here it is this node, whatever it asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapacityProvider {
    pub name: String,
    pub vpc: CapacityProviderVpcConfig,
    /// The ARN of its operator's role.
    pub role: String,
    pub requirements: Option<InstanceRequirements>,
    pub scaling: CapacityProviderScalingConfig,
    pub tags: BTreeMap<String, String>,
    pub modified: Timestamp,
}

/// A function version that belongs to a capacity provider; its key says which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapacityUse {}

/// A function fed from a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    pub uuid: String,
    pub scope: Scope,
    pub function: FunctionRef,
    pub source: Arn,
    pub batch_size: u32,
    pub window_s: u32,
    pub concurrency_max: Option<u32>,
    /// Event patterns.
    pub filters: Vec<String>,
    /// `ReportBatchItemFailures`
    pub partial: bool,
    pub enabled: bool,
    pub modified: Timestamp,
    pub state: MappingState,
}

impl Mapping {
    /// Does another record ask for the same work?
    pub fn same_work(&self, other: &Self) -> bool {
        let work = |m: &Self| Self { state: MappingState::Enabled, modified: Timestamp(0), ..m.clone() };
        work(self) == work(other)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MappingState {
    Creating,
    Enabling,
    Enabled,
    Disabling,
    Disabled,
    Updating,
    Deleting,
}

impl MappingState {
    pub fn word(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Enabling => "Enabling",
            Self::Enabled => "Enabled",
            Self::Disabling => "Disabling",
            Self::Disabled => "Disabled",
            Self::Updating => "Updating",
            Self::Deleting => "Deleting",
        }
    }
}

/// A version that waits to be made ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub revision: String,
}

/// How many attempts of an event ended in the function's own error. Throttles and our own faults are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    pub errors: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Secret {
    pub key: AtRest<String>,
}

/// Something that opens with the master key that this room's records need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness(pub Sealed);
