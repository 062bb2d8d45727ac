//! A toy service with five operations, and two doors.

use async_trait::async_trait;
use base::port::Access;
use http_body_util::BodyExt;
use room::{Body, Context, Door, Head, Prepared, Room};
use serde_json::json;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use wire::table::{Kind, Location, Member, Routes, Shape};
use wire::{Decoded, Encoded, Fault, Operation, Protocol, Service};

pub const BODY_BYTES_MAX: usize = 200_000;
/// More than the kernel takes for a client that does not read.
pub const LARGE_BYTES: usize = 64 << 20;

const fn operation(name: &'static str, implemented: bool) -> Operation {
    Operation { name, method: "POST", uri: "/", status: 200, input: Some(0), output: Some(0), implemented }
}

static SERVICE: Service = Service {
    name: "toy",
    protocol: Protocol::Json11,
    target_prefix: Some("Toy_1"),
    validation_code: "ValidationException",
    payload_type: "application/octet-stream",
    operations: &[
        operation("Deny", true),
        operation("Echo", true),
        operation("Fail", true),
        operation("Lacking", false),
        operation("Panic", true),
        operation("Wait", true),
    ],
    routes: Routes::new(),
    shapes: &[
        Shape {
            name: "Text",
            sensitive: false,
            kind: Kind::Structure {
                members: &[Member { name: "text", shape: 1, required: false, location: Location::Body("text") }],
                payload: None,
            },
        },
        Shape {
            name: "String",
            sensitive: false,
            kind: Kind::String { min: None, max: None, pattern: None, values: &[] },
        },
    ],
    errors: &[],
    query: None,
};

/// Counts what runs.
#[derive(Default)]
pub struct Toy {
    pub ran: AtomicU32,
}

impl Room for Toy {
    fn service(&self) -> &'static Service {
        &SERVICE
    }

    fn body_bytes_max(&self, _: &Operation) -> usize {
        BODY_BYTES_MAX
    }

    fn prepare(&self, cx: Context, operation: &Operation, request: Decoded) -> Result<Prepared, Fault> {
        let access = vec![Access { action: format!("toy:{}", operation.name), resource: "*".into() }];
        let name = operation.name;
        self.ran.fetch_add(1, Ordering::Relaxed);
        let said = format!("{} {} {}", cx.account(), cx.region(), request.input["text"].as_str().unwrap_or(""));
        let run = async move {
            match name {
                "Fail" => return Err(Fault::new("InternalFailure", 500, "It failed.").because("the disk is on fire")),
                "Panic" => panic!("out of order"),
                "Wait" => tokio::time::sleep(Duration::from_millis(300)).await,
                _ => {}
            }
            Ok(Encoded { output: json!({"text": said}), ..Encoded::default() })
        };
        Ok(Prepared { access, run: Box::pin(run) })
    }
}

fn say(text: String) -> http::Response<Body> {
    http::Response::new(room::full(text))
}

/// Claims `*.door.localhost`, whatever a request is signed for.
pub struct ByHost;

#[async_trait]
impl Door for ByHost {
    fn opens(&self, _: Head<'_>) -> bool {
        false
    }
    fn claims(&self, host: &str) -> bool {
        host.ends_with(".door.localhost")
    }
    async fn serve(&self, request: http::Request<Body>, _: &str, _: IpAddr) -> http::Response<Body> {
        say(format!("by host {}", request.uri()))
    }
}

/// Takes what is signed for `s3` or not at all, and says how much it got.
pub struct Rest;

#[async_trait]
impl Door for Rest {
    fn opens(&self, head: Head<'_>) -> bool {
        head.signed_for.is_none_or(|service| service == "s3")
    }
    fn service(&self) -> Option<&'static str> {
        Some("s3")
    }
    async fn serve(&self, request: http::Request<Body>, _: &str, _: IpAddr) -> http::Response<Body> {
        if request.uri().path() == "/large" {
            return http::Response::new(room::full(vec![b'x'; LARGE_BYTES]));
        }
        match request.into_body().collect().await {
            Ok(body) => say(format!("the rest, {} bytes", body.to_bytes().len())),
            Err(error) => say(format!("broken: {error}")),
        }
    }
}
