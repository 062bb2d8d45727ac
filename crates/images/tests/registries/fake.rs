//! Servers on loopback that answer as a test says, and note what they were asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request, as far as tests look at it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Method and path.
    pub line: String,
    /// What was shown; empty for nothing.
    pub shown: String,
    pub body: String,
}

pub enum Reply {
    /// Status, one header, body.
    Whole(u16, &'static str, String, Vec<u8>),
    /// A body that never ends, and says nothing of its length.
    Endless(u16),
    /// Nothing, or a byte every so many seconds. The test's clock is stopped first, so that waits are over at once.
    Silent,
    Slow(u64),
}

pub fn ok(body: impl Into<Vec<u8>>) -> Reply {
    Reply::Whole(200, "x-nothing", "1".into(), body.into())
}

pub fn to(place: String) -> Reply {
    Reply::Whole(307, "location", place, Vec::new())
}

pub fn wants(challenge: impl Into<String>) -> Reply {
    Reply::Whole(401, "www-authenticate", challenge.into(), Vec::new())
}

pub struct Fake {
    pub host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// Answers on this address of loopback while the test's runtime lives.
    pub async fn on(ip: &str, handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.expect("listens");
        let host = listener.local_addr().expect("an address").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, handler) = (asked.clone(), Arc::new(handler));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, handler) = (noted.clone(), handler.clone());
                tokio::spawn(async move {
                    let mut stream = stream;
                    let Some(request) = read(&mut stream).await else { return };
                    noted.lock().expect("notes").push(request.clone());
                    // One who has heard enough hangs up.
                    let _ = answer(&mut stream, handler(&request)).await;
                });
            }
        });
        Self { host, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("notes").clone()
    }

    /// What was asked and shown, a line each.
    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| format!("{} {}", asked.line, asked.shown).trim_end().to_owned()).collect()
    }
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break end;
        }
        assert!(bytes.len() < 64 << 10, "a request's head");
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let field = |name: &str| {
        let found =
            text.lines().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)));
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let whole = head + 4 + field("content-length").parse::<usize>().unwrap_or(0);
    while bytes.len() < whole {
        stream.read_buf(&mut bytes).await.ok()?;
    }
    let line = text.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    Some(Asked { line, shown: field("authorization"), body: String::from_utf8_lossy(&bytes[head + 4..]).into_owned() })
}

async fn answer(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    let endless = |status: u16| format!("HTTP/1.1 {status} Said\r\nconnection: close\r\n\r\n");
    match reply {
        Reply::Whole(status, name, value, body) => {
            let head = format!(
                "HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-length: {}\r\n{name}: {value}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
            stream.shutdown().await
        }
        Reply::Endless(status) => {
            stream.write_all(endless(status).as_bytes()).await?;
            loop {
                stream.write_all(&[b' '; 16 << 10]).await?;
            }
        }
        Reply::Silent => {
            tokio::time::pause();
            std::future::pending().await
        }
        Reply::Slow(seconds) => {
            stream.write_all(endless(200).as_bytes()).await?;
            tokio::time::pause();
            loop {
                stream.write_all(b" ").await?;
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
        }
    }
}
