//! What a guest writes: to the log of its function, or captured as its answer.

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use sandbox::Output;
use std::sync::Arc;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// The most that one write takes.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// A stream into the log. Its writer waits while the log is behind.
#[derive(Clone)]
pub struct Logged(pub Arc<dyn Output>);

impl IsTerminal for Logged {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Logged {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Preview 2 alone is linked, and it asks for `p2_stream`.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Logged {
    async fn ready(&mut self) {
        self.0.room().await;
    }
}

impl OutputStream for Logged {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(if self.0.has_room() { WRITE_BYTES_MAX } else { 0 })
    }
}

/// Standard output, kept up to a bound. Beyond it the stream is closed for the guest.
#[derive(Clone)]
pub struct Captured {
    kept: Arc<Mutex<Kept>>,
    bytes_max: usize,
}

#[derive(Default)]
struct Kept {
    bytes: BytesMut,
    over: bool,
}

impl Captured {
    pub fn new(bytes_max: usize) -> Self {
        Self { kept: Arc::default(), bytes_max }
    }

    /// What was written; `None` if that was too much.
    pub fn take(&self) -> Option<Bytes> {
        let mut kept = self.kept.lock();
        (!kept.over).then(|| kept.bytes.split().freeze())
    }
}

impl IsTerminal for Captured {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Captured {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Captured {
    async fn ready(&mut self) {}
}

impl OutputStream for Captured {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut kept = self.kept.lock();
        if kept.bytes.len() + bytes.len() > self.bytes_max {
            kept.over = true;
            return Err(StreamError::Closed);
        }
        kept.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.kept.lock().over { Err(StreamError::Closed) } else { Ok(WRITE_BYTES_MAX) }
    }
}
