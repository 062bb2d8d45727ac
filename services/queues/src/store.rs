//! The keys and records this room owns.

use crate::model::message::Message;
use crate::model::queue::Queue;
use crate::shelf::Group;
use ::store::record::Record;
use ::store::{Error, Key, KeyReader, Result};
use base::{Scope, Timestamp};
use bytes::{BufMut, Bytes};
use serde::{Deserialize, Serialize};

/// Everything under `queues/`. A queue has an id for as long as it exists, and a *stock* until it is purged: the id
/// under which its messages lie, so that those of an earlier stock can be removed in their own time.
pub enum Space<'a> {
    /// `queues/queue/<account>/<region>/<name>` → [`Queue`]
    Queue(&'a Scope, &'a str),
    /// `queues/deleted/<account>/<region>/<name>` → [`Dropped`]: a name that cannot be used again yet.
    Deleted(&'a Scope, &'a str),
    /// `queues/message/<stock>/<place>` → a message: see [`encode_message`]. Written once.
    Message(u64, Place),
    /// `queues/held/<stock>/<place>` → [`Held`]: a message that was received.
    Held(u64, Place),
    /// `queues/dedup/<queue>/<digest>` → [`Dedup`]
    Dedup(u64, &'a [u8]),
    /// `queues/dedup-end/<queue>/<ms>/<digest>` → nothing: deduplication records in the order in which they end.
    DedupEnd(u64, u64, &'a [u8]),
    /// `queues/dropped/<stock or queue>` → [`Dropped`]: what is to be swept.
    Dropped(u64),
    /// `queues/task/<account>/<region>/<source name>/<started ms>/<id>` → [`MoveTask`]
    Task(&'a Scope, &'a str, u64, &'a str),
}

impl Space<'_> {
    pub fn key(&self) -> Key {
        match *self {
            Space::Queue(scope, name) => queues(scope).text(name),
            Space::Deleted(scope, name) => in_scope("queues/deleted", scope).text(name),
            Space::Message(stock, place) => place.below(messages(stock)),
            Space::Held(stock, place) => place.below(held(stock)),
            Space::Dedup(queue, digest) => dedups(queue).bytes(digest),
            Space::DedupEnd(queue, end, digest) => dedup_ends(queue).number(end).bytes(digest),
            Space::Dropped(id) => dropped().number(id),
            Space::Task(scope, source, started, id) => tasks(scope, source).number(started).text(id),
        }
    }
}

fn in_scope(space: &str, scope: &Scope) -> Key {
    Key::of(space).text(scope.account.as_str()).text(scope.region.as_str())
}

/// The start of all queues of a scope.
pub fn queues(scope: &Scope) -> Key {
    in_scope("queues/queue", scope)
}

pub fn all_queues() -> Key {
    Key::of("queues/queue")
}

pub fn all_deleted() -> Key {
    Key::of("queues/deleted")
}

pub fn messages(stock: u64) -> Key {
    Key::of("queues/message").number(stock)
}

pub fn held(stock: u64) -> Key {
    Key::of("queues/held").number(stock)
}

pub fn dedups(queue: u64) -> Key {
    Key::of("queues/dedup").number(queue)
}

pub fn dedup_ends(queue: u64) -> Key {
    Key::of("queues/dedup-end").number(queue)
}

pub fn dropped() -> Key {
    Key::of("queues/dropped")
}

pub fn tasks(scope: &Scope, source: &str) -> Key {
    in_scope("queues/task", scope).text(source)
}

pub fn all_tasks() -> Key {
    Key::of("queues/task")
}

/// Where a message lies in its queue: by when it is due, and by the order of sending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Milliseconds. Of a FIFO queue, whose delay may change, the time of sending.
    pub due: u64,
    /// Unique in the queue, and higher the later it was sent; the sequence number of a FIFO queue's message.
    pub stamp: u64,
}

impl Place {
    fn below(self, key: Key) -> Key {
        key.number(self.due).number(self.stamp)
    }

    /// The place in the key of a message or held record.
    pub fn of_key(key: &[u8]) -> Option<Self> {
        let mut numbers = KeyReader::new(&key[key.len().checked_sub(16)?..]);
        Some(Self { due: numbers.number()?, stamp: numbers.number()? })
    }

    /// The least place behind this one.
    pub fn next(self) -> Self {
        Self { due: self.due, stamp: self.stamp + 1 }
    }

    pub fn sequence_number(self) -> String {
        format!("{:020}", self.stamp)
    }
}

/// A message that has been received and not deleted. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Until when it is, or was, invisible.
    pub visible: u64,
    pub receives: u32,
    pub first_received: u64,
    /// Last received.
    pub received: u64,
    /// What its last receipt handle must say.
    pub receipt: u64,
    pub group: Option<Group>,
}

