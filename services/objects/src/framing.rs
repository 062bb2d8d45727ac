//! The aws-chunked framing of a body on its way to `s3s`, which buffers each chunk whole before it gives it out: chunks
//! without signatures are cut small, and those with are held to a bound, so that memory stays flat.

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use room::{Body, BodyError};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The largest chunk that carries a signature.
const SIGNED_CHUNK_BYTES_MAX: u64 = 16 << 20;
/// The longest line before a chunk.
const LINE_BYTES_MAX: usize = 1024;

/// A body in aws-chunked framing, re-framed as it passes.
pub struct Reframed {
    inner: Body,
    signed: bool,
    state: State,
    ready: VecDeque<Bytes>,
}

enum State {
    /// Reading the line before a chunk.
    Line(Vec<u8>),
    /// So many bytes of the chunk are still to come.
    Data(u64),
    /// So many bytes of the line end after a chunk are still to come.
    End(u8),
    /// After the last chunk: trailers pass as they are.
    Tail,
}

/// Why framing was refused. `s3s` hands on only the text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("FormatError")]
    Format,
    #[error("ChunkTooLarge")]
    ChunkTooLarge,
}

impl Reframed {
    /// `signed` says whether each chunk carries a signature, as `x-amz-content-sha256` announces it.
    pub fn new(inner: Body, signed: bool) -> Self {
        Self { inner, signed, state: State::Line(Vec::new()), ready: VecDeque::new() }
    }

    fn take(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Tail => self.ready.push_back(std::mem::take(&mut bytes)),
                State::Line(line) => {
                    let end = bytes.iter().position(|&b| b == b'\n').map_or(bytes.len(), |at| at + 1);
                    line.extend_from_slice(&bytes.split_to(end));
                    if line.len() > LINE_BYTES_MAX {
                        return Err(Error::Format);
                    }
                    if line.ends_with(b"\n") {
                        let line = std::mem::take(line);
                        self.begin(line)?;
                    }
                }
                State::Data(left) => {
                    let size = (*left).min(bytes.len() as u64);
                    *left -= size;
                    let ended = *left == 0;
                    self.pass(bytes.split_to(size as usize));
                    if ended {
                        self.state = State::End(2);
                    }
                }
                State::End(left) => {
                    let size = usize::from(*left).min(bytes.len());
                    let part = bytes.split_to(size);
                    let expected = &b"\r\n"[2 - usize::from(*left)..][..size];
                    if part.as_ref() != expected {
                        return Err(Error::Format);
                    }
                    *left -= size as u8;
                    let ended = *left == 0;
                    if self.signed {
                        self.ready.push_back(part);
                    }
                    if ended {
                        self.state = State::Line(Vec::new());
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, line: Vec<u8>) -> Result<(), Error> {
        let digits = line.split(|&b| b == b';' || b == b'\r').next().unwrap_or_default();
        let size = std::str::from_utf8(digits).ok().and_then(|d| u64::from_str_radix(d, 16).ok());
        let size = size.ok_or(Error::Format)?;
        if self.signed && size > SIGNED_CHUNK_BYTES_MAX {
            return Err(Error::ChunkTooLarge);
        }
        self.state = if size == 0 { State::Tail } else { State::Data(size) };
        if self.signed || size == 0 {
            self.ready.push_back(line.into());
        }
        Ok(())
    }

    /// A piece of a chunk: as it is where the chunk is signed, else as a chunk of its own.
    fn pass(&mut self, piece: Bytes) {
        if self.signed {
            self.ready.push_back(piece);
            return;
        }
        self.ready.push_back(format!("{:x}\r\n", piece.len()).into());
        self.ready.push_back(piece);
        self.ready.push_back(Bytes::from_static(b"\r\n"));
    }
}

impl http_body::Body for Reframed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
            let Some(frame) = frame.transpose()? else { return Poll::Ready(None) };
            if let Ok(bytes) = frame.into_data() {
                self.take(bytes)?;
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use http_body_util::{BodyExt, StreamBody};

    async fn reframe(pieces: Vec<&'static [u8]>, signed: bool) -> Result<Vec<u8>, BodyError> {
        let frames = futures::stream::iter(pieces).map(|p| Ok::<_, BodyError>(Frame::data(Bytes::from_static(p))));
        let body = Reframed::new(StreamBody::new(frames).boxed_unsync(), signed);
        Ok(body.collect().await?.to_bytes().to_vec())
    }

    #[tokio::test]
    async fn unsigned_chunks_are_cut() {
        let whole: Vec<&[u8]> = vec![b"6\r", b"\nabc", b"de", b"f\r", b"\n0\r\nx-amz-checksum-crc32:AA==\r\n\r\n"];
        let out = reframe(whole, false).await.expect("well-formed");
        assert_eq!(out, b"3\r\nabc\r\n2\r\nde\r\n1\r\nf\r\n0\r\nx-amz-checksum-crc32:AA==\r\n\r\n");
    }

    #[tokio::test]
    async fn signed_chunks_pass_as_they_are_within_bounds() {
        let out = reframe(vec![b"3;chunk-signature=x\r\nab", b"c\r\n0;chunk-signature=y\r\n\r\n"], true).await;
        assert_eq!(out.expect("well-formed"), b"3;chunk-signature=x\r\nabc\r\n0;chunk-signature=y\r\n\r\n");
        assert!(reframe(vec![b"1000001;chunk-signature=x\r\n"], true).await.is_err());
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        for bad in [&b"zz\r\n"[..], b"-1\r\n", b"1\r\nabc", b"11111111111111111\r\n"] {
            assert!(reframe(vec![bad], false).await.is_err(), "{bad:?}");
        }
    }
}
