//! The gate on real sockets, with a toy service behind it.

mod bodies;
mod connections;
mod requests;
mod toy;

use crate::{Config, Gate, Parts};
use async_trait::async_trait;
use base::port::{Access, Clock, Credential, Denied, Entropy, Identity, TemporaryKeys};
use base::{AccountId, Caller, Timestamp};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::sigv4::{self, Credentials, Payload, Signing};

struct Wall(Instant);

#[async_trait]
impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64)
    }
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
    async fn sleep(&self, for_: Duration) {
        tokio::time::sleep(for_).await;
    }
}

struct Counter(AtomicU64);

impl Entropy for Counter {
    fn fill(&self, into: &mut [u8]) {
        into.fill_with(|| self.0.fetch_add(1, Ordering::Relaxed) as u8);
    }
}

/// Knows `test`; lets it do everything but `toy:Deny`.
struct Keys;

#[async_trait]
impl Identity for Keys {
    async fn credential(&self, access_key: &str, session_token: Option<&str>) -> Option<Credential> {
        let account = AccountId::development();
        let principal = "arn:aws:iam::000000000000:root".to_owned();
        let known = access_key == "test" && session_token.is_none();
        known.then(|| Credential { secret_key: "test".into(), account, principal })
    }

    async fn authorise(&self, caller: &Caller, access: &Access) -> Result<(), Denied> {
        match access.action.as_str() {
            "toy:Deny" => Err(Denied(format!("User: {} is not authorized", caller.principal))),
            _ => Ok(()),
        }
    }

    fn issue(&self, _: &AccountId, _: &str, _: &str, _: Duration) -> TemporaryKeys {
        unreachable!("the gate issues no keys")
    }
}

/// A gate that listens on loopback.
struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    toy: Arc<toy::Toy>,
}

async fn start() -> Running {
    start_with(Config::default()).await
}

async fn start_with(config: Config) -> Running {
    let toy = Arc::new(toy::Toy::default());
    let gate = Gate::new(Parts {
        rooms: vec![toy.clone()],
        doors: vec![Arc::new(toy::ByHost), Arc::new(toy::Rest)],
        identity: Arc::new(Keys),
        clock: Arc::new(Wall(Instant::now())),
        entropy: Arc::new(Counter(AtomicU64::new(0))),
        config,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let stop = CancellationToken::new();
    let serving = tokio::spawn(gate.serve(listener, stop.clone()));
    Running { address, stop, serving, toy }
}

/// A request to the toy service, not signed.
fn plain(address: SocketAddr, operation: &str, body: &str) -> Request<Full<Bytes>> {
    Request::post("/")
        .header("host", address.to_string())
        .header("x-amz-target", format!("Toy_1.{operation}"))
        .header("content-type", "application/x-amz-json-1.1")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .expect("a request")
}

fn now() -> Timestamp {
    Wall(Instant::now()).now()
}

/// The same request, signed.
fn signed(
    request: Request<Full<Bytes>>,
    body: &str,
    secret_key: &str,
    service: &str,
    at: Timestamp,
) -> Request<Full<Bytes>> {
    let (mut parts, full) = request.into_parts();
    let keys = Credentials { access_key: "test", secret_key, session_token: None };
    let hash = sigv4::hash(body.as_bytes());
    sigv4::sign(&mut parts, Payload::Hash(&hash), &keys, &Signing { region: "eu-west-1", service }, at);
    Request::from_parts(parts, full)
}

fn toy_call(address: SocketAddr, operation: &str, body: &str) -> Request<Full<Bytes>> {
    signed(plain(address, operation, body), body, "test", "toy", now())
}

struct Reply {
    status: u16,
    headers: http::HeaderMap,
    body: String,
}

impl Reply {
    async fn of(response: Response<hyper::body::Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole reply").to_bytes();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).expect("text"),
        }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    fn check(&self, status: u16, code: &str, message: &str) {
        let json = self.json();
        assert_eq!(
            (self.status, json["__type"].as_str(), json["message"].as_str()),
            (status, Some(code), Some(message))
        );
    }
}

impl Running {
    async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        let stream = TcpStream::connect(self.address).await.expect("connects");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("http");
        let driver = tokio::spawn(connection);
        let reply = Reply::of(sender.send_request(request).await.expect("a reply")).await;
        driver.abort();
        reply
    }

    async fn send_http2(&self, request: Request<Full<Bytes>>) -> Reply {
        let stream = TcpStream::connect(self.address).await.expect("connects");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("http");
        let driver = tokio::spawn(connection);
        let reply = Reply::of(sender.send_request(request).await.expect("a reply")).await;
        driver.abort();
        reply
    }
}
