//! Reading events in order of time, of one stream or of a whole group, forwards or backwards, in bounded pages.
//!
//! Chunks come in the order of their first line and may overlap by [`SPAN_MS_MAX`] at most. So a heap of the lines seen
//! so far gives them in order: a line may leave it as soon as no chunk still to come can hold one before it.

use crate::chunk::{Chunk, Position, SPAN_MS_MAX};
use crate::store::{self, Space};
use ::store::{Result, Store};
use base::Timestamp;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

/// Chunks read from the store at a time.
const CHUNKS_AT_ONCE: usize = 32;
/// Chunks searched for one page; then the page ends, full or not, with a position to go on from.
const CHUNKS_MAX: usize = 4_096;
/// AWS's bound on a page of events.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// An event found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub position: Position,
    pub stream: String,
    pub message: String,
    pub ingested: Timestamp,
}

/// Which events.
pub struct Selection<'a> {
    /// The group's id.
    pub group: &'a str,
    /// One stream, by its id; or all.
    pub stream: Option<u64>,
    /// Inclusive.
    pub from: Position,
    /// Exclusive.
    pub until: Position,
    pub wants: &'a (dyn Fn(&Chunk) -> bool + Sync),
    pub matches: &'a (dyn Fn(&str) -> bool + Sync),
}

/// Some of the selected events, in the order of reading.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub events: Vec<Found>,
    /// Where to go on: from here (forward, inclusive) or until here (backward, exclusive). `None` when all was read.
    pub rest: Option<Position>,
}

/// A line in the heap; ordered by its position alone.
struct Line(Found);

impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        self.0.position == other.0.position
    }
}

impl Eq for Line {}

impl PartialOrd for Line {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Line {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.position.cmp(&other.0.position)
    }
}

/// The first events of the selection, the earliest first, at most `limit`.
pub async fn forward(store: &Store, selection: &Selection<'_>, limit: usize) -> Result<Page> {
    let mut page = Filling { limit, bytes: 0, events: Vec::new() };
    let mut heap: BinaryHeap<Reverse<Line>> = BinaryHeap::new();
    let (mut low, high) = selection.keys();
    let mut searched = 0;
    loop {
        let chunks = selection.chunks(store, &low, &high, false).await?;
        let more = chunks.len() == CHUNKS_AT_ONCE;
        for (first, seq, chunk) in chunks {
            // Lines before this chunk's first can have no rival any more.
            while heap.peek().is_some_and(|l| l.0.0.position.at < first) {
                let Some(Reverse(Line(found))) = heap.pop() else { break };
                if let Some(rest) = page.add(found) {
                    return Ok(page.ends(Some(rest)));
                }
            }
            searched += usize::from(first >= selection.from.at);
            if searched > CHUNKS_MAX && first > selection.from.at {
                return Ok(page.ends(Some(Position::start_of(first))));
            }
            low = selection.key(first, seq + 1);
            if let Some(chunk) = chunk {
                heap.extend(selection.lines(seq, chunk).map(|f| Reverse(Line(f))));
            }
        }
        if !more {
            break;
        }
    }
    while let Some(Reverse(Line(found))) = heap.pop() {
        if let Some(rest) = page.add(found) {
            return Ok(page.ends(Some(rest)));
        }
    }
    Ok(page.ends(None))
}

/// The last events of the selection, the latest first, at most `limit`.
pub async fn backward(store: &Store, selection: &Selection<'_>, limit: usize) -> Result<Page> {
    let mut page = Filling { limit, bytes: 0, events: Vec::new() };
    let mut heap: BinaryHeap<Line> = BinaryHeap::new();
    let (low, mut high) = selection.keys();
    let mut searched = 0;
    loop {
        let chunks = selection.chunks(store, &low, &high, true).await?;
        let more = chunks.len() == CHUNKS_AT_ONCE;
        for (first, seq, chunk) in chunks {
            let reach = first.saturating_add(SPAN_MS_MAX);
            while heap.peek().is_some_and(|l| l.0.position.at > reach) {
                let Some(Line(found)) = heap.pop() else { break };
                let at = found.position;
                if page.add(found).is_some() {
                    return Ok(page.ends(Some(at.next())));
                }
            }
            searched += usize::from(reach < selection.until.at);
            if searched > CHUNKS_MAX && reach < selection.until.at {
                return Ok(page.ends(Some(Position::start_of(reach + 1))));
            }
            high = selection.key(first, seq);
            if let Some(chunk) = chunk {
                heap.extend(selection.lines(seq, chunk).map(Line));
            }
        }
        if !more {
            break;
        }
    }
    while let Some(Line(found)) = heap.pop() {
        let at = found.position;
        if page.add(found).is_some() {
            return Ok(page.ends(Some(at.next())));
        }
    }
    Ok(page.ends(None))
}

