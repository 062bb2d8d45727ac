//! What a sandbox writes: plain output, line by line, and framed messages (fd 3), each kept whole.

use crate::log::{LINE_BYTES_MAX, Log};
use base::Timestamp;
use base::port::Clock;
use parking_lot::Mutex;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::net::unix::pipe::Receiver;

/// How much one drain at the end of a run reads at most: both pipes' capacity and what a busy writer adds meanwhile.
const DRAIN_BYTES_MAX: usize = 256 << 10;
const READ_BYTES: usize = 64 << 10;

/// The read ends of a sandbox's two pipes.
pub(crate) struct Pipes {
    output: Receiver,
    frames: Receiver,
    decoders: Mutex<(Lines, Frames)>,
    log: Arc<Log>,
    clock: Arc<dyn Clock>,
}

impl Pipes {
    pub(crate) fn new(output: OwnedFd, frames: OwnedFd, log: Arc<Log>, clock: Arc<dyn Clock>) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            output: Receiver::from_owned_fd(output)?,
            frames: Receiver::from_owned_fd(frames)?,
            decoders: Mutex::default(),
            log,
            clock,
        }))
    }

    /// Reads as the sandbox writes, until both pipes are closed. While the logs room is behind nothing is read, the
    /// pipes fill, and the writer waits.
    pub(crate) async fn pump(self: Arc<Self>) {
        let (mut output_open, mut frames_open) = (true, true);
        let open = |read: io::Result<usize>| match read {
            Ok(n) => n > 0,
            Err(e) => e.kind() == io::ErrorKind::WouldBlock,
        };
        while output_open || frames_open {
            self.log.room().await;
            tokio::select! {
                ready = self.output.readable(), if output_open => {
                    output_open = ready.is_ok() && open(self.read_output(|buffer| self.output.try_read(buffer)));
                }
                ready = self.frames.readable(), if frames_open => {
                    frames_open = ready.is_ok() && open(self.read_frames(|buffer| self.frames.try_read(buffer)));
                }
            }
        }
        self.flush();
    }

    /// Everything written so far goes to the log now: what a handler wrote before it answered is in the pipes.
    pub(crate) fn drain(&self) {
        let drain = |read: &dyn Fn() -> io::Result<usize>| {
            let mut left = DRAIN_BYTES_MAX;
            while let Ok(n @ 1..) = read() {
                left = left.saturating_sub(n);
                if left == 0 {
                    break;
                }
            }
        };
        // Straight from the descriptors: tokio's notion of what is ready may lag behind.
        drain(&|| self.read_frames(|buffer| Ok(rustix::io::read(&self.frames, buffer)?)));
        drain(&|| self.read_output(|buffer| Ok(rustix::io::read(&self.output, buffer)?)));
        self.flush();
    }

    fn read_output(&self, read: impl Fn(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let mut buffer = [0; READ_BYTES];
        let mut decoders = self.decoders.lock();
        let n = read(&mut buffer)?;
        decoders.0.feed(&buffer[..n], &mut |line| self.log.line_at(self.clock.now(), line));
        Ok(n)
    }

    fn read_frames(&self, read: impl Fn(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let mut buffer = [0; READ_BYTES];
        let mut decoders = self.decoders.lock();
        let n = read(&mut buffer)?;
        decoders.1.feed(&buffer[..n], &mut |at, message| {
            self.log.line_at(at.unwrap_or_else(|| self.clock.now()), message);
        });
        Ok(n)
    }

    fn flush(&self) {
        self.decoders.lock().0.flush(&mut |line| self.log.line_at(self.clock.now(), line));
    }
}

/// Cuts a byte stream into lines, each with its newline; bytes that are not UTF-8 are replaced.
#[derive(Default)]
pub(crate) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut dyn FnMut(String)) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() >= LINE_BYTES_MAX {
                self.flush(out);
            }
        }
    }

    pub(crate) fn flush(&mut self, out: &mut dyn FnMut(String)) {
        if !self.partial.is_empty() {
            out(String::from_utf8_lossy(&self.partial).into_owned());
            self.partial.clear();
        }
    }
}

