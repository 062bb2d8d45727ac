//! A small client of the public API: one signed request at a time over plain HTTP, and the few operations the verbs need.

pub mod lambda;
pub mod logs;
pub mod s3;
pub mod wadi;

use crate::error::{Error, Result, at};
use crate::values::now_ms;
use base::Timestamp;
use bytes::Bytes;
use futures::TryStreamExt;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use hyper_util::client::legacy::{Client as Http, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;
use wire::sigv4;

/// Replies are read whole; none that the verbs ask for may be larger (an invocation's reply is at most 6 MB).
const REPLY_BYTES_MAX: usize = 32 << 20;
/// A function may run 15 minutes and be waited for.
const TIMEOUT: Duration = Duration::from_secs(960);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Parts of a file on their way up.
const CHUNK_BYTES: usize = 64 << 10;

type Sent = UnsyncBoxBody<Bytes, std::io::Error>;

/// Where to and as whom.
#[derive(Clone)]
pub struct Client {
    endpoint: String,
    pub region: String,
    keys: Keys,
    http: Http<HttpConnector, Sent>,
}

#[derive(Clone)]
struct Keys {
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
}

impl Keys {
    fn borrowed(&self) -> sigv4::Credentials<'_> {
        sigv4::Credentials {
            access_key: &self.access_key,
            secret_key: &self.secret_key,
            session_token: self.session_token.as_deref(),
        }
    }
}

/// A request before it is signed. `path` is percent-encoded and carries the query.
pub struct Call {
    pub operation: &'static str,
    /// The service in the credential scope.
    pub service: &'static str,
    pub method: Method,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Payload,
}

pub enum Payload {
    Bytes(Bytes),
    /// A file streamed from disk, its body unsigned (S3 alone takes that); `sent` counts its bytes.
    File {
        path: PathBuf,
        sent: indicatif::ProgressBar,
    },
}

/// A reply with a status below 300.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json<T: DeserializeOwned>(&self, operation: &'static str) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|e| {
            Error::told(
                format!("{operation}: the node's reply is not what its model says: {e}"),
                "is the endpoint a Wadi node, and of this version?",
            )
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

impl Client {
    /// From the flags and the environment that AWS clients read.
    pub fn new(endpoint: Option<&str>, region: Option<&str>) -> Result<Self> {
        let var = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let endpoint = endpoint.map(str::to_owned).or_else(|| var("AWS_ENDPOINT_URL")).or_else(|| var("WADI_ENDPOINT"));
        let region = region.map(str::to_owned).or_else(|| var("AWS_REGION")).or_else(|| var("AWS_DEFAULT_REGION"));
        let keys = match (var("AWS_ACCESS_KEY_ID"), var("AWS_SECRET_ACCESS_KEY")) {
            (Some(access_key), Some(secret_key)) => {
                Keys { access_key, secret_key, session_token: var("AWS_SESSION_TOKEN") }
            }
            _ => Keys { access_key: "test".into(), secret_key: "test".into(), session_token: None },
        };
        Self::to(endpoint.as_deref().unwrap_or("http://127.0.0.1:4566"), region, keys)
    }

