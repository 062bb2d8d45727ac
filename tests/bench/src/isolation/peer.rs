//! The other side of the Runtime API of one instance: what a node's is to it, and nothing of a node.

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// No instance takes longer to start or to answer.
const PATIENCE: Duration = Duration::from_secs(20);
const EVENT: &str = "{\"hello\":\"wadi\"}";

/// Blocks; each wait ends after [`PATIENCE`].
pub struct Peer {
    listener: TcpListener,
    stream: Option<TcpStream>,
    /// What has been received and not looked at.
    left: Vec<u8>,
    event: String,
}

impl Peer {
    pub fn new(listener: TcpListener) -> Self {
        let event = format!(
            "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n\
             lambda-runtime-deadline-ms: 4102444800000\r\n\
             lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:000000000000:function:echo\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{EVENT}",
            EVENT.len()
        );
        Self { listener, stream: None, left: Vec::new(), event }
    }

    /// Waits until the instance asks for its first event.
    pub fn first(&mut self) -> Result<()> {
        self.request("GET")
    }

    /// From an event's sending until the whole answer is here; then until the instance asks for the next.
    pub fn call(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.send(self.event.clone().as_bytes())?;
        self.request("POST")?;
        let took = began.elapsed();
        self.send(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")?;
        self.request("GET")?;
        Ok(took)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.as_mut().context("the instance is connected")?.write_all(bytes)?)
    }

    /// Takes a whole request, whose method this is.
    fn request(&mut self, method: &str) -> Result<()> {
        loop {
            if let Some(end) = whole(&self.left) {
                let head = String::from_utf8_lossy(&self.left[..end]);
                ensure!(head.starts_with(method) && !head.contains("/error "), "not {method}: {head}");
                self.left.drain(..end);
                return Ok(());
            }
            let mut bytes = [0; 4096];
            match self.stream()?.read(&mut bytes)? {
                0 => self.stream = None,
                n => self.left.extend(&bytes[..n]),
            }
        }
    }

    fn stream(&mut self) -> Result<&mut TcpStream> {
        if self.stream.is_none() {
            let until = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
            let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
            if rustix::event::poll(&mut fds, Some(&until))? == 0 {
                bail!("the instance did not come within {} s", PATIENCE.as_secs());
            }
            let (stream, _) = self.listener.accept()?;
            stream.set_nonblocking(false)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            self.stream = Some(stream);
        }
        self.stream.as_mut().context("it was put there above")
    }
}

/// Where the first request ends, if it is whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let end = head + length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    (bytes.len() >= end).then_some(end)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_request_is_whole_with_its_body_and_ends_where_the_next_begins() {
        let whole = |text: &str| super::whole(text.as_bytes());
        assert_eq!(whole("GET / HTTP/1.1\r\nHost: a\r\n"), None);
        assert_eq!(whole("GET / HTTP/1.1\r\n\r\nGET"), Some(18));
        let post = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(whole(&post[..post.len() - 1]), None);
        assert_eq!(whole(&format!("{post}GET")), Some(post.len()));
    }
}