/// A page being filled.
struct Filling {
    limit: usize,
    bytes: usize,
    events: Vec<Found>,
}

impl Filling {
    /// Adds an event, or says that it no longer fits, and where it stands.
    fn add(&mut self, found: Found) -> Option<Position> {
        let bytes = found.message.len() + crate::chunk::EVENT_OVERHEAD_BYTES as usize;
        let full = self.events.len() >= self.limit || self.bytes + bytes > PAGE_BYTES_MAX;
        if full && !self.events.is_empty() {
            return Some(found.position);
        }
        self.bytes += bytes;
        self.events.push(found);
        None
    }

    fn ends(self, rest: Option<Position>) -> Page {
        Page { events: self.events, rest }
    }
}

impl Selection<'_> {
    fn key(&self, first: u64, seq: u64) -> Vec<u8> {
        match self.stream {
            Some(stream) => Space::Index(self.group, stream, first, seq).key().into_bytes(),
            None => Space::Chunk(self.group, first, seq).key().into_bytes(),
        }
    }

    /// The range of keys in which chunks with selected lines lie.
    fn keys(&self) -> (Vec<u8>, Vec<u8>) {
        let low = self.key(self.from.at.saturating_sub(SPAN_MS_MAX), 0);
        let high = match self.until.at.checked_add(1) {
            Some(after) => self.key(after, 0),
            None => match self.stream {
                Some(stream) => store::index(self.group, stream).end(),
                None => store::chunks(self.group).end(),
            },
        };
        (low, high)
    }

    /// The next chunks of a range of keys, each with its first time and seq; `None` for one that is not wanted or has
    /// been swept meanwhile.
    async fn chunks(
        &self,
        store: &Store,
        low: &[u8],
        high: &[u8],
        reverse: bool,
    ) -> Result<Vec<(u64, u64, Option<Chunk>)>> {
        let items = match reverse {
            false => store.scan(low, high, CHUNKS_AT_ONCE).await?,
            true => store.scan_back(low, high, CHUNKS_AT_ONCE).await?,
        };
        let mut chunks = Vec::with_capacity(items.len());
        for item in items {
            let Some((first, seq)) = store::chunk_numbers(&item.key) else { continue };
            let bytes = match self.stream {
                Some(_) => store.get_bytes(&Space::Chunk(self.group, first, seq).key()).await?,
                None => Some(item.value),
            };
            let chunk = bytes.map(|b| store::read_chunk(&b)).transpose()?;
            chunks.push((first, seq, chunk.filter(|c| (self.wants)(c))));
        }
        Ok(chunks)
    }

    /// The selected lines of a chunk.
    fn lines(&self, seq: u64, chunk: Chunk) -> impl Iterator<Item = Found> {
        let Chunk { stream, ingested, lines, .. } = chunk;
        lines.into_iter().enumerate().filter_map(move |(index, line)| {
            let position = Position { at: line.at.millis(), seq, index: index as u32 };
            let selected = self.from <= position && position < self.until && (self.matches)(&line.message);
            selected.then(|| Found { position, stream: stream.clone(), message: line.message, ingested })
        })
    }
}

/// The streams of a group that have been deleted while their chunks are still there.
pub async fn dropped(store: &Store, group: &str) -> Result<HashSet<u64>> {
    let all = store::dropped_streams(group);
    let items = store.scan(all.as_bytes(), &all.end(), DROPPED_MAX).await?;
    Ok(items.iter().filter_map(|i| store::parse_hidden(&i.key).map(|(_, stream)| stream)).collect())
}

/// More deleted streams than this waiting for the sweep are refused when the next is to be deleted.
pub const DROPPED_MAX: usize = 10_000;
