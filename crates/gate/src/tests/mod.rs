//! The gate on real sockets, with a toy service behind it.

mod bodies;
mod connections;
mod requests;
mod toy;

use crate::{Config, Gate, Parts};
use base::Timestamp;
use base::port::Clock;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kit::{Keys, RunningClock, Seeded};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::sigv4::{self, Credentials, Payload, Signing};

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
        identity: Arc::new(Keys::test().allowing(|_, access| access.action != "toy:Deny")),
        clock: RunningClock::real(),
        entropy: Arc::new(Seeded::new(0)),
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
    RunningClock::real().now()
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
