//! `GET /_wadi/health`: is the node up, and which services does it have? Unauthenticated; says nothing a port scan
//! would not.

use async_trait::async_trait;
use base::port::Clock;
use http::{Method, Response, StatusCode, header};
use room::{Body, Door, Head};
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const PATH: &str = "/_wadi/health";

/// The door of the node's own health page.
pub struct Health {
    services: Vec<&'static str>,
    clock: Arc<dyn Clock>,
    started: Duration,
}

impl Health {
    pub fn new(services: Vec<&'static str>, clock: Arc<dyn Clock>) -> Self {
        let started = clock.elapsed();
        Self { services, clock, started }
    }
}

#[async_trait]
impl Door for Health {
    fn opens(&self, head: Head<'_>) -> bool {
        head.parts.uri.path() == PATH
    }

    async fn serve(&self, request: http::Request<Body>, _request_id: &str, _source_ip: IpAddr) -> Response<Body> {
        let uptime = (self.clock.elapsed() - self.started).as_secs();
        let (status, said) = match *request.method() {
            Method::GET | Method::HEAD => (
                StatusCode::OK,
                json!({
                    "status": "ok",
                    "version": env!("CARGO_PKG_VERSION"),
                    "services": self.services,
                    "uptime_s": uptime,
                }),
            ),
            _ => (StatusCode::METHOD_NOT_ALLOWED, json!({"message": "GET this page."})),
        };
        Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, "application/json")
            .body(room::full(said.to_string()))
            .expect("constant status and header are valid")
    }
}
