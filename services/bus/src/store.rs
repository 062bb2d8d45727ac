//! The keys and records this room owns.

use ::store::record::Record;
use ::store::{Key, Result, Tx};
use base::{Scope, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Where alarms of rules with schedules lie: `bus/alarm/<due ms>/<account>/<region>/<bus>/<rule>`.
pub const ALARMS: &str = "bus/alarm";

/// Everything else under `bus/`.
pub enum Space<'a> {
    /// `bus/bus/<account>/<region>/<name>` → [`BusRecord`]; the default bus is there without one.
    Bus(&'a Scope, &'a str),
    /// `bus/rule/<account>/<region>/<bus>/<name>` → [`Rule`]
    Rule(&'a Scope, &'a str, &'a str),
    /// `bus/edition/<account>/<region>/<bus>` → [`Edition`]: changes with every rule, so that compiled ones can be
    /// kept and a transaction can check that they still hold.
    Edition(&'a Scope, &'a str),
}

impl Space<'_> {
    pub fn key(&self) -> Key {
        match *self {
            Space::Bus(scope, name) => buses(scope).text(name),
            Space::Rule(scope, bus, name) => rules(scope, bus).text(name),
            Space::Edition(scope, bus) => within("bus/edition", scope).text(bus),
        }
    }
}

fn within(space: &str, scope: &Scope) -> Key {
    Key::of(space).text(scope.account.as_str()).text(scope.region.as_str())
}

/// The start of all buses of a scope.
pub fn buses(scope: &Scope) -> Key {
    within("bus/bus", scope)
}

/// The start of all rules of a bus.
pub fn rules(scope: &Scope, bus: &str) -> Key {
    within("bus/rule", scope).text(bus)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusRecord {
    pub created: Timestamp,
    pub modified: Timestamp,
    pub description: Option<String>,
    /// The ARN of the queue for events that targets of other accounts do not take.
    pub dead_letter: Option<String>,
    /// Statements of the resource policy.
    #[serde(default)]
    pub statements: Vec<Value>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl Record for BusRecord {
    const VERSION: u8 = 1;
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub pattern: Option<String>,
    pub schedule: Option<String>,
    pub enabled: bool,
    /// As given: there are two ways to be enabled.
    pub state: String,
    pub description: Option<String>,
    pub role: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub targets: Vec<Target>,
    /// When its schedule began.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// When its alarm is set.
    #[serde(default)]
    pub due: Option<Timestamp>,
}

impl Record for Rule {
    const VERSION: u8 = 1;
}

/// Where a rule sends events, and in which form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    pub id: String,
    pub arn: String,
    pub role: Option<String>,
    pub input: Option<String>,
    pub input_path: Option<String>,
    pub transformer: Option<Template>,
    pub message_group: Option<String>,
    pub dead_letter: Option<String>,
    pub retries_max: Option<u32>,
    pub age_max_s: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    pub paths: BTreeMap<String, String>,
    pub template: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edition(pub u64);

impl Record for Edition {
    const VERSION: u8 = 1;
}

/// Tells that the rules of a bus have changed.
pub async fn next_edition(tx: &Tx, scope: &Scope, bus: &str) -> Result<()> {
    let key = Space::Edition(scope, bus).key();
    let Edition(n) = tx.get(&key).await?.unwrap_or_default();
    tx.put(&key, &Edition(n + 1))
}
