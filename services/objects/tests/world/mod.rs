//! A room on a memory store with a directory for blobs, and a client that signs what it sends through the door.

use async_trait::async_trait;
use base::port::{Clock, Denied, Target, Targets};
use base::{Arn, Event, Source, Verdict};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kit::{Keys, RunningClock, Seeded};
use objects::{Config, Objects, Parts};
use room::{Body, Door};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use store::{Blobs, Store};
use wire::sigv4::{Credentials, Payload, Signing, presign, sign};

/// `test` is root; `temp` is a role's key with a token that may only read `allowed/`; `other` is another account's.
fn keys() -> Keys {
    Keys::test()
        .with("temp", Some("token"), ROOT.secret, "arn:aws:sts::000000000000:assumed-role/r/s")
        .with("other", None, ROOT.secret, "arn:aws:iam::111111111111:root")
        .allowing(|caller, access| {
            let read = access.action == "s3:GetObject" && access.resource.starts_with("arn:aws:s3:::photos/allowed/");
            caller.access_key != "temp" || read
        })
}

/// One function, `f`, and one queue, `q`, that let the bucket `photos` send to them.
struct OneFunction;

#[async_trait]
impl Target for OneFunction {
    async fn accepts(&self, target: &Arn, from: &Source) -> Result<(), Denied> {
        let bucket = from.arn.as_ref().is_some_and(|a| a.to_string() == "arn:aws:s3:::photos");
        let known = target.resource == "function:f" || target.resource == "q";
        let named = known && from.service.as_deref() == Some("s3.amazonaws.com");
        if bucket && named { Ok(()) } else { Err(Denied("no".into())) }
    }
    async fn deliver(&self, _: &Event, _: u32) -> Verdict {
        Verdict::Done
    }
}

impl Targets for OneFunction {
    fn find(&self, target: &Arn) -> Option<&dyn Target> {
        matches!(target.service.as_str(), "lambda" | "sqs").then_some(self as &dyn Target)
    }
}

/// The room and what is around it.
pub struct Kit {
    pub objects: Arc<Objects>,
    pub store: Store,
    pub blobs: Blobs,
    pub directory: tempfile::TempDir,
    door: Box<dyn Door>,
    clock: Arc<RunningClock>,
}

/// A reply, read whole.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The texts of all elements of a name.
    pub fn all(&self, element: &str) -> Vec<&str> {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        self.text().split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap_or_default()).collect()
    }

    #[track_caller]
    pub fn fails(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.all("Code")), (status, vec![code]), "{}", self.text());
        assert!(!self.all("Message")[0].is_empty());
    }

    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert!(self.status.is_success(), "{} {}", self.status, self.text());
        self
    }
}

/// Whose keys sign.
#[derive(Clone, Copy)]
pub struct Signer {
    pub key: &'static str,
    pub secret: &'static str,
    pub token: Option<&'static str>,
}

pub const ROOT: Signer = Signer { key: "test", secret: "test", token: None };
pub const SIGNING: Signing<'static> = Signing { region: "us-east-1", service: "s3" };

impl Signer {
    pub fn credentials(&self) -> Credentials<'_> {
        Credentials { access_key: self.key, secret_key: self.secret, session_token: self.token }
    }
}

