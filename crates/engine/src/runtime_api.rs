//! The Lambda Runtime API (2018-06-01), as one instance's runtime sees it on its own loopback.
//!
//! Restricted to that instance by construction: the listener is in its network. What is refused: extensions and telemetry,
//! SnapStart's restore calls. [`streaming`] takes responses that come in pieces. Ours alone are
//! `init/template`, by which a runtime says whether it can be copied; `init/cell`, by which one that was started ahead asks
//! what it runs; `init/compiled`, by which it hands over compiled code for the next; and the header [`STREAMS`] of a call.

pub(crate) mod streaming;

use crate::desk::Desk;
use crate::failure::{Failure, RESPONSE_BYTES_MAX};
use crate::session::{Delivery, Refusal, Session};
use base::port::Clock;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections a runtime may hold at once, and one more for each call beyond the first.
const CONNECTIONS_MAX: usize = 64;
/// Compiled code of one version.
const COMPILED_BYTES_MAX: usize = 32 << 20;
const RESPONSE: &str = "InvocationResponse";
pub(crate) const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
pub(crate) const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";
/// Whether the caller takes the response as it is made: for runtimes that answer either way.
pub(crate) const STREAMS: &str = "wadi-runtime-response-streams";

type Reply = Response<Full<Bytes>>;

/// Serves until the task that runs it is aborted; its connections go with it.
pub(crate) async fn serve(listener: TcpListener, desk: Arc<Desk>, clock: Arc<dyn Clock>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX + desk.calls() - 1));
    let mut connections = JoinSet::new();
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "runtime api: cannot accept");
                // Out of descriptors, most likely: the connection stays in the queue.
                clock.sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let desk = desk.clone();
        connections.spawn(async move {
            converse(stream, desk).await;
            drop(slot);
        });
    }
}

