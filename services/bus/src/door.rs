//! The door for CloudEvents: `POST /_wadi/events/<bus>` or `/_wadi/events/<region>/<bus>`, in binary, structured or batch
//! mode, with an access key and its secret as HTTP's basic authentication. OPTIONS is answered as the abuse-protection
//! handshake asks: everybody may send who has a key.

use crate::Bus;
use crate::api::put_events::{Accepted, commit};
use crate::error::Error;
use crate::model::{self, ENTRY_BYTES_MAX};
use ::rules::cloudevent::{self, BATCH, CloudEvent, Invalid, STRUCTURED, is_binary, is_media};
use async_trait::async_trait;
use base::Region;
use base::port::{Access, Identity};
use http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use room::{Body, Door, Head, Unread};
use std::net::IpAddr;
use std::sync::Arc;

const PATH: &str = "/_wadi/events/";
const REGION: &str = "us-east-1";
/// Events of one batch.
const BATCH_MAX: usize = 100;

/// Takes CloudEvents for buses.
pub struct CloudEventsDoor {
    bus: Arc<Bus>,
    identity: Arc<dyn Identity>,
}

impl CloudEventsDoor {
    pub fn new(bus: Arc<Bus>, identity: Arc<dyn Identity>) -> Self {
        Self { bus, identity }
    }
}

type Refusal = (StatusCode, String);

fn bad(why: impl ToString) -> Refusal {
    (StatusCode::BAD_REQUEST, why.to_string())
}

#[async_trait]
impl Door for CloudEventsDoor {
    fn opens(&self, head: Head<'_>) -> bool {
        head.parts.uri.path().starts_with(PATH)
    }

    async fn serve(&self, request: http::Request<Body>, _: &str, _: IpAddr) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if let Some(allowed) = room::handshake(&parts) {
            return allowed;
        }
        match parts.method {
            Method::POST => match self.take(&parts, body).await {
                Ok(()) => answer(StatusCode::NO_CONTENT, room::empty()),
                Err((status, why)) => refused(status, &why),
            },
            _ => {
                let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, "CloudEvents come by POST.");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
                response
            }
        }
    }
}

fn answer(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn refused(status: StatusCode, why: &str) -> Response<Body> {
    let mut response = answer(status, room::full(serde_json::json!({ "Message": why }).to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"wadi\""));
    }
    response
}

impl CloudEventsDoor {
    /// Nothing of a request is taken, or all of it.
    async fn take(&self, parts: &Parts, body: Body) -> Result<(), Refusal> {
        let path = parts.uri.path().strip_prefix(PATH).unwrap_or_default();
        let (region, name) = path.split_once('/').unwrap_or((REGION, path));
        let region = Region::parse(region).ok_or_else(|| bad(format!("{region:?} is not a region")))?;
        let unknown =
            || (StatusCode::UNAUTHORIZED, "An access key and its secret are the user and the password.".into());
        let caller = room::basic(&*self.identity, parts, region).await.ok_or_else(unknown)?;
        let scope = &caller.scope;
        let resource = model::bus_arn(scope, name).to_string();
        let access = Access { action: "events:PutEvents".into(), resource };
        self.identity.authorise(&caller, &access).await.map_err(|denied| (StatusCode::FORBIDDEN, denied.0))?;
        self.bus.bus(scope, name).await.map_err(failed)?;

        let events = read(parts, &room::gather(body, ENTRY_BYTES_MAX).await.map_err(unread)?)?;
        let now = self.bus.clock.now();
        let mut accepted = Vec::with_capacity(events.len());
        for event in events {
            let id = event.id.clone();
            let checked = model::check_event(&event.source, &event.kind);
            checked.map_err(|(code, why)| bad(format!("{code}: {why}")))?;
            let event = cloudevent::told(event, scope, now);
            accepted.push(Accepted { id, bus: name.to_owned(), event });
        }
        commit(&self.bus, scope, &accepted.iter().collect::<Vec<_>>(), now).await.map_err(failed)
    }
}

fn failed(error: Error) -> Refusal {
    match error {
        Error::NotFound(why) => (StatusCode::NOT_FOUND, why),
        Error::Store(cause) => {
            tracing::warn!(%cause, "CloudEvents could not be taken");
            (StatusCode::SERVICE_UNAVAILABLE, "Try again.".into())
        }
        other => bad(other),
    }
}

fn unread(why: Unread) -> Refusal {
    let status = match why {
        Unread::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Unread::Broken => StatusCode::BAD_REQUEST,
    };
    (status, why.to_string())
}

/// The events of a request, by its content mode.
fn read(parts: &Parts, body: &[u8]) -> Result<Vec<CloudEvent>, Refusal> {
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let json = || serde_json::from_slice(body).map_err(|error| Invalid(format!("the body is not JSON: {error}")));
    let events = if is_media(kind, STRUCTURED) {
        json().and_then(CloudEvent::from_json).map(|event| vec![event])
    } else if is_media(kind, BATCH) {
        json().and_then(|value| CloudEvent::batch(value, BATCH_MAX))
    } else if kind.to_ascii_lowercase().starts_with("application/cloudevents") {
        let why = format!("{kind} is not one of {STRUCTURED} and {BATCH}.");
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    } else if is_binary(parts.headers.keys().map(|name| name.as_str())) {
        let headers = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        CloudEvent::from_binary(headers, body).map(|event| vec![event])
    } else {
        let why = format!("A CloudEvent has a ce-specversion header, or comes as {STRUCTURED} or {BATCH}.");
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    };
    events.map_err(bad)
}
