//! A TCP stream that gives up on a client which does not begin to speak, or does not take what is written to it.
//!
//! hyper bounds the time of an HTTP/1 head, but only once it has told HTTP/1 from HTTP/2 by the first bytes, and it
//! waits for a reader without a bound: both gaps are closed here.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// What hyper reads before it knows the protocol: the length of the HTTP/2 preface.
const PREFACE_BYTES: usize = 24;

pub struct Transport {
    stream: TcpStream,
    read: usize,
    /// Until the preface is there.
    opening: Option<Pin<Box<Sleep>>>,
    write_timeout: Duration,
    /// Armed while a write makes no progress.
    writing: Option<Pin<Box<Sleep>>>,
    blocked: bool,
}

impl Transport {
    pub fn new(stream: TcpStream, opening_timeout: Duration, write_timeout: Duration) -> Self {
        let opening = Some(Box::pin(sleep(opening_timeout)));
        Self { stream, read: 0, opening, write_timeout, writing: None, blocked: false }
    }

    /// Passes on the result of a write; one that stays pending for the whole write timeout becomes an error.
    fn progress<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.blocked = false;
            return wrote;
        }
        let timeout = self.write_timeout;
        let timer = self.writing.get_or_insert_with(|| Box::pin(sleep(timeout)));
        if !self.blocked {
            self.blocked = true;
            timer.as_mut().reset(deadline(timeout));
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

/// `sleep` knows the time; nothing else here needs to.
fn deadline(after: Duration) -> Instant {
    sleep(after).deadline()
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(done) => {
                if self.opening.is_some() {
                    self.read += buf.filled().len() - before;
                    if self.read >= PREFACE_BYTES {
                        self.opening = None;
                    }
                }
                Poll::Ready(done)
            }
            Poll::Pending => {
                let Some(opening) = self.opening.as_mut() else { return Poll::Pending };
                ready!(opening.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not begin")))
            }
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.progress(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.progress(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
