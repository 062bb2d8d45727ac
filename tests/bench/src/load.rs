//! A closed-loop load generator: so many connections, each sending its next request when the last has been answered.

use anyhow::{Context, Result, bail};
use base::Timestamp;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::sigv4;

/// What one request is: signed for `service`, unless that is empty.
#[derive(Clone)]
pub struct Call {
    pub method: Method,
    pub path: String,
    pub service: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl Call {
    pub fn new(method: Method, path: impl Into<String>, service: &'static str, body: impl Into<Bytes>) -> Self {
        Self { method, path: path.into(), service, headers: Vec::new(), body: body.into() }
    }

    pub fn get(path: impl Into<String>, service: &'static str) -> Self {
        Self::new(Method::GET, path, service, Bytes::new())
    }

    /// Unsigned.
    pub fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, path, "", body)
    }

    /// With one more header, or in the place of the usual `host`.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// Latencies of one run, sorted.
pub struct Figures {
    pub per_second: f64,
    latencies: Vec<Duration>,
}

impl Figures {
    pub fn of(mut latencies: Vec<Duration>, over: Duration) -> Self {
        latencies.sort_unstable();
        Self { per_second: latencies.len() as f64 / over.as_secs_f64(), latencies }
    }

    /// Of several runs of the same, one after the other.
    pub fn sum(runs: Vec<Self>) -> Self {
        let over = runs.iter().map(|run| run.count() as f64 / run.per_second).sum();
        Self::of(runs.into_iter().flat_map(|run| run.latencies).collect(), Duration::from_secs_f64(over))
    }

    pub fn count(&self) -> usize {
        self.latencies.len()
    }

    /// Milliseconds at quantile `q`.
    pub fn ms(&self, q: f64) -> f64 {
        let at = ((self.latencies.len() as f64 * q) as usize).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
    }
}

/// Runs `connections` loops for `seconds`; `call(connection, n)` makes the n-th request of a connection.
pub async fn run(
    to: SocketAddr,
    connections: usize,
    seconds: f64,
    call: impl Fn(usize, u64) -> Call + Send + Sync + 'static,
) -> Result<Figures> {
    let call = Arc::new(call);
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    let loops: Vec<_> = (0..connections)
        .map(|c| {
            let call = call.clone();
            tokio::spawn(async move {
                let mut connection = Connection::open(to).await?;
                let mut latencies = Vec::new();
                for n in 0.. {
                    let started = Instant::now();
                    if started >= end {
                        break;
                    }
                    connection.send(&call(c, n)).await?;
                    latencies.push(started.elapsed());
                }
                Ok::<_, anyhow::Error>(latencies)
            })
        })
        .collect();
    let mut all = Vec::new();
    for one in loops {
        all.extend(one.await??);
    }
    Ok(Figures::of(all, begin.elapsed()))
}

/// One keep-alive connection.
pub struct Connection {
    to: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub async fn open(to: SocketAddr) -> Result<Self> {
        Ok(Self { to, sender: Self::connect(to).await? })
    }

    async fn connect(to: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
        let stream = tokio::net::TcpStream::connect(to).await.context("connect")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Sends and reads the whole answer; anything but 2xx is an error.
    pub async fn send(&mut self, call: &Call) -> Result<Bytes> {
        let (head, body) = self.exchange(call).await?;
        if !head.status.is_success() {
            bail!("{} {}: {} {}", call.method, call.path, head.status, String::from_utf8_lossy(&body));
        }
        Ok(body)
    }

    /// Sends and reads the whole answer, whatever it says.
    pub async fn exchange(&mut self, call: &Call) -> Result<(http::response::Parts, Bytes)> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header("host", self.to.to_string())
            .body(Full::new(call.body.clone()))?;
        for (name, value) in &call.headers {
            request.headers_mut().insert(*name, value.parse()?);
        }
        if !call.service.is_empty() {
            sign(&mut request, call)?;
        }
        // Some servers end a connection with each answer.
        if self.sender.ready().await.is_err() {
            self.sender = Self::connect(self.to).await?;
        }
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        Ok((head, body.collect().await?.to_bytes()))
    }
}

fn sign(request: &mut Request<Full<Bytes>>, call: &Call) -> Result<()> {
    let (mut parts, ()) = Request::builder().method(request.method()).uri(request.uri()).body(())?.into_parts();
    parts.headers = std::mem::take(request.headers_mut());
    let keys = sigv4::Credentials { access_key: "test", secret_key: "test", session_token: None };
    let signing = sigv4::Signing { region: "us-east-1", service: call.service };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let hash = sigv4::hash(&call.body);
    sigv4::sign(&mut parts, sigv4::Payload::Hash(&hash), &keys, &signing, Timestamp(now));
    *request.headers_mut() = parts.headers;
    Ok(())
}
