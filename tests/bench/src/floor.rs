//! Floors: what the machine gives without Wadi.

use crate::load::{self, Call, Figures};
use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Key, Store};

/// A server that this program can be, in a process of its own, as the node is.
pub struct Floor {
    pub address: SocketAddr,
    child: Child,
}

impl Floor {
    /// A bare hyper echo.
    pub fn echo() -> Result<Self> {
        Self::start(Command::new(std::env::current_exe()?).arg("echo"))
    }

    /// hyper and wasmtime and nothing else: a fresh instance of the component for each request.
    pub fn embedded(component: &Path) -> Result<Self> {
        Self::start(Command::new(std::env::current_exe()?).arg("embedded").arg(component))
    }

    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().context("stdout")?).read_line(&mut line)?;
        Ok(Self { address: line.trim().parse()?, child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Requests with a body of `bytes` each way.
    pub async fn rate(&self, connections: usize, seconds: f64, bytes: usize) -> Result<Figures> {
        let body = Bytes::from(vec![b'x'; bytes]);
        load::run(self.address, connections, seconds, move |_, _| Call {
            method: Method::POST,
            path: "/".into(),
            service: "",
            headers: vec![],
            body: body.clone(),
        })
        .await
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn serve_echo() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let echo = service_fn(|request: Request<Incoming>| async {
                let body = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
                Ok::<_, Infallible>(Response::new(Full::new(body)))
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), echo).await;
        });
    }
}

/// SQLite group commit: `callers` loops each committing `bytes`, acknowledged after the shared fsync.
pub async fn group_commit(dir: &Path, callers: usize, seconds: f64, bytes: usize) -> Result<Figures> {
    let dir = tempfile::tempdir_in(dir)?;
    let store = Store::new(Arc::new(store::sqlite::Sqlite::open(&dir.path().join("floor.db"))?));
    let (begin, value) = (Instant::now(), Bytes::from(vec![7; bytes]));
    let end = begin + Duration::from_secs_f64(seconds);
    let loops: Vec<_> = (0..callers)
        .map(|c| {
            let (store, value) = (store.clone(), value.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                for n in 0u64.. {
                    let started = Instant::now();
                    if started >= end {
                        break;
                    }
                    let key = Key::of("floor").number(c as u64).number(n);
                    let (key, value) = (&key, &value);
                    store.transact(|tx| async move { tx.put_bytes(key, value.clone()) }).await?;
                    latencies.push(started.elapsed());
                }
                Ok::<_, store::Error>(latencies)
            })
        })
        .collect();
    let mut all = Vec::new();
    for one in loops {
        all.extend(one.await??);
    }
    Ok(Figures::of(all, begin.elapsed()))
}

/// Files of `bytes` written and fsynced, one after the other in `writers` threads.
pub fn synced_files(dir: &Path, writers: usize, seconds: f64, bytes: usize) -> Result<Figures> {
    let dir = tempfile::tempdir_in(dir)?;
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    let threads: Vec<_> = (0..writers)
        .map(|w| {
            let dir = dir.path().to_owned();
            std::thread::spawn(move || {
                let (mut latencies, value) = (Vec::new(), vec![7; bytes]);
                for n in 0u64.. {
                    let started = Instant::now();
                    if started >= end {
                        break;
                    }
                    let mut file = std::fs::File::create(dir.join(format!("{w}-{n}")))?;
                    file.write_all(&value)?;
                    file.sync_data()?;
                    latencies.push(started.elapsed());
                }
                Ok::<_, std::io::Error>(latencies)
            })
        })
        .collect();
    let mut all = Vec::new();
    for one in threads {
        all.extend(one.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??);
    }
    Ok(Figures::of(all, begin.elapsed()))
}
