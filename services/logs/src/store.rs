//! The keys and records this room owns.

use crate::chunk::Chunk;
use ::store::record::{Record, decode};
use ::store::{Key, KeyReader, Result, Store, Tx};
use base::{Scope, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything under `logs/`. A group's `id` is made anew each time a group of its name is created, so that what
/// belonged to a deleted one can be swept in its own time.
pub enum Space<'a> {
    /// `logs/group/<account>/<region>/<name>` → [`Group`]
    Group(&'a Scope, &'a str),
    /// `logs/tail/<group id>` → [`Tail`]
    Tail(&'a str),
    /// `logs/stream/<group id>/<name>` → [`Stream`]
    Stream(&'a str, &'a str),
    /// `logs/recent/<group id>/<last event ms>/<stream name>` → nothing: streams in the order of their last event.
    Recent(&'a str, u64, &'a str),
    /// `logs/chunk/<group id>/<first event ms>/<seq>` → [`Chunk`]
    Chunk(&'a str, u64, u64),
    /// `logs/index/<group id>/<stream id>/<first event ms>/<seq>` → nothing: the chunks of one stream.
    Index(&'a str, u64, u64, u64),
    /// `logs/dropped/<group id>` → [`Dropped`]: a deleted group whose records are still to be swept.
    DroppedGroup(&'a str),
    /// `logs/hidden/<group id>/<stream id>` → [`Dropped`]: a deleted stream whose chunks are still to be swept.
    DroppedStream(&'a str, u64),
}

impl Space<'_> {
    pub fn key(&self) -> Key {
        match *self {
            Space::Group(scope, name) => groups(scope).text(name),
            Space::Tail(group) => Key::of("logs/tail").text(group),
            Space::Stream(group, name) => streams(group).text(name),
            Space::Recent(group, last, name) => recent(group).number(last).text(name),
            Space::Chunk(group, first, seq) => chunks(group).number(first).number(seq),
            Space::Index(group, stream, first, seq) => index(group, stream).number(first).number(seq),
            Space::DroppedGroup(group) => Key::of("logs/dropped").text(group),
            Space::DroppedStream(group, stream) => Key::of("logs/hidden").text(group).number(stream),
        }
    }
}

/// The start of all groups of a scope.
pub fn groups(scope: &Scope) -> Key {
    Key::of("logs/group").text(scope.account.as_str()).text(scope.region.as_str())
}

/// The start of all groups.
pub fn all_groups() -> Key {
    Key::of("logs/group")
}

pub fn streams(group: &str) -> Key {
    Key::of("logs/stream").text(group)
}

pub fn recent(group: &str) -> Key {
    Key::of("logs/recent").text(group)
}

pub fn chunks(group: &str) -> Key {
    Key::of("logs/chunk").text(group)
}

pub fn index(group: &str, stream: u64) -> Key {
    Key::of("logs/index").text(group).number(stream)
}

pub fn dropped_groups() -> Key {
    Key::of("logs/dropped")
}

pub fn dropped_streams(group: &str) -> Key {
    Key::of("logs/hidden").text(group)
}

pub fn all_dropped_streams() -> Key {
    Key::of("logs/hidden")
}

/// Where the records of a dropped group lie, apart from its chunks: swept prefix by prefix.
pub fn remains(group: &str) -> [Key; 6] {
    let of = |space: &str| Key::of(space).text(group);
    [of("logs/chunk"), of("logs/index"), of("logs/recent"), of("logs/stream"), of("logs/hidden"), of("logs/tail")]
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub id: String,
    pub created: Timestamp,
    pub retention_days: Option<u32>,
    pub tags: BTreeMap<String, String>,
}

impl Record for Group {
    const VERSION: u8 = 1;
}

/// What changes with every write to a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// The number of the next chunk or stream.
    pub next: u64,
    /// Of all events: UTF-8 bytes and 26 for each.
    pub bytes: u64,
}

impl Record for Tail {
    const VERSION: u8 = 1;
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    pub id: u64,
    pub created: Timestamp,
    pub first_event: Option<Timestamp>,
    pub last_event: Option<Timestamp>,
    pub ingested: Option<Timestamp>,
}

impl Record for Stream {
    const VERSION: u8 = 1;
}

/// Marks what was deleted and is still to be swept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    pub at: Timestamp,
}

impl Record for Dropped {
    const VERSION: u8 = 1;
}

/// The two numbers at the end of the key of a chunk or of an index entry: first event and seq.
pub fn chunk_numbers(key: &[u8]) -> Option<(u64, u64)> {
    let at = key.len().checked_sub(16)?;
    let mut numbers = KeyReader::new(&key[at..]);
    Some((numbers.number()?, numbers.number()?))
}

/// The scope and name in a group's key.
pub fn parse_group(key: &[u8]) -> Option<(String, String, String)> {
    let mut r = KeyReader::new(key);
    r.text()?;
    Some((r.text()?, r.text()?, r.text()?))
}

/// The name in a stream's key.
pub fn parse_stream(key: &[u8]) -> Option<String> {
    let mut r = KeyReader::new(key);
    r.text()?;
    r.text()?;
    r.text()
}

/// The time of the last event and the stream's name in a recent key.
pub fn parse_recent(key: &[u8]) -> Option<(u64, String)> {
    let mut r = KeyReader::new(key);
    r.text()?;
    r.text()?;
    Some((r.number()?, r.text()?))
}

/// The group and stream in a hidden key.
pub fn parse_hidden(key: &[u8]) -> Option<(String, u64)> {
    let mut r = KeyReader::new(key);
    r.text()?;
    Some((r.text()?, r.number()?))
}

pub async fn group(store: &Store, scope: &Scope, name: &str) -> Result<Option<Group>> {
    store.get(&Space::Group(scope, name).key()).await
}

pub async fn tail(tx: &Tx, group: &str) -> Result<Tail> {
    Ok(tx.get(&Space::Tail(group).key()).await?.unwrap_or_default())
}

/// Puts a chunk and its index entry; returns the bytes it counts for.
pub fn put_chunk(tx: &Tx, group: &str, seq: u64, chunk: &Chunk) -> Result<u64> {
    let first = chunk.lines.first().map_or(0, |l| l.at.millis());
    tx.put(&Space::Chunk(group, first, seq).key(), chunk)?;
    tx.put_bytes(&Space::Index(group, chunk.stream_id, first, seq).key(), Vec::new())?;
    Ok(crate::chunk::stored_bytes(&chunk.lines))
}

pub fn read_chunk(bytes: &[u8]) -> Result<Chunk> {
    decode(bytes)
}
