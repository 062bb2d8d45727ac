//! A driver without sandboxes: each "runtime" is a task that speaks the Runtime API and does what the function's
//! handler is named after.

mod several;
mod streams;

use async_trait::async_trait;
use parking_lot::Mutex;
use sandbox::{Control, Driver, Error, Exit, Handle, Promise, Raised, Spec, Status};
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

#[derive(Default)]
pub struct FakeDriver {
    raised: AtomicUsize,
    alive: Arc<AtomicUsize>,
    alive_max: AtomicUsize,
    /// What handlers that wait for a word wait for.
    word: Arc<Notify>,
}

impl FakeDriver {
    pub fn raised(&self) -> usize {
        self.raised.load(Ordering::SeqCst)
    }

    pub fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    /// Lets a handler that waits go on.
    pub fn say_the_word(&self) {
        self.word.notify_one();
    }

    pub fn alive_max(&self) -> usize {
        self.alive_max.load(Ordering::SeqCst)
    }

    pub async fn wait_until_alive(&self, count: usize) {
        for _ in 0..500 {
            if self.alive() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} instances are alive, not {count}", self.alive());
    }
}

struct Killer(Notify);

impl Control for Killer {
    fn kill(&self) {
        self.0.notify_one();
    }

    fn memory_bytes_peak(&self) -> u64 {
        7 << 20
    }

    fn cpu_us(&self) -> u64 {
        0
    }
}

#[async_trait]
impl Driver for FakeDriver {
    async fn raise(&self, spec: Spec) -> Result<Raised, Error> {
        spec.check()?;
        let nth = self.raised.fetch_add(1, Ordering::SeqCst) + 1;
        let alive = self.alive.fetch_add(1, Ordering::SeqCst) + 1;
        self.alive_max.fetch_max(alive, Ordering::SeqCst);
        let (output, out) = std::io::pipe().expect("a pipe");
        let (frames, framed) = std::io::pipe().expect("a pipe");
        let listen = |_: &u16| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
            listener.set_nonblocking(true).expect("sets");
            listener
        };
        let listeners: Vec<_> = spec.listen.iter().map(listen).collect();
        let runtime = Runtime {
            nth,
            api: listeners[0].local_addr().expect("has one"),
            handler: spec.env["_HANDLER"].clone(),
            out: Mutex::new(File::from(std::os::fd::OwnedFd::from(out))),
            framed: Mutex::new(File::from(std::os::fd::OwnedFd::from(framed))),
            stream: None,
            last: "none".into(),
            word: self.word.clone(),
        };
        let killer = Arc::new(Killer(Notify::new()));
        let (told, exit) = oneshot::channel();
        let (kill, alive) = (killer.clone(), self.alive.clone());
        tokio::spawn(async move {
            let (status, out_of_memory) = tokio::select! {
                end = runtime.live() => end,
                () = kill.0.notified() => (Status::Signalled(9), false),
            };
            alive.fetch_sub(1, Ordering::SeqCst);
            let _ = told.send(Exit { status, out_of_memory, memory_bytes_peak: 7 << 20, cpu_us: 0 });
        });
        let handle = Handle::new(killer);
        Ok(Raised { id: spec.id, output: output.into(), frames: frames.into(), listeners, exit, handle })
    }

    fn promises(&self) -> Vec<Promise> {
        Vec::new()
    }
}

struct Runtime {
    nth: usize,
    api: SocketAddr,
    handler: String,
    out: Mutex<File>,
    framed: Mutex<File>,
    stream: Option<TcpStream>,
    /// The call before this one.
    last: String,
    word: Arc<Notify>,
}

type End = (Status, bool);