impl Kit {
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::new(Arc::new(store::memory::Memory::default()));
        let blobs = Blobs::directory(directory.path()).expect("opens");
        let clock = RunningClock::real();
        let config = Config { orphan_age_min: Duration::ZERO, ..Config::default() };
        let objects = Objects::open(Parts {
            store: store.clone(),
            blobs: blobs.clone(),
            clock: clock.clone(),
            entropy: Arc::new(Seeded::new(1)),
            identity: Arc::new(keys()),
            targets: Arc::new(OneFunction),
            config,
        });
        let door = Box::new(objects::door(objects.clone()));
        let kit = Self { objects, store, blobs, directory, door, clock };
        kit.put("/photos", "").await.succeeds();
        kit
    }

    pub fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> http::request::Parts {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost:4566");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    /// Signs with the body's real hash and sends.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        self.send_as(ROOT, method, path, headers, body).await
    }

    pub async fn send_as(
        &self,
        signer: Signer,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let body = body.into();
        let mut parts = Self::request(method, path, headers);
        let hash = wire::sigv4::hash(&body);
        sign(&mut parts, Payload::Hash(&hash), &signer.credentials(), &SIGNING, self.clock.now());
        // Clients send no length where there is no body.
        if !body.is_empty() {
            parts.headers.entry("content-length").or_insert(body.len().into());
        }
        self.raw(parts, room::full(body)).await
    }

    pub fn presigned(&self, method: Method, path: &str, expires: Duration) -> http::request::Parts {
        let mut parts = Self::request(method, path, &[]);
        presign(&mut parts, &ROOT.credentials(), &SIGNING, self.clock.now(), expires);
        parts
    }

    /// Sends without a body and does not read the reply's.
    pub async fn begin(&self, parts: http::request::Parts) -> Response<Body> {
        self.serve(parts, room::empty()).await
    }

    async fn serve(&self, parts: http::request::Parts, body: Body) -> Response<Body> {
        let ip = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
        self.door.serve(Request::from_parts(parts, body), "request-1", ip).await
    }

    /// Sends as it is.
    pub async fn raw(&self, parts: http::request::Parts, body: Body) -> Reply {
        let (parts, body) = self.serve(parts, body).await.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn put(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send(Method::PUT, path, &[], body).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], "").await
    }

    /// The events in the outbox: their payload's one record.
    pub async fn events(&self) -> Vec<(Event, serde_json::Value)> {
        let waiting = self.store.scan(store::Key::of("outbox/due").as_bytes(), &[0xff], 1000).await.expect("memory");
        let mut events = Vec::new();
        for item in waiting.iter().filter(|i| i.key.starts_with(b"outbox/due")) {
            let waiting: store::outbox::Waiting = store::record::decode(&item.value).expect("an event");
            let payload: serde_json::Value = serde_json::from_str(waiting.event.payload.get()).expect("JSON");
            events.push((waiting.event, payload["Records"][0].clone()));
        }
        events
    }

    /// Removes every key of a space behind the room's back.
    pub async fn forget(&self, space: &'static str) {
        let from = store::Key::of(space);
        let all = self.store.scan(from.as_bytes(), &[0xff], 1000).await.expect("memory");
        for item in all.iter().filter(|i| i.key.starts_with(from.as_bytes())) {
            let delete = async |tx: store::Tx| {
                tx.delete_bytes(&item.key);
                Ok::<_, store::Error>(())
            };
            self.store.transact(delete).await.expect("memory");
        }
    }

    /// How many blobs are on disk.
    pub fn blobs_on_disk(&self) -> usize {
        fn count(directory: &std::path::Path) -> usize {
            let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
            entries.flatten().map(|e| if e.path().is_dir() { count(&e.path()) } else { 1 }).sum()
        }
        count(self.directory.path())
    }
}

/// Signs a request whose body comes in aws-chunked framing: its `x-amz-content-sha256` announces it and is what is signed.
/// (Our own clients never stream so, and `wire` cannot sign it.)
pub fn streaming(mut parts: http::request::Parts) -> http::request::Parts {
    use hmac::{Hmac, Mac};
    use sha2::{Digest, Sha256};
    let hmac = |key: &[u8], text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes()
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let time = RunningClock::real().now().iso8601().replace(['-', ':'], "");
    let time = format!("{}Z", time.split('.').next().expect("a first part"));
    parts.headers.insert("x-amz-date", time.parse().expect("a value"));
    let mut signed: Vec<&str> =
        parts.headers.keys().map(|n| n.as_str()).filter(|n| *n == "host" || n.starts_with("x-amz-")).collect();
    signed.sort_unstable();
    let value = |name: &str| parts.headers[name].to_str().expect("text").to_owned();
    let lines: String = signed.iter().map(|n| format!("{n}:{}\n", value(n))).collect();
    let (path, signed) = (parts.uri.path(), signed.join(";"));
    let payload = value("x-amz-content-sha256");
    let canonical = format!("{}\n{path}\n\n{lines}\n{signed}\n{payload}", parts.method);
    let scope = format!("{}/us-east-1/s3/aws4_request", &time[..8]);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let key = ["us-east-1", "s3", "aws4_request"]
        .iter()
        .fold(hmac(format!("AWS4{}", ROOT.secret).as_bytes(), &time[..8]), |key, part| hmac(&key, part));
    let signature = hex(&hmac(&key, &text));
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}", ROOT.key);
    parts.headers.insert("authorization", authorization.parse().expect("a value"));
    parts
}

/// A URL of version 2 by [`ROOT`] for what is signed: `x-amz-` lines and the resource with its sub-resources.
pub fn version_2(method: Method, path: &str, signed: &str, expires: u64) -> http::request::Parts {
    use base64::Engine as _;
    use s3s::crypto::{Checksum as _, Sha1};
    let hash = |pad: u8, text: &[u8]| {
        let mut key = [pad; 64];
        key.iter_mut().zip(ROOT.secret.bytes()).for_each(|(k, b)| *k ^= b);
        let mut sha1 = Sha1::new();
        sha1.update(&key);
        sha1.update(text);
        sha1.finalize()
    };
    let text = format!("{method}\n\n\n{expires}\n{signed}");
    let mac = base64::engine::general_purpose::STANDARD.encode(hash(0x5c, &hash(0x36, text.as_bytes())));
    let signature = mac.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let join = if path.contains('?') { '&' } else { '?' };
    let url = format!("{path}{join}AWSAccessKeyId=test&Signature={signature}&Expires={expires}");
    Kit::request(method, &url, &[])
}
