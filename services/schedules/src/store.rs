//! The keys and records this room owns.

use ::store::record::Record;
use ::store::{Key, KeyReader};
use base::{AccountId, Region, Scope, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where alarms lie: `schedules/alarm/<due ms>/<id>`, the id being the schedule's place (`Place::id`).
pub const ALARMS: &str = "schedules/alarm";

/// Everything else under `schedules/`.
pub enum Space<'a> {
    /// `schedules/group/<account>/<region>/<name>` → [`Group`]; the default group is there without one.
    Group(&'a Scope, &'a str),
    /// `schedules/schedule/<account>/<region>/<group>/<name>` → [`Schedule`]
    Schedule(&'a Scope, &'a str, &'a str),
}

impl Space<'_> {
    pub fn key(&self) -> Key {
        match *self {
            Space::Group(scope, name) => groups(scope).text(name),
            Space::Schedule(scope, group, name) => schedules(scope).text(group).text(name),
        }
    }
}

fn within(space: &str, scope: &Scope) -> Key {
    Key::of(space).text(scope.account.as_str()).text(scope.region.as_str())
}

pub fn groups(scope: &Scope) -> Key {
    within("schedules/group", scope)
}

/// All schedules of a scope, by group and name.
pub fn schedules(scope: &Scope) -> Key {
    within("schedules/schedule", scope)
}

/// Whose alarm rings.
pub struct Place {
    pub scope: Scope,
    pub group: String,
    pub name: String,
}

impl Place {
    /// Names have no slashes.
    pub fn id(scope: &Scope, group: &str, name: &str) -> String {
        format!("{}/{}/{group}/{name}", scope.account.as_str(), scope.region.as_str())
    }

    pub fn parse(id: &str) -> Option<Self> {
        let mut parts = id.splitn(4, '/');
        let scope = Scope::new(AccountId::parse(parts.next()?)?, Region::parse(parts.next()?)?);
        Some(Self { scope, group: parts.next()?.to_owned(), name: parts.next()?.to_owned() })
    }
}

/// The group and name in a schedule's key.
pub fn parse_schedule(key: &[u8]) -> Option<(String, String)> {
    let mut reader = KeyReader::new(key);
    (0..3).try_for_each(|_| reader.text().map(drop))?;
    Some((reader.text()?, reader.text()?))
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub created: Timestamp,
    pub modified: Timestamp,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl Record for Group {
    const VERSION: u8 = 1;
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    pub created: Timestamp,
    pub modified: Timestamp,
    pub expression: String,
    pub zone: Option<String>,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    pub description: Option<String>,
    pub enabled: bool,
    /// Minutes within which it may be due.
    pub window: Option<u32>,
    pub delete_after: bool,
    pub target: Target,
    /// When its alarm is set; `None` if it is due no more, or disabled.
    pub due: Option<Due>,
}

impl Record for Schedule {
    const VERSION: u8 = 1;
}

/// The next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// As the expression says.
    pub scheduled: Timestamp,
    /// Within the flexible window.
    pub at: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    pub arn: String,
    pub role: String,
    pub input: Option<String>,
    pub dead_letter: Option<String>,
    pub retries_max: Option<u32>,
    pub age_max_s: Option<u32>,
    pub message_group: Option<String>,
    /// Detail type and source of the event that a bus gets.
    pub event: Option<(String, String)>,
}