impl Runtime {
    async fn live(mut self) -> End {
        // Long enough that tests see it in figures.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let handler = self.handler.clone();
        let (word, argument) = handler.split_once(' ').unwrap_or((&handler, "0"));
        let code = Status::Exited(argument.parse().expect("a number"));
        match word {
            "init-exit" => return (code, false),
            "killed-early" if self.nth <= argument.parse().expect("a number") => return (Status::Signalled(9), false),
            "init-error" => {
                let body = r#"{"errorMessage":"Unable to import","errorType":"Runtime.ImportModuleError"}"#;
                self.request("POST", "runtime/init/error", body).await;
                return (Status::Exited(1), false);
            }
            "several" => return self.several(argument.parse().expect("a number")).await,
            "slow-init" => std::future::pending().await,
            "slow-init-once" if self.nth == 1 => std::future::pending().await,
            _ => {}
        }
        loop {
            let (id, payload) = self.next().await;
            writeln!(self.out.lock(), "running {id}").expect("writes");
            let frame = format!("framed {id}\n");
            let mut bytes = vec![0xa5, 0x5a, 0, 3];
            bytes.extend((frame.len() as u32).to_be_bytes());
            bytes.extend(0u64.to_be_bytes());
            bytes.extend(frame.as_bytes());
            let mark = self.out.lock().flush();
            mark.expect("flushes");
            if word == "echo" {
                self.framed.lock().write_all(&bytes).expect("writes");
            }
            let response = format!("runtime/invocation/{id}/response");
            if word.starts_with("stream") {
                match self.stream(word, &id).await {
                    Some(end) => return end,
                    None => continue,
                }
            }
            match word {
                "slow" => std::future::pending().await,
                "pause" => {
                    tokio::time::sleep(Duration::from_millis(60)).await;
                    self.request("POST", &response, &payload).await;
                }
                "exit" => return (code, false),
                "oom" => return (Status::Signalled(9), true),
                "error" => {
                    let body = r#"{"errorMessage":"no such thing","errorType":"KeyError"}"#;
                    self.request("POST", &format!("runtime/invocation/{id}/error"), body).await;
                }
                "large" => {
                    let (status, _) = self.request("POST", &response, &"x".repeat(7 << 20)).await;
                    assert!(status == 413 || status == 0, "{status}");
                }
                "die-after-1" => {
                    self.request("POST", &response, &payload).await;
                    return (Status::Exited(0), false);
                }
                "out-of-turn" => {
                    let mut seen = Vec::new();
                    let last = std::mem::replace(&mut self.last, id.clone());
                    for (method, path) in [
                        ("GET", "runtime/invocation/next"),
                        ("POST", "runtime/init/error"),
                        ("POST", &format!("runtime/invocation/{last}/response")),
                        ("POST", "../2020-01-01/extension/register"),
                        ("GET", "nothing/here"),
                    ] {
                        let (status, body) = self.request(method, path, "").await;
                        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
                        seen.push(format!("{status} {}", body["errorType"].as_str().expect("a type")));
                    }
                    self.request("POST", &response, &seen.join(", ")).await;
                    for path in [&response, &format!("runtime/invocation/{id}/error")] {
                        let (status, body) = self.request("POST", path, "twice").await;
                        assert_eq!(status, 403, "{body}");
                        assert!(body.contains("State transition from ResponseSent to Invocation"), "{body}");
                    }
                }
                _ => {
                    let (status, body) = self.request("POST", &response, &payload).await;
                    assert_eq!((status, body.as_str()), (202, r#"{"status":"OK"}"#));
                }
            }
        }
    }

    async fn next(&mut self) -> (String, String) {
        let (head, body) = self.exchange("GET", "runtime/invocation/next", "").await;
        let id = head.lines().find_map(|line| line.strip_prefix("lambda-runtime-aws-request-id: "));
        (id.expect("an id").to_owned(), body)
    }

    async fn request(&mut self, method: &str, path: &str, body: &str) -> (u16, String) {
        let (head, body) = self.exchange(method, path, body).await;
        (head.split(' ').nth(1).map_or(0, |status| status.parse().expect("a status")), body)
    }

    /// One request and its reply; an empty head where the connection broke.
    async fn exchange(&mut self, method: &str, path: &str, body: &str) -> (String, String) {
        let path = format!("/2018-06-01/{path}").replace("/2018-06-01/..", "");
        let mut stream = self.connection().await;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(body.as_bytes()).await;
        self.reply(stream).await
    }

    async fn connection(&mut self) -> TcpStream {
        match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.api).await.expect("connects");
                stream.set_nodelay(true).expect("sets");
                stream
            }
        }
    }

    async fn reply(&mut self, mut stream: TcpStream) -> (String, String) {
        let mut bytes = Vec::new();
        let head_end = loop {
            if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return Default::default();
            }
        };
        let head = String::from_utf8(bytes[..head_end].to_vec()).expect("text").to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |n| n.parse().expect("a number"));
        while bytes.len() < head_end + length {
            assert!(stream.read_buf(&mut bytes).await.expect("reads") > 0);
        }
        self.stream = Some(stream);
        (head, String::from_utf8(bytes[head_end..].to_vec()).expect("text"))
    }
}
