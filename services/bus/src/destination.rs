//! API destinations as targets: one request an attempt, at the destination's pace, and what its answer means.

use crate::connection::{Secrets, TIMEOUT};
use crate::error::{Error, Result};
use crate::request::{self, TargetHttp};
use crate::store::{Connection, Destination, Space};
use crate::{Bus, cloudevents, model};
use base::port::SendError;
use base::{AccountId, Arn, Event, Region, Scope, Verdict};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RANGE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use serde_json::Value;
use std::time::Duration;

/// Where a rule puts what its target adds to the request: a [`TargetHttp`].
pub const HTTP: &str = "HttpParameters";
/// Invocations a second, unless the destination says something else.
pub const PER_SECOND: u32 = 300;
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
/// The longest that an answer's Retry-After can put an event off: no event is kept longer.
const RETRY_AFTER_MAX_S: i64 = 24 * 3600;
const UNABLE: &str = "Unable to invoke ApiDestination endpoint";

/// The API destination that an ARN means.
pub fn of_target(target: &Arn) -> Option<(Scope, &str)> {
    let (name, _id) = target.resource.strip_prefix("api-destination/")?.split_once('/')?;
    Some((Scope::new(AccountId::parse(&target.account)?, Region::parse(&target.region)?), name))
}

impl Bus {
    pub(crate) async fn destination(&self, scope: &Scope, name: &str) -> Result<Destination> {
        let found = self.store.get(&Space::Destination(scope, name).key()).await?;
        found.ok_or_else(|| model::no_destination(name))
    }

    /// The connection with this ARN of the scope.
    pub(crate) async fn connection(&self, scope: &Scope, arn: &str) -> Result<Connection> {
        let start = model::connection_arn(scope, "", "");
        let start = start.trim_end_matches('/');
        let name = arn.strip_prefix(start).and_then(|rest| rest.trim_start_matches('/').split('/').next());
        let name = name.unwrap_or(arn);
        let found: Option<Connection> = self.store.get(&Space::Connection(scope, name).key()).await?;
        found.filter(|connection| connection.arn == arn).ok_or_else(|| model::no_connection(name))
    }

    /// One attempt.
    pub(crate) async fn invoke(&self, scope: &Scope, name: &str, event: &Event) -> Verdict {
        let dead = |reason: String| Verdict::Dead { reason };
        if event.source.account != scope.account.as_str() {
            return dead(format!("{} is not authorized to perform: events:InvokeApiDestination", event.source.account));
        }
        let found = async {
            let destination = self.destination(scope, name).await?;
            let connection = self.connection(scope, &destination.connection).await?;
            Ok::<_, Error>((destination, connection))
        };
        let (destination, connection) = match found.await {
            Ok(found) => found,
            Err(Error::NotFound(reason)) => return dead(format!("{UNABLE}: {reason}")),
            Err(later) => return Verdict::Retry { after: RETRY_AFTER_MIN, reason: later.to_string() },
        };
        if !event.target.resource.ends_with(&destination.id) {
            return dead(format!("{UNABLE}: {}", model::no_destination(name)));
        }
        let secrets = match Secrets::open(&self.seal, &connection.arn, &connection.secrets) {
            Ok(secrets) => secrets,
            Err(why) => return dead(format!("{UNABLE}: the connection cannot be read: {why}")),
        };
        self.pause(&destination).await;
        let mut request = match asked(&destination, &secrets, event) {
            Ok(request) => request,
            Err(why) => return dead(format!("{UNABLE}: {why}")),
        };
        let authorised = match &secrets.auth {
            Some(auth) => self.authorisation(&connection, auth).await,
            None => Err("The connection is deauthorized.".into()),
        };
        match authorised {
            Ok((name, value)) => request.headers_mut().insert(name, value),
            Err(why) => return Verdict::Retry { after: RETRY_AFTER_MIN, reason: format!("{UNABLE}: {why}") },
        };
        let answer = self.courier.send(request, TIMEOUT).await;
        if answer.as_ref().is_ok_and(|answer| matches!(answer.status().as_u16(), 401 | 407)) {
            self.tokens.forget(&connection);
        }
        judged(answer)
    }

