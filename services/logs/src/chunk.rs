//! Events as they lie in storage: a chunk holds lines of one stream, in order of time, all within two seconds.
//!
//! Chunks of a group are keyed by the time of their first line, so that a range of time is a range of keys; because a
//! chunk spans little, a reader need only look [`SPAN_MS_MAX`] before the time it wants.

use ::store::record::Record;
use base::Timestamp;
use base::log::LogLine;
use serde::{Deserialize, Serialize};

/// From a chunk's first line to its last.
pub const SPAN_MS_MAX: u64 = 2_000;
/// What a chunk's lines may take once they are JSON, unless it has but one line. Well below the store's bound.
const ENCODED_BYTES_MAX: usize = 512 << 10;
const LINES_MAX: usize = 2_000;
/// What CloudWatch Logs adds to each event's size.
pub const EVENT_OVERHEAD_BYTES: u64 = 26;

/// Lines of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    pub stream: String,
    /// The stream's number in its group: two streams that had the same name one after the other differ in it.
    pub stream_id: u64,
    pub ingested: Timestamp,
    pub lines: Vec<LogLine>,
}

impl Record for Chunk {
    const VERSION: u8 = 1;
}

/// Where an event stands in its group: by its time, then in the order in which events came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub at: u64,
    /// The number of its chunk.
    pub seq: u64,
    pub index: u32,
}

impl Position {
    pub const LAST: Self = Self { at: u64::MAX, seq: u64::MAX, index: u32::MAX };

    pub fn start_of(at: u64) -> Self {
        Self { at, seq: 0, index: 0 }
    }

    /// The position right after this one.
    pub fn next(self) -> Self {
        Self { index: self.index.saturating_add(1), ..self }
    }

    /// 56 digits, as CloudWatch's event ids have; they sort as positions do.
    pub fn event_id(self) -> String {
        format!("{:020}{:020}{:016}", self.at, self.seq, self.index)
    }

    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 56 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number = |part: &str| part.parse().ok();
        let index = u32::try_from(number(&text[40..])?).ok()?;
        Some(Self { at: number(&text[..20])?, seq: number(&text[20..40])?, index })
    }
}

/// Sorts lines by time (those of one time keep their order) and cuts them into what chunks may hold.
pub fn cut(mut lines: Vec<LogLine>) -> Vec<Vec<LogLine>> {
    lines.sort_by_key(|l| l.at);
    let mut chunks: Vec<Vec<LogLine>> = Vec::new();
    let mut encoded = 0;
    for line in lines {
        let bytes = encoded_bytes(&line.message);
        let fits =
            chunks.last().and_then(|c| c.first().map(|first| (c.len(), first.at))).is_some_and(|(len, first)| {
                len < LINES_MAX
                    && line.at.millis() - first.millis() <= SPAN_MS_MAX
                    && encoded + bytes <= ENCODED_BYTES_MAX
            });
        if !fits {
            chunks.push(Vec::new());
            encoded = 0;
        }
        encoded += bytes;
        chunks.last_mut().expect("one was just pushed").push(line);
    }
    chunks
}

/// About what a message takes as JSON.
pub fn encoded_bytes(message: &str) -> usize {
    let escaped = |b: u8| match b {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    message.bytes().map(escaped).sum::<usize>() + 40
}

/// The size that is billed: UTF-8 bytes and the overhead of each event.
pub fn stored_bytes(lines: &[LogLine]) -> u64 {
    lines.iter().map(|l| l.message.len() as u64 + EVENT_OVERHEAD_BYTES).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: u64, bytes: usize) -> LogLine {
        LogLine { at: Timestamp(at), message: "x".repeat(bytes) }
    }

    #[test]
    fn chunks_are_sorted_and_bounded() {
        let times = |chunks: &[Vec<LogLine>]| -> Vec<Vec<u64>> {
            chunks.iter().map(|c| c.iter().map(|l| l.at.millis()).collect()).collect()
        };
        let chunks = cut(vec![line(5_000, 1), line(1_000, 1), line(3_000, 1), line(3_001, 1)]);
        assert_eq!(times(&chunks), [vec![1_000, 3_000], vec![3_001, 5_000]]);
        assert_eq!(cut(vec![line(1, 300 << 10), line(1, 300 << 10)]).len(), 2);
        assert_eq!(cut((0..5_000).map(|_| line(1, 1)).collect()).len(), 3);
        assert!(cut(Vec::new()).is_empty());
    }

    #[test]
    fn event_ids() {
        let at = |at, seq, index| Position { at, seq, index };
        for p in [at(0, 0, 0), at(1_795_449_064_123, 7, 3), Position::LAST] {
            assert_eq!(Position::parse(&p.event_id()), Some(p));
        }
        assert!(at(1, 9, 0).event_id() < at(2, 0, 0).event_id());
        for junk in ["", "1", &"9".repeat(56), &"x".repeat(56)] {
            assert_eq!(Position::parse(junk), None, "{junk}");
        }
    }

    #[test]
    fn encoded_size_is_not_underestimated() {
        for text in ["plain", "\u{1}\u{2}\"\\\n", "größe"] {
            let json = serde_json::to_vec(&LogLine { at: Timestamp(1_795_449_064_123), message: text.into() });
            assert!(json.expect("serialises").len() <= encoded_bytes(text), "{text:?}");
        }
    }
}