    fn to(endpoint: &str, region: Option<String>, keys: Keys) -> Result<Self> {
        let wrong = |why: &str| Error::usage(format!("{endpoint:?} {why}"), "write it as http://127.0.0.1:4566");
        let uri: Uri = endpoint.parse().map_err(|_| wrong("is not a URL"))?;
        match uri.scheme_str() {
            Some("http") if uri.authority().is_some() && uri.path() == "/" => {}
            Some("https") => return Err(wrong("is HTTPS: these verbs speak plain HTTP to a node nearby")),
            _ => return Err(wrong("is not an http:// URL without a path")),
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            region: region.unwrap_or_else(|| "us-east-1".into()),
            keys,
            http: Http::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// The same identity at another node.
    pub fn at(&self, address: std::net::SocketAddr) -> Self {
        Self { endpoint: format!("http://{address}"), ..self.clone() }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether a node answers there.
    pub async fn is_up(&self) -> bool {
        let Ok(request) = Request::get(format!("{}/_wadi/health", self.endpoint)).body(empty()) else { return false };
        let reply = tokio::time::timeout(CONNECT_TIMEOUT, self.http.request(request)).await;
        matches!(reply, Ok(Ok(reply)) if reply.status().is_success())
    }

    /// Signs, sends, reads the whole reply; a status of 300 or more becomes [`Error::Api`].
    pub async fn send(&self, call: Call) -> Result<Reply> {
        let Call { operation, service, method, path, headers, body } = call;
        let hash = match &body {
            Payload::Bytes(bytes) => Some(sigv4::hash(bytes)),
            Payload::File { .. } => None,
        };
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.endpoint));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let (body, length) = open(body).await?;
        let request = request.body(body).map_err(|e| Error::bare(format!("{operation}: {e}")))?;
        let (mut parts, body) = request.into_parts();
        // A streamed body has no length of its own, and S3 wants one.
        parts.headers.insert(http::header::CONTENT_LENGTH, length.into());
        let payload = hash.as_ref().map_or(sigv4::Payload::Unsigned, sigv4::Payload::Hash);
        sigv4::sign(&mut parts, payload, &self.keys.borrowed(), &self.signing(service), Timestamp(now_ms()));
        let reply = tokio::time::timeout(TIMEOUT, self.exchange(Request::from_parts(parts, body)))
            .await
            .map_err(|_| Error::bare(format!("{operation}: no reply within {} s", TIMEOUT.as_secs())))??;
        if reply.status >= 300 { Err(refusal(operation, &reply)) } else { Ok(reply) }
    }

    async fn exchange(&self, request: Request<Sent>) -> Result<Reply> {
        let lost = |cause: String| Error::NoNode { endpoint: self.endpoint.clone(), cause };
        let reply = self.http.request(request).await.map_err(|e| lost(innermost(&e)))?;
        let (parts, body) = reply.into_parts();
        let body = Limited::new(body, REPLY_BYTES_MAX)
            .collect()
            .await
            .map_err(|e| Error::bare(format!("the reply broke off: {e}")))?
            .to_bytes();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    fn signing<'a>(&'a self, service: &'a str) -> sigv4::Signing<'a> {
        sigv4::Signing { region: &self.region, service }
    }

    /// A JSON 1.1 operation.
    pub async fn json11<T: DeserializeOwned>(
        &self,
        service: &'static str,
        target: &'static str,
        operation: &'static str,
        input: &serde_json::Value,
    ) -> Result<T> {
        let headers = vec![
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", format!("{target}.{operation}")),
        ];
        let body = Payload::Bytes(input.to_string().into());
        let call = Call { operation, service, method: Method::POST, path: "/".into(), headers, body };
        self.send(call).await?.json(operation)
    }

    /// A REST operation with JSON, or nothing, as its body.
    pub async fn rest(
        &self,
        service: &'static str,
        operation: &'static str,
        method: Method,
        path: String,
        input: Option<&serde_json::Value>,
    ) -> Result<Reply> {
        let headers = input.map(|_| ("content-type", "application/json".to_owned())).into_iter().collect();
        let body = Payload::Bytes(input.map(|i| i.to_string().into()).unwrap_or_default());
        self.send(Call { operation, service, method, path, headers, body }).await
    }
}

async fn open(payload: Payload) -> Result<(Sent, u64)> {
    match payload {
        Payload::Bytes(bytes) => {
            let length = bytes.len() as u64;
            Ok((Full::new(bytes).map_err(|never| match never {}).boxed_unsync(), length))
        }
        Payload::File { path, sent } => {
            let file = tokio::fs::File::open(&path).await.map_err(at(&path))?;
            let length = file.metadata().await.map_err(at(&path))?.len();
            let chunks = ReaderStream::with_capacity(file.take(length), CHUNK_BYTES)
                .inspect_ok(move |chunk| sent.inc(chunk.len() as u64))
                .map_ok(Frame::data);
            Ok((StreamBody::new(chunks).boxed_unsync(), length))
        }
    }
}

fn empty() -> Sent {
    Full::default().map_err(|never| match never {}).boxed_unsync()
}

/// The error in a refusal, in whichever of AWS's forms it came.
fn refusal(operation: &'static str, reply: &Reply) -> Error {
    let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let word = |name: &str| json.get(name).and_then(|v| v.as_str()).map(str::to_owned);
    let xml = |name: &'static str| s3::texts(&reply.body, "Error", &[name]).pop().and_then(|mut row| row.pop());
    let code = reply.header("x-amzn-errortype").map(str::to_owned).or_else(|| word("__type")).or_else(|| xml("Code"));
    let code = code.unwrap_or_else(|| format!("HTTP {}", reply.status));
    // `__type` may carry a namespace before `#`, the header a URL after `:`.
    let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
    let message = word("message").or_else(|| word("Message")).or_else(|| xml("Message"));
    let message = message.unwrap_or_else(|| "the node gave no reason".into());
    let help = match code.as_str() {
        "InvalidClientTokenId" | "UnrecognizedClientException" | "SignatureDoesNotMatch" | "InvalidAccessKeyId"
        | "InvalidSignatureException" => Some(
            "the node does not know these keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (on loopback test/test)"
                .to_owned(),
        ),
        _ => None,
    };
    Error::Api { operation, code, status: reply.status, message, help }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// A path segment or query value: everything but RFC 3986's unreserved characters is encoded.
pub fn encoded(text: &str) -> String {
    const KEEP: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, KEEP).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys { access_key: "test".into(), secret_key: "test".into(), session_token: None }
    }

    #[test]
    fn endpoints_are_checked() {
        assert_eq!(Client::to("http://h:1/", None, keys()).expect("valid").endpoint(), "http://h:1");
        for bad in ["", "127.0.0.1:4566", "https://h", "http://h/path", "ftp://h"] {
            let error = Client::to(bad, None, keys()).err().expect(bad);
            assert_eq!(error.exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn refusals_are_understood_in_every_form() {
        let check = |header: Option<&'static str>, body: &'static str, expect: (&str, &str)| {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert("x-amzn-errortype", http::HeaderValue::from_static(value));
            }
            let reply = Reply { status: 400, headers, body: Bytes::from_static(body.as_bytes()) };
            match refusal("Op", &reply) {
                Error::Api { code, message, .. } => assert_eq!((code.as_str(), message.as_str()), expect),
                other => panic!("{other:?}"),
            }
        };
        check(Some("NotHere:http://x"), r#"{"Message":"gone"}"#, ("NotHere", "gone"));
        check(None, r#"{"__type":"com.x#Bad","message":"no"}"#, ("Bad", "no"));
        check(None, "<Error><Code>NoSuchKey</Code><Message>a &amp; b</Message></Error>", ("NoSuchKey", "a & b"));
        check(None, "oops", ("HTTP 400", "the node gave no reason"));
    }

    #[tokio::test]
    async fn nobody_there_says_what_to_do() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        drop(listener);
        let client = Client::to("http://h", None, keys()).expect("client").at(address);
        assert!(!client.is_up().await);
        let error =
            client.rest("lambda", "ListFunctions", Method::GET, "/x".into(), None).await.err().expect("refused");
        assert_eq!(error.to_string(), format!("no node answers at http://{address}"));
        let shown = format!("{:?}", miette::Report::new(error));
        assert!(shown.contains("wadi up"), "{shown}");
    }
}
