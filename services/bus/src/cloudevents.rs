//! CloudEvents to API destinations: in which form, and who may be sent them.

use crate::Bus;
use crate::connection::{Secrets, TIMEOUT};
use crate::error::{Error, Result};
use crate::request::Parameters;
use crate::store::Connection;
use ::rules::cloudevent::{self, CloudEvent, Data, Invalid};
use base::Event;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

/// A connection's header parameter that asks for CloudEvents; it is never sent itself.
pub const OPTION: &str = "Wadi-CloudEvents";
/// What a rule's input that is no event is said to be.
const INPUT: &str = "aws.events.input";
const UNFIT: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// How an API destination is sent CloudEvents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Structured,
    Binary,
}

fn option(parameters: &Parameters) -> Option<&str> {
    let found = parameters.headers.iter().find(|p| p.key.eq_ignore_ascii_case(OPTION))?;
    Some(found.value.trim())
}

pub fn mode(parameters: &Parameters) -> Option<Mode> {
    match option(parameters)? {
        "structured" => Some(Mode::Structured),
        "binary" => Some(Mode::Binary),
        _ => None,
    }
}

/// Refuses a mode that there is not.
pub fn check(parameters: &Parameters) -> Result<()> {
    match option(parameters) {
        Some(other) if mode(parameters).is_none() => {
            Err(Error::invalid(format!("{OPTION} is structured or binary, not {other:?}.")))
        }
        _ => Ok(()),
    }
}

/// The CloudEvent that a target is sent: the event, a CloudEvent that an input transformer made, or any other input as
/// data.
fn of_payload(body: &str, sent: &Event) -> std::result::Result<CloudEvent, Invalid> {
    let value = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
    if value.get("specversion").is_some() {
        return CloudEvent::from_json(value);
    }
    match cloudevent::untold(&value) {
        Some(event) => event.map(|e| CloudEvent { source: utf8_percent_encode(&e.source, UNFIT).to_string(), ..e }),
        None => {
            let source = sent.terms.rule.clone().unwrap_or_else(|| "aws.events".into());
            let (id, kind, data) = (sent.id.clone(), INPUT.to_owned(), Data::Json(value));
            Ok(CloudEvent { id, source, kind, data, ..CloudEvent::default() })
        }
    }
}

/// What a target is sent as a CloudEvent: its headers are set, the body comes back.
pub fn dressed(mode: Mode, body: &str, sent: &Event, headers: &mut HeaderMap) -> std::result::Result<Bytes, String> {
    // What a template made of it is as good as what anybody sends.
    let told = of_payload(body, sent).and_then(|told| CloudEvent::from_json(told.to_json()));
    let told = told.map_err(|why| format!("as a CloudEvent, {why}"))?;
    if mode == Mode::Structured {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json; charset=UTF-8"));
        return Ok(told.to_json().to_string().into());
    }
    headers.remove(CONTENT_TYPE);
    let (pairs, body) = told.to_binary();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| e.to_string())?;
        headers.insert(name, HeaderValue::from_str(&value).map_err(|e| e.to_string())?);
    }
    Ok(body.into())
}

/// The abuse-protection handshake ("HTTP 1.1 Web Hooks for Event Delivery", 4), if the connection asks for CloudEvents:
/// how many requests a minute the endpoint allows, `None` as many as we like.
///
/// # Errors
/// The endpoint does not allow us to send.
pub async fn shake_hands(bus: &Bus, connection: &Connection, endpoint: &str, host: &str) -> Result<Option<u32>> {
    let secrets = Secrets::open(&bus.seal, &connection.arn, &connection.secrets).unwrap_or_default();
    if mode(&secrets.invocation).is_none() {
        return Ok(None);
    }
    let refused =
        |why: String| Error::invalid(format!("{endpoint} does not allow CloudEvents to be sent to it: {why}."));
    let origin = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let asked = Request::options(endpoint.replace('*', "")).header("WebHook-Request-Origin", origin);
    let mut asked = asked.body(Bytes::new()).map_err(|error| refused(error.to_string()))?;
    if let Some(auth) = &secrets.auth
        && let Ok((name, value)) = bus.authorisation(connection, auth).await
    {
        asked.headers_mut().insert(name, value);
    }
    let answer = bus.courier.send(asked, TIMEOUT).await.map_err(|error| refused(error.to_string()))?;
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    match header("webhook-allowed-origin") {
        _ if !answer.status().is_success() => {
            Err(refused(format!("OPTIONS was answered with HTTP status {}", answer.status().as_u16())))
        }
        Some(allowed) if allowed == "*" || allowed.eq_ignore_ascii_case(origin) => {
            Ok(header("webhook-allowed-rate").and_then(|rate| rate.parse().ok()).filter(|rate| *rate > 0))
        }
        _ => Err(refused(format!("its answer has no WebHook-Allowed-Origin of {origin}"))),
    }
}
