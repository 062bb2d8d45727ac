//! The keys and records this room owns.

use crate::filter::Filter;
use crate::model::{Batch, Retry, Schema};
use ::store::record::Record;
use ::store::{Key, Sealed};
use base::{Scope, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything under `eventgrid/`.
pub enum Space<'a> {
    /// `eventgrid/topic/<name>` → [`Topic`]. Names are unique on the node, whoever owns them: an endpoint names no account.
    Topic(&'a str),
    /// `eventgrid/subscription/<topic>/<name>` → [`Subscription`]
    Subscription(&'a str, &'a str),
}

impl Space<'_> {
    pub fn key(&self) -> Key {
        match *self {
            Space::Topic(name) => topics().text(name),
            Space::Subscription(topic, name) => subscriptions(topic).text(name),
        }
    }
}

pub fn topics() -> Key {
    Key::of("eventgrid/topic")
}

/// The start of all subscriptions of a topic.
pub fn subscriptions(topic: &str) -> Key {
    Key::of("eventgrid/subscription").text(topic)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    pub name: String,
    /// Its path in the resource manager, as it was put.
    pub id: String,
    pub scope: Scope,
    pub location: String,
    pub schema: Schema,
    pub tags: BTreeMap<String, String>,
    pub created: Timestamp,
    /// Both keys, as a JSON array, bound to the topic's id.
    pub keys: Sealed,
}

impl Record for Topic {
    const VERSION: u8 = 1;
}

/// How a webhook's owner has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Succeeded,
    /// Its owner may still ask for the validation URL, until this moment.
    Awaiting(Timestamp),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    pub name: String,
    pub id: String,
    pub endpoint: String,
    pub schema: Schema,
    pub filter: Filter,
    pub retry: Retry,
    #[serde(default)]
    pub batch: Batch,
    /// The bucket for what could not be delivered.
    pub dead_letter: Option<String>,
    pub labels: Vec<String>,
    pub state: State,
    /// What the webhook's owner has to say again.
    pub code: String,
}

impl Record for Subscription {
    const VERSION: u8 = 1;
}