/// Cuts a byte stream into AWS's telemetry frames: type (4 bytes, `a5 5a 00 xx`), length (4), time in microseconds since
/// the epoch (8), message; all big-endian. A stream that is not framed is taken as lines from then on.
#[derive(Default)]
struct Frames {
    held: Vec<u8>,
    /// Of the present frame: bytes still to come, and when it was written.
    body: Option<(usize, Timestamp)>,
    unframed: Option<Lines>,
}

const HEADER_BYTES: usize = 16;

impl Frames {
    fn feed(&mut self, bytes: &[u8], out: &mut dyn FnMut(Option<Timestamp>, String)) {
        self.held.extend_from_slice(bytes);
        while self.unframed.is_none() && self.step(out) {}
        if let Some(lines) = &mut self.unframed {
            lines.feed(&std::mem::take(&mut self.held), &mut |line| out(None, line));
        }
    }

    /// Takes one header or one piece of a message; false when there is too little.
    fn step(&mut self, out: &mut dyn FnMut(Option<Timestamp>, String)) -> bool {
        match self.body.take() {
            None => {
                let Some(header) = self.held.first_chunk::<HEADER_BYTES>() else { return false };
                if header[..3] != [0xa5, 0x5a, 0x00] {
                    self.unframed = Some(Lines::default());
                    return false;
                }
                let number =
                    |range: std::ops::Range<usize>| header[range].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
                self.body = Some((number(4..8) as usize, Timestamp(number(8..16) / 1000)));
                self.held.drain(..HEADER_BYTES);
                true
            }
            Some((left, at)) => {
                let piece = left.min(LINE_BYTES_MAX);
                if self.held.len() < piece {
                    self.body = Some((left, at));
                    return false;
                }
                out(Some(at), String::from_utf8_lossy(&self.held[..piece]).into_owned());
                self.held.drain(..piece);
                if left > piece {
                    self.body = Some((left - piece, at));
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(message: &[u8], micros: u64) -> Vec<u8> {
        let mut bytes = vec![0xa5, 0x5a, 0x00, 0x03];
        bytes.extend((message.len() as u32).to_be_bytes());
        bytes.extend(micros.to_be_bytes());
        bytes.extend(message);
        bytes
    }

    #[test]
    fn frames_survive_any_cut() {
        let mut stream = frame(b"two\nlines\n", 5_000);
        stream.extend(frame("é".as_bytes(), 6_000));
        stream.extend(frame(b"", 7_000));
        stream.extend(frame(b"end", 8_000));
        for cut in 1..stream.len() {
            let (mut frames, mut seen) = (Frames::default(), Vec::new());
            for part in stream.chunks(cut) {
                frames.feed(part, &mut |at, message| seen.push((at.map(Timestamp::millis), message)));
            }
            seen.retain(|(_, message)| !message.is_empty());
            let want = [(Some(5), "two\nlines\n"), (Some(6), "é"), (Some(8), "end")];
            assert_eq!(seen, want.map(|(at, text)| (at, text.to_owned())), "cut at {cut}");
        }
    }

    #[test]
    fn long_frames_are_split_and_garbage_is_lines() {
        let (mut frames, mut sizes) = (Frames::default(), Vec::new());
        frames.feed(&frame(&vec![b'x'; LINE_BYTES_MAX + 10], 0), &mut |_, m| sizes.push(m.len()));
        assert_eq!(sizes, [LINE_BYTES_MAX, 10]);
        let mut seen = Vec::new();
        frames.feed(b"plain text, no frame\nand more\n", &mut |at, m| seen.push((at.is_some(), m)));
        assert_eq!(seen, [(false, "plain text, no frame\n".to_owned()), (false, "and more\n".to_owned())]);
    }

    #[test]
    fn lines_are_cut_at_newlines() {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        lines.feed(b"a\nb", &mut |l| seen.push(l));
        lines.feed(b"c\n\nd\xff", &mut |l| seen.push(l));
        lines.flush(&mut |l| seen.push(l));
        assert_eq!(seen, ["a\n", "bc\n", "\n", "d\u{fffd}"]);
    }
}
