//! The keys and records this room owns.

use ::store::record::Record;
use ::store::seal::Sealed;
use ::store::{Key, KeyReader, Result, Tx};
use base::{Arn, Scope, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Where alarms lie: `topics/alarm/<due ms>/<ARN of a subscription>`, of subscriptions that nobody has confirmed.
pub const ALARMS: &str = "topics/alarm";

/// Everything else under `topics/`.
pub enum Space<'a> {
    /// `topics/topic/<account>/<region>/<name>` → [`Topic`]
    Topic(&'a Scope, &'a str),
    /// `topics/subscription/<account>/<region>/<topic>/<id>` → [`Subscription`]
    Subscription(&'a Scope, &'a str, &'a str),
    /// `topics/endpoint/<account>/<region>/<topic>/<protocol>/<endpoint>` → the id of the subscription, as text.
    Endpoint(&'a Scope, &'a str, (&'a str, &'a str)),
    /// `topics/edition/<account>/<region>/<topic>` → [`Edition`]: changes with the topic and its subscriptions, so that
    /// they can be kept ready and a transaction can check that they still hold.
    Edition(&'a Scope, &'a str),
    /// `topics/sequence/<topic id>` → [`Sequence`], of FIFO topics.
    Sequence(&'a str),
    /// `topics/sent/<topic id>/<digest>` → [`Sent`]: what a FIFO topic does not take again.
    Sent(&'a str, &'a [u8]),
    /// `topics/until/<until ms>/<topic id>/<digest>`: when a [`Sent`] is to be forgotten.
    Until(Timestamp, &'a str, &'a [u8]),
    /// `topics/key` → [`SigningKey`]
    SigningKey,
}

impl Space<'_> {
    pub fn key(&self) -> Key {
        match *self {
            Space::Topic(scope, name) => topics(scope).text(name),
            Space::Subscription(scope, topic, id) => subscriptions(scope, Some(topic)).text(id),
            Space::Endpoint(scope, topic, (protocol, endpoint)) => {
                within("topics/endpoint", scope).text(topic).text(protocol).text(endpoint)
            }
            Space::Edition(scope, topic) => within("topics/edition", scope).text(topic),
            Space::Sequence(topic) => Key::of("topics/sequence").text(topic),
            Space::Sent(topic, digest) => Key::of("topics/sent").text(topic).bytes(digest),
            Space::Until(until, topic, digest) => Key::of(UNTIL).number(until.millis()).text(topic).bytes(digest),
            Space::SigningKey => Key::of("topics/key"),
        }
    }
}

const UNTIL: &str = "topics/until";

fn within(space: &str, scope: &Scope) -> Key {
    Key::of(space).text(scope.account.as_str()).text(scope.region.as_str())
}

/// The start of all topics of a scope.
pub fn topics(scope: &Scope) -> Key {
    within("topics/topic", scope)
}

/// The start of all subscriptions of a scope, or of one of its topics.
pub fn subscriptions(scope: &Scope, topic: Option<&str>) -> Key {
    let all = within("topics/subscription", scope);
    topic.map_or(all.clone(), |topic| all.text(topic))
}

/// What has been sent until `now` and is to be forgotten: from, to.
pub fn forgettable(now: Timestamp) -> (Key, Key) {
    (Key::of(UNTIL), Key::of(UNTIL).number(now.millis()))
}

/// The time, topic id and digest in a key of [`Space::Until`].
pub fn parse_until(key: &[u8]) -> Option<(Timestamp, String, Vec<u8>)> {
    let mut reader = KeyReader::new(key);
    reader.text()?;
    Some((Timestamp(reader.number()?), reader.text()?, reader.bytes()?))
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Made anew each time a topic of the name is created.
    pub id: String,
    pub created: Timestamp,
    pub fifo: bool,
    /// As they were set.
    pub attributes: BTreeMap<String, String>,
    pub policy: Option<Value>,
    pub tags: BTreeMap<String, String>,
    /// Subscriptions that there were.
    #[serde(default)]
    pub deleted: u64,
}

impl Record for Topic {
    const VERSION: u8 = 1;
}

impl Topic {
    pub fn is(&self, attribute: &str, value: &str) -> bool {
        self.attributes.get(attribute).is_some_and(|text| text == value)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    pub id: String,
    pub protocol: String,
    pub endpoint: String,
    pub created: Timestamp,
    pub state: State,
    /// Confirms it.
    pub token: Option<String>,
    /// Where its owner speaks to this node: what URLs in messages begin with.
    pub host: String,
    /// Was it confirmed by somebody who signed?
    #[serde(default)]
    pub authenticated: bool,
    /// Only who signs may end it.
    #[serde(default)]
    pub guarded: bool,
    /// As they were set.
    pub attributes: BTreeMap<String, String>,
}

impl Record for Subscription {
    const VERSION: u8 = 1;
}

impl Subscription {
    pub fn is_raw(&self) -> bool {
        self.attributes.get("RawMessageDelivery").is_some_and(|text| text == "true")
    }

    /// The ARN of its dead-letter queue.
    pub fn dead_letter(&self) -> Option<Arn> {
        crate::model::subscription::dead_letter(self.attributes.get("RedrivePolicy")?).ok()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Pending,
    Confirmed,
    /// Over, but for the token that its endpoint has been sent, which begins it again.
    Ended,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edition(pub u64);

impl Record for Edition {
    const VERSION: u8 = 1;
}

/// The last message of a FIFO topic: its number, and when it was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    pub last: u64,
    pub at: Timestamp,
}

impl Record for Sequence {
    const VERSION: u8 = 1;
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub message: String,
    pub sequence: u64,
    pub until: Timestamp,
}

impl Record for Sent {
    const VERSION: u8 = 1;
}

/// The node's key, sealed, and the certificate that goes with it.
#[derive(Clone, Serialize, Deserialize)]
pub struct SigningKey {
    /// PKCS #8, DER.
    pub sealed: Sealed,
    /// PEM.
    pub certificate: String,
}

impl Record for SigningKey {
    const VERSION: u8 = 1;
}

/// Tells that a topic or its subscriptions have changed.
pub async fn next_edition(tx: &Tx, scope: &Scope, topic: &str) -> Result<()> {
    let key = Space::Edition(scope, topic).key();
    let Edition(n) = tx.get(&key).await?.unwrap_or_default();
    tx.put(&key, &Edition(n + 1))
}
