//! An instance's log stream: lines wait here for the logs room, so that writing a line never delays a reply.

use base::log::{LogBatch, LogLine};
use base::port::{Clock, LogSink};
use base::{Scope, Timestamp};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// CloudWatch Logs' largest event is 256 KiB with 26 bytes of overhead.
pub(crate) const LINE_BYTES_MAX: usize = (256 << 10) - 26;
/// Readers of a function's output wait while so much is on its way to the logs room.
const PENDING_BYTES_MAX: usize = 1 << 20;
/// A batch's bounds, as CloudWatch Logs has them for PutLogEvents.
const BATCH_BYTES_MAX: usize = 1 << 20;
const BATCH_LINES_MAX: usize = 10_000;
/// What `LogType: Tail` gives.
const TAIL_BYTES: usize = 4 << 10;

/// One stream of lines. [`Log::ship`] runs as a task beside it and hands the lines on.
pub(crate) struct Log {
    scope: Scope,
    group: String,
    stream: String,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// There is something to ship, or the log was closed.
    work: Notify,
    /// Something was shipped.
    room: Notify,
}

#[derive(Default)]
struct State {
    pending: Vec<LogLine>,
    pending_bytes: usize,
    /// The end of the present run's log.
    tail: Tail,
    closed: bool,
}

/// The end of a run's log.
#[derive(Default)]
pub(crate) struct Tail(Vec<u8>);

impl Tail {
    pub(crate) fn extend(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
        if !text.ends_with('\n') {
            self.0.push(b'\n');
        }
        if self.0.len() > 4 * TAIL_BYTES {
            self.0.drain(..self.0.len() - TAIL_BYTES);
        }
    }

    /// The last 4 KB, cut at a character.
    pub(crate) fn last(&self) -> Bytes {
        let mut from = self.0.len().saturating_sub(TAIL_BYTES);
        while from < self.0.len() && self.0[from] & 0xc0 == 0x80 {
            from += 1;
        }
        Bytes::copy_from_slice(&self.0[from..])
    }
}

impl Log {
    pub(crate) fn new(scope: Scope, group: String, stream: String, clock: Arc<dyn Clock>) -> Self {
        let (state, work, room) = Default::default();
        Self { scope, group, stream, clock, state, work, room }
    }

    pub(crate) fn stream(&self) -> &str {
        &self.stream
    }

    /// A line of now.
    pub(crate) fn line(&self, text: impl Into<String>) {
        self.line_at(self.clock.now(), text.into());
    }

    /// A line, cut where it is longer than an event may be. Never waits.
    pub(crate) fn line_at(&self, at: Timestamp, text: String) {
        if text.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        state.tail.extend(&text);
        state.push_cut(at, text);
        drop(state);
        self.work.notify_one();
    }

    /// Lines of one of several runs that write here at once, each of which keeps its own tail.
    pub(crate) fn lines(&self, lines: impl IntoIterator<Item = LogLine>) {
        let mut state = self.state.lock();
        for LogLine { at, message } in lines {
            state.push_cut(at, message);
        }
        drop(state);
        self.work.notify_one();
    }

    /// The next run's tail starts empty.
    pub(crate) fn start_tail(&self) {
        self.state.lock().tail = Tail::default();
    }

    /// The last 4 KB of the run, cut at a character.
    pub(crate) fn tail(&self) -> Bytes {
        self.state.lock().tail.last()
    }

    /// Whether the logs room keeps up.
    pub(crate) fn has_room(&self) -> bool {
        self.state.lock().pending_bytes < PENDING_BYTES_MAX
    }

    /// Waits until the logs room has caught up.
    pub(crate) async fn room(&self) {
        loop {
            let room = self.room.notified();
            if self.has_room() {
                return;
            }
            room.await;
        }
    }

    /// No more lines come; [`Self::ship`] ends when it has shipped what is there.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_one();
    }

    /// Hands lines on until the log is closed and empty.
    pub(crate) async fn ship(self: Arc<Self>, sink: Arc<dyn LogSink>) {
        loop {
            let (lines, closed) = self.state.lock().take_batch();
            if !lines.is_empty() {
                let (scope, group, stream) = (self.scope.clone(), self.group.clone(), self.stream.clone());
                sink.append(LogBatch { scope, group, stream, lines }).await;
                self.room.notify_waiters();
            } else if closed {
                return;
            } else {
                self.work.notified().await;
            }
        }
    }
}

impl State {
    fn push(&mut self, at: Timestamp, message: String) {
        self.pending_bytes += message.len();
        self.pending.push(LogLine { at, message });
    }

    /// A line, cut where it is longer than an event may be.
    fn push_cut(&mut self, at: Timestamp, text: String) {
        if text.len() <= LINE_BYTES_MAX {
            return self.push(at, text);
        }
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(LINE_BYTES_MAX));
            self.push(at, piece.to_owned());
            rest = after;
        }
    }

    fn take_batch(&mut self) -> (Vec<LogLine>, bool) {
        let mut bytes = 0;
        let whole = |line: &LogLine| {
            bytes += line.message.len() + 26;
            bytes <= BATCH_BYTES_MAX
        };
        let count = self.pending.iter().take(BATCH_LINES_MAX).take_while({
            let mut whole = whole;
            move |line| whole(line)
        });
        let count = count.count();
        let rest = self.pending.split_off(count);
        let lines = std::mem::replace(&mut self.pending, rest);
        self.pending_bytes -= lines.iter().map(|l| l.message.len()).sum::<usize>();
        (lines, self.closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_and_keep_order() {
        let mut state = State::default();
        for i in 0..12 {
            state.push(Timestamp(i), "x".repeat(200_000));
        }
        let mut seen = Vec::new();
        loop {
            let (lines, _) = state.take_batch();
            if lines.is_empty() {
                break;
            }
            assert!(lines.len() <= 5);
            seen.extend(lines.iter().map(|l| l.at.0));
        }
        assert_eq!(seen, (0..12).collect::<Vec<_>>());
        assert_eq!(state.pending_bytes, 0);
    }

    #[test]
    fn the_tail_is_the_last_4_kb() {
        let mut tail = Tail::default();
        for _ in 0..5_000 {
            tail.extend("é123456\n");
        }
        assert!(tail.0.len() <= 4 * TAIL_BYTES);
        assert!(tail.last().len() > TAIL_BYTES - 4);
    }
}
