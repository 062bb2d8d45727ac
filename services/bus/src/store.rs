//! The keys and records this room owns.

use crate::request::TargetHttp;
use ::store::record::Record;
use ::store::{Key, KeyReader, Result, Sealed, Tx};
use base::{Scope, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Where alarms lie: `bus/alarm/<due ms>/<id>`; the ids are `work.rs`'s.
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
    /// `bus/archive/<account>/<region>/<name>` → [`Archive`]
    Archive(&'a Scope, &'a str),
    /// `bus/archived/<archive id>/<arrived ms>/<event id>` → the event, as JSON.
    Archived(&'a str, Timestamp, &'a str),
    /// `bus/replay/<account>/<region>/<name>` → [`Replay`]
    Replay(&'a Scope, &'a str),
    /// `bus/connection/<account>/<region>/<name>` → [`Connection`]
    Connection(&'a Scope, &'a str),
    /// `bus/destination/<account>/<region>/<name>` → [`Destination`]
    Destination(&'a Scope, &'a str),
}

impl Space<'_> {
    pub fn key(&self) -> Key {
        match *self {
            Space::Bus(scope, name) => buses(scope).text(name),
            Space::Rule(scope, bus, name) => rules(scope, bus).text(name),
            Space::Edition(scope, bus) => within("bus/edition", scope).text(bus),
            Space::Archive(scope, name) => archives(scope).text(name),
            Space::Archived(archive, at, event) => archived(archive).number(at.millis()).text(event),
            Space::Replay(scope, name) => replays(scope).text(name),
            Space::Connection(scope, name) => connections(scope).text(name),
            Space::Destination(scope, name) => destinations(scope).text(name),
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

pub fn archives(scope: &Scope) -> Key {
    within("bus/archive", scope)
}

/// All events of an archive, in the order in which they arrived.
pub fn archived(archive: &str) -> Key {
    Key::of("bus/archived").text(archive)
}

pub fn replays(scope: &Scope) -> Key {
    within("bus/replay", scope)
}

pub fn connections(scope: &Scope) -> Key {
    within("bus/connection", scope)
}

pub fn destinations(scope: &Scope) -> Key {
    within("bus/destination", scope)
}

/// When an archived event arrived, and its id.
pub fn parse_archived(key: &[u8]) -> Option<(Timestamp, String)> {
    let mut reader = KeyReader::new(key);
    (0..2).try_for_each(|_| reader.text().map(drop))?;
    Some((Timestamp(reader.number()?), reader.text()?))
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
    /// For API destinations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<TargetHttp>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    pub paths: BTreeMap<String, String>,
    pub template: String,
}

/// An archive: what it keeps of which bus. The `id` is made anew each time, so that what belonged to a deleted one can be
/// swept in its own time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    pub id: String,
    pub bus: String,
    pub created: Timestamp,
    pub description: Option<String>,
    pub pattern: Option<String>,
    /// `None` is for ever.
    pub retention_days: Option<u32>,
}

impl Record for Archive {
    const VERSION: u8 = 1;
}

/// A replay: what of an archive is sent to a bus again, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    pub archive: String,
    pub archive_id: String,
    pub bus: String,
    /// ARNs of the rules that the events are for; none is all.
    pub rules: Vec<String>,
    pub description: Option<String>,
    pub from: Timestamp,
    /// Inclusive.
    pub to: Timestamp,
    pub state: State,
    /// The last event that was sent: when it had arrived, and its id.
    pub sent: Option<(Timestamp, String)>,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
}

impl Record for Replay {
    const VERSION: u8 = 1;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    Starting,
    Running,
    Cancelling,
    Completed,
    Cancelled,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Starting => "STARTING",
            State::Running => "RUNNING",
            State::Cancelling => "CANCELLING",
            State::Completed => "COMPLETED",
            State::Cancelled => "CANCELLED",
        }
    }
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

/// How API destinations are authorised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    pub id: String,
    pub arn: String,
    pub created: Timestamp,
    pub modified: Timestamp,
    pub authorized: Option<Timestamp>,
    pub description: Option<String>,
    /// `BASIC`, `API_KEY` or `OAUTH_CLIENT_CREDENTIALS`.
    pub kind: String,
    /// Why it is not authorised; `None` is that it is.
    pub unauthorized: Option<String>,
    /// [`crate::connection::Secrets`], bound to the ARN.
    pub secrets: Sealed,
}

impl Record for Connection {
    const VERSION: u8 = 1;
}

/// An API destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    pub id: String,
    pub created: Timestamp,
    pub modified: Timestamp,
    pub description: Option<String>,
    /// The ARN of its connection.
    pub connection: String,
    pub endpoint: String,
    pub method: String,
    /// As given; `None` is 300.
    pub per_second: Option<u32>,
    /// What its owner allowed in the CloudEvents handshake; `None` is no bound.
    pub per_minute: Option<u32>,
}

impl Record for Destination {
    const VERSION: u8 = 1;
}