    async fn pause(&self, destination: &Destination) {
        let own = destination.per_second.unwrap_or(PER_SECOND).saturating_mul(60);
        let per_minute = destination.per_minute.map_or(own, |allowed| own.min(allowed));
        let wait = self.pace.wait(&destination.id, per_minute, self.clock.elapsed());
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
    }
}

/// The request, but for who authorises it. The connection's parameters win over the target's.
fn asked(destination: &Destination, secrets: &Secrets, event: &Event) -> std::result::Result<Request<Bytes>, String> {
    let given = event.attributes.get(HTTP).cloned().unwrap_or_default();
    let target: TargetHttp = serde_json::from_value(given).unwrap_or_default();
    let own = &secrets.invocation;
    let url = request::filled(&destination.endpoint, &target.path)?;
    let mut query = target.query.clone();
    query.extend(own.query.iter().map(|p| (p.key.clone(), p.value.clone())));
    let url = request::with_query(&url, query.iter().map(|(key, value)| (key.as_str(), value.as_str())));

    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    let text = body_of(event, secrets);
    let body = match cloudevents::mode(own) {
        Some(mode) => cloudevents::dressed(mode, &text, event, &mut headers)?,
        None => text.into(),
    };
    request::put_headers(&mut headers, target.headers.iter());
    let shown = own.headers.iter().filter(|p| !p.key.eq_ignore_ascii_case(cloudevents::OPTION));
    request::put_headers(&mut headers, shown.map(|p| (&p.key, &p.value)));
    headers.insert(USER_AGENT, HeaderValue::from_static("Amazon/EventBridge/ApiDestinations"));
    headers.insert(RANGE, HeaderValue::from_static("bytes=0-1048575"));

    let method = Method::from_bytes(destination.method.as_bytes()).map_err(|e| e.to_string())?;
    let bare = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&method);
    if bare {
        headers.remove(CONTENT_TYPE);
    }
    let body = if bare { Bytes::new() } else { body };
    let mut request = Request::builder().method(method).uri(url).body(body).map_err(|e| e.to_string())?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// What the target receives, with the connection's body parameters in it if it is an object.
fn body_of(event: &Event, secrets: &Secrets) -> String {
    let text = event.payload.get();
    let raw = event.attributes.contains_key("RawBody");
    match serde_json::from_str(text) {
        Ok(Value::String(body)) if raw => body,
        Ok(Value::Object(mut object)) if !secrets.invocation.body.is_empty() => {
            object.extend(secrets.invocation.body.iter().map(|p| (p.key.clone(), p.value.as_str().into())));
            Value::Object(object).to_string()
        }
        _ => text.to_owned(),
    }
}

/// "Error codes associated with retries are 401, 407, 409, 429, and 5xx."
fn judged(answer: std::result::Result<Response<Bytes>, SendError>) -> Verdict {
    let answer = match answer {
        Ok(answer) => answer,
        Err(why @ SendError::Forbidden(_)) => return Verdict::Dead { reason: format!("{UNABLE}: {why}") },
        Err(why) => return Verdict::Retry { after: RETRY_AFTER_MIN, reason: format!("{UNABLE}: {why}") },
    };
    let status = answer.status();
    let reason = format!("{UNABLE}: API destination returned HTTP status {}", status.as_u16());
    let later = answer.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse::<i64>().ok());
    match status.as_u16() {
        200..300 => Verdict::Done,
        // "If Retry-After value is negative, EventBridge stops retrying delivery for that event."
        401 | 407 | 409 | 429 | 500.. if later.is_none_or(|seconds| seconds >= 0) => {
            let after = Duration::from_secs(later.unwrap_or(0).clamp(0, RETRY_AFTER_MAX_S) as u64);
            Verdict::Retry { after: after.max(RETRY_AFTER_MIN), reason }
        }
        _ => Verdict::Dead { reason },
    }
}