/// Serves one connection until either side ends it.
pub(crate) async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, desk: Arc<Desk>) {
    let service = service_fn(|request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(handle(&desk, request).await) }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn handle(desk: &Desk, request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    let Some(call) = path.strip_prefix("/2018-06-01/") else { return elsewhere(&path) };
    let parts: Vec<&str> = call.split('/').collect();
    match (request.method(), parts.as_slice()) {
        (&Method::GET, ["runtime", "invocation", "next"]) => match desk.next().await {
            Ok(delivery) => next(delivery),
            Err(refusal) => refuse(&refusal),
        },
        (&Method::POST, ["runtime", "invocation", id, "response"]) => response(desk.of(id), id, request).await,
        (&Method::POST, ["runtime", "invocation", id, "error"]) => error(desk.of(id), id, request).await,
        (&Method::POST, ["runtime", "init", "error"]) => init_error(desk.first(), request).await,
        (&Method::POST, ["runtime", "init", "template"]) => template(desk.first(), request).await,
        (&Method::POST, ["runtime", "init", "compiled"]) => compiled(desk.first(), request).await,
        (&Method::GET, ["runtime", "init", "cell"]) => match desk.first().calling() {
            Some(calling) => Response::new(Full::from(calling)),
            None => elsewhere(&path),
        },
        (&Method::GET, ["ping"]) => Response::new(Full::from("pong")),
        (_, ["runtime", "restore", ..]) => {
            say(StatusCode::NOT_IMPLEMENTED, "Runtime.Unsupported", "SnapStart is not offered here")
        }
        _ => elsewhere(&path),
    }
}

fn next(delivery: Delivery) -> Reply {
    let mut reply = Response::new(Full::new(delivery.payload));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut put = |name: &'static str, value: &str| {
        // Line ends, which a header cannot hold, are white space wherever JSON may have them.
        let clean: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if let Ok(value) = HeaderValue::from_bytes(clean.as_bytes()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("lambda-runtime-aws-request-id", &delivery.request_id);
    put("lambda-runtime-deadline-ms", &delivery.deadline_ms.to_string());
    put("lambda-runtime-invoked-function-arn", &delivery.invoked_arn);
    put("lambda-runtime-trace-id", &delivery.trace_id);
    if let Some(context) = &delivery.client_context {
        put("lambda-runtime-client-context", context);
    }
    if delivery.streams {
        put(STREAMS, "true");
    }
    reply
}

async fn response(session: &Session, id: &str, request: Request<Incoming>) -> Reply {
    if let Err(refusal) = session.may_answer(id, RESPONSE) {
        return refuse(&refusal);
    }
    match request.headers().get(RESPONSE_MODE).map(HeaderValue::as_bytes) {
        None | Some(b"") => {}
        Some(mode) if mode.eq_ignore_ascii_case(b"streaming") => {
            return streaming::response(session, id, request).await;
        }
        Some(_) => {
            let _ = session.answer(id, RESPONSE, Err(Failure::ResponseMode));
            return say(StatusCode::BAD_REQUEST, "InvalidFunctionResponseMode", "Invalid function response mode");
        }
    }
    match body(session, request).await {
        Ok(bytes) => accept(session.answer(id, RESPONSE, Ok(bytes))),
        Err(BodyError::Truncated) => truncated(),
        Err(BodyError::TooLarge) => match session.answer(id, RESPONSE, Err(Failure::TooLarge)) {
            Ok(()) => too_large(RESPONSE_BYTES_MAX as u64),
            Err(refusal) => refuse(&refusal),
        },
    }
}

async fn error(session: &Session, id: &str, request: Request<Incoming>) -> Reply {
    const TO: &str = "InvocationErrorResponse";
    if let Err(refusal) = session.may_answer(id, TO) {
        return refuse(&refusal);
    }
    match reported(session, request).await {
        Ok(failure) => accept(session.answer(id, TO, Err(failure))),
        Err(BodyError::Truncated) => truncated(),
        Err(BodyError::TooLarge) => too_large(RESPONSE_BYTES_MAX as u64),
    }
}

async fn init_error(session: &Session, request: Request<Incoming>) -> Reply {
    match reported(session, request).await {
        Ok(failure) => accept(session.init_failed(failure)),
        Err(BodyError::Truncated) => truncated(),
        Err(BodyError::TooLarge) => too_large(RESPONSE_BYTES_MAX as u64),
    }
}

/// Ours alone: compiled code that later instances of the version begin with.
async fn compiled(session: &Session, request: Request<Incoming>) -> Reply {
    if let Err(refusal) = session.is_starting("Compiled") {
        return refuse(&refusal);
    }
    let _turn = session.body_turn.lock().await;
    match Limited::new(request.into_body(), COMPILED_BYTES_MAX).collect().await {
        Ok(collected) => accept(session.keep_compiled(collected.to_bytes())),
        Err(e) if e.is::<LengthLimitError>() => too_large(COMPILED_BYTES_MAX as u64),
        Err(_) => truncated(),
    }
}

/// Ours alone: whether the initialised runtime can be copied, or why not.
async fn template(session: &Session, request: Request<Incoming>) -> Reply {
    #[derive(serde::Deserialize)]
    struct Said {
        refused: Option<String>,
    }
    let Ok(body) = body(session, request).await else { return truncated() };
    match serde_json::from_slice::<Said>(&body) {
        Ok(said) => accept(session.can_be_copied(said.refused.map(|reason| reason.chars().take(256).collect()))),
        Err(error) => say(StatusCode::BAD_REQUEST, "InvalidTemplate", &error.to_string()),
    }
}

/// The error document as it came, and its type: the document's own, else the header's.
async fn reported(session: &Session, request: Request<Incoming>) -> Result<Failure, BodyError> {
    let from_header = header(request.headers(), ERROR_TYPE);
    let body = body(session, request).await?;
    Ok(failure(from_header, body))
}

fn failure(from_header: Option<String>, body: Bytes) -> Failure {
    #[derive(serde::Deserialize)]
    struct Document {
        #[serde(rename = "errorType")]
        error_type: Option<String>,
    }
    let from_body = serde_json::from_slice::<Document>(&body).ok().and_then(|d| d.error_type);
    let error_type = from_body.filter(|t| !t.is_empty()).or(from_header).unwrap_or_else(|| "Unknown".into());
    Failure::Reported { error_type: error_type.chars().take(256).collect(), body }
}

enum BodyError {
    TooLarge,
    Truncated,
}

/// One body of a runtime at a time, so that no number of connections multiplies what it can make us hold.
async fn body(session: &Session, request: Request<Incoming>) -> Result<Bytes, BodyError> {
    let _turn = session.body_turn.lock().await;
    if request.body().size_hint().lower() > RESPONSE_BYTES_MAX as u64 {
        return Err(BodyError::TooLarge);
    }
    match Limited::new(request.into_body(), RESPONSE_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::Truncated),
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty()).map(str::to_owned)
}

fn accept(taken: Result<(), Refusal>) -> Reply {
    match taken {
        Ok(()) => json_reply(StatusCode::ACCEPTED, &json!({"status": "OK"})),
        Err(refusal) => refuse(&refusal),
    }
}

fn refuse(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::RequestId => say(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID"),
        Refusal::State { from, to } => {
            let text = format!(
                "State transition from {from} to {to} failed for runtime. Error: State transition is not allowed"
            );
            say(StatusCode::FORBIDDEN, "InvalidStateTransition", &text)
        }
    }
}

fn too_large(bytes_max: u64) -> Reply {
    let text = format!("Exceeded maximum allowed payload size ({bytes_max} bytes).");
    say(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &text)
}

fn truncated() -> Reply {
    say(StatusCode::BAD_REQUEST, "TruncatedHTTPRequest", "HTTP request detected as truncated")
}

fn elsewhere(path: &str) -> Reply {
    let known = ["/2020-01-01/extension/", "/2020-08-15/logs", "/2022-07-01/telemetry"];
    if known.iter().any(|prefix| path.starts_with(prefix)) {
        return say(StatusCode::NOT_IMPLEMENTED, "Extension.Unsupported", "extensions are not offered here yet");
    }
    say(StatusCode::NOT_FOUND, "InvalidPath", "the Runtime API has no such path")
}

fn say(status: StatusCode, error_type: &str, message: &str) -> Reply {
    json_reply(status, &json!({"errorMessage": message, "errorType": error_type}))
}

fn json_reply(status: StatusCode, body: &serde_json::Value) -> Reply {
    let mut reply = Response::new(Full::from(body.to_string()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}