const HELD_VERSION: u8 = 1;
const MESSAGE_VERSION: u8 = 1;

impl Held {
    pub fn encode(&self) -> Bytes {
        let group = self.group.as_deref().unwrap_or("");
        let mut out = Vec::with_capacity(40 + group.len());
        out.put_u8(HELD_VERSION);
        out.put_u64(self.visible);
        out.put_u32(self.receives);
        out.put_u64(self.first_received);
        out.put_u64(self.received);
        out.put_u64(self.receipt);
        out.put_slice(group.as_bytes());
        out.into()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::Damaged("a received message".into());
        let (fixed, group) = bytes.split_at_checked(37).filter(|(f, _)| f[0] == HELD_VERSION).ok_or_else(damaged)?;
        let number = |at: usize| u64::from_be_bytes(fixed[at..at + 8].try_into().expect("eight bytes"));
        let group = std::str::from_utf8(group).map_err(|_| damaged())?;
        Ok(Self {
            visible: number(1),
            receives: u32::from_be_bytes(fixed[9..13].try_into().expect("four bytes")),
            first_received: number(13),
            received: number(21),
            receipt: number(29),
            group: (!group.is_empty()).then(|| group.into()),
        })
    }
}

/// A version byte, the length of the head as JSON (four bytes), the head, the body.
pub fn encode_message(message: &Message) -> Bytes {
    let head = serde_json::to_vec(&message.head).expect("heads have string keys and no failing impls");
    let mut out = Vec::with_capacity(5 + head.len() + message.body.len());
    out.put_u8(MESSAGE_VERSION);
    out.put_u32(head.len() as u32);
    out.put_slice(&head);
    out.put_slice(message.body.as_bytes());
    out.into()
}

pub fn decode_message(bytes: &Bytes) -> Result<Message> {
    let damaged = || Error::Damaged("a message".into());
    let (fixed, rest) = bytes.split_at_checked(5).filter(|(f, _)| f[0] == MESSAGE_VERSION).ok_or_else(damaged)?;
    let length = u32::from_be_bytes(fixed[1..].try_into().expect("four bytes")) as usize;
    let (head, body) = rest.split_at_checked(length).ok_or_else(damaged)?;
    let body = String::from_utf8(body.to_vec()).map_err(|_| damaged())?;
    Ok(Message { head: serde_json::from_slice(head).map_err(|_| damaged())?, body })
}

/// The group of a message in this form, without reading the rest.
pub fn group_of(bytes: &Bytes) -> Result<Option<Group>> {
    #[derive(Deserialize)]
    struct Head<'h> {
        #[serde(borrow, default)]
        group: Option<std::borrow::Cow<'h, str>>,
    }
    let damaged = || Error::Damaged("a message".into());
    let (fixed, rest) = bytes.split_at_checked(5).filter(|(f, _)| f[0] == MESSAGE_VERSION).ok_or_else(damaged)?;
    let length = u32::from_be_bytes(fixed[1..].try_into().expect("four bytes")) as usize;
    let head: Head<'_> = serde_json::from_slice(rest.get(..length).ok_or_else(damaged)?).map_err(|_| damaged())?;
    Ok(head.group.map(|group| group.as_ref().into()))
}

/// What was sent under a deduplication id, until when another of it is taken for the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dedup {
    pub until: Timestamp,
    pub message_id: String,
    pub stamp: u64,
}

/// When something was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    pub at: Timestamp,
}

/// A task that moves messages out of a dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveTask {
    pub id: String,
    pub scope: Scope,
    pub source: String,
    /// The ARN; `None`: where each message came from.
    pub destination: Option<String>,
    pub per_second: Option<u32>,
    pub started: Timestamp,
    pub moved: u64,
    pub to_move: u64,
    pub status: Status,
    pub failure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Running,
    Completed,
    Cancelling,
    Cancelled,
    Failed,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Cancelling => "CANCELLING",
            Self::Cancelled => "CANCELLED",
            Self::Failed => "FAILED",
        }
    }
}

impl Record for Queue {
    const VERSION: u8 = 1;
}

impl Record for Dedup {
    const VERSION: u8 = 1;
}

impl Record for Dropped {
    const VERSION: u8 = 1;
}

impl Record for MoveTask {
    const VERSION: u8 = 1;
}

/// The id in a dropped key.
pub fn parse_dropped(key: &[u8]) -> Option<u64> {
    let mut r = KeyReader::new(key);
    r.text()?;
    r.number()
}

/// When the deduplication in a key ends, and its digest.
pub fn parse_dedup_end(key: &[u8]) -> Option<(u64, Vec<u8>)> {
    let mut r = KeyReader::new(key);
    r.text()?;
    r.number()?;
    Some((r.number()?, r.bytes()?))
}
