//! Event streams (`application/vnd.amazon.eventstream`): replies that are a sequence of events, each in a frame of its own
//! with its kind and checksums.

use bytes::{BufMut, Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, checksum};
use futures::Stream;
use futures::stream::{self, BoxStream, StreamExt};
use serde::Serialize;
use std::fmt;

/// The media type of a reply that is an event stream.
pub const EVENT_STREAM_TYPE: &str = "application/vnd.amazon.eventstream";

/// Lengths and checksums of a frame: total, headers, their checksum; at the end the whole's.
const FRAME_BYTES: usize = 16;
/// The type of a header's value that is a text.
const TEXT: u8 = 7;

/// One event: a member of the union that the model has for the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    kind: &'static str,
    content_type: &'static str,
    payload: Bytes,
}

impl Event {
    /// An event whose payload is a blob.
    pub fn blob(kind: &'static str, payload: Bytes) -> Self {
        Self { kind, content_type: "application/octet-stream", payload }
    }

    /// An event whose payload is a structure.
    pub fn json(kind: &'static str, members: &impl Serialize) -> Self {
        let payload = serde_json::to_vec(members).expect("generated structures have text keys").into();
        Self { kind, content_type: "application/json", payload }
    }

    /// The event on the wire.
    pub fn frame(&self) -> Bytes {
        let mut headers = BytesMut::new();
        let named = [(":event-type", self.kind), (":content-type", self.content_type), (":message-type", "event")];
        for (name, value) in named {
            headers.put_u8(name.len() as u8);
            headers.put_slice(name.as_bytes());
            headers.put_u8(TEXT);
            headers.put_u16(value.len() as u16);
            headers.put_slice(value.as_bytes());
        }
        let total = FRAME_BYTES + headers.len() + self.payload.len();
        let mut frame = BytesMut::with_capacity(total);
        frame.put_u32(total as u32);
        frame.put_u32(headers.len() as u32);
        frame.put_u32(crc(&frame));
        frame.put_slice(&headers);
        frame.put_slice(&self.payload);
        frame.put_u32(crc(&frame));
        frame.freeze()
    }
}

fn crc(bytes: &[u8]) -> u32 {
    checksum(CrcAlgorithm::Crc32IsoHdlc, bytes) as u32
}

/// The events of one reply, as they come. The default has none.
pub struct EventStream(BoxStream<'static, Event>);

impl EventStream {
    pub fn new(events: impl Stream<Item = Event> + Send + 'static) -> Self {
        Self(events.boxed())
    }

    pub fn into_stream(self) -> BoxStream<'static, Event> {
        self.0
    }
}

impl Default for EventStream {
    fn default() -> Self {
        Self::new(stream::empty())
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventStream(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_lengths_headers_payload_and_checksums() {
        let frame = Event::blob("PayloadChunk", Bytes::from_static(b"hello")).frame();
        let number = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().expect("four bytes"));
        assert_eq!(number(0) as usize, frame.len());
        let headers = number(4) as usize;
        assert_eq!(number(8), crc(&frame[..8]));
        assert_eq!(&frame[12..24], b"\x0b:event-type");
        assert_eq!(&frame[24..39], b"\x07\x00\x0cPayloadChunk");
        assert_eq!(&frame[12 + headers..frame.len() - 4], b"hello");
        assert_eq!(number(frame.len() - 4), crc(&frame[..frame.len() - 4]));
        // The checksum's own vector.
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
    }
}
