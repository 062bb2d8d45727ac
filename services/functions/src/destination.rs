//! What follows an asynchronous invocation that is over: a record for the destination of its outcome, and the event
//! itself for the dead-letter target. Both are committed with the event's end.

use crate::Functions;
use crate::events::trace_of;
use crate::model::LATEST;
use crate::model::name;
use crate::records::EventConfig;
use crate::store::resolve;
use base::{Arn, Event, FunctionError, FunctionRef, Outcome, Source, Terms, Timestamp};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// Services whose ARNs a destination may have; buckets (`s3`) are for failures alone.
pub const SERVICES: [&str; 5] = ["lambda", "sqs", "sns", "events", "s3"];
/// Of an error's text in a dead letter's attributes.
const MESSAGE_BYTES_MAX: usize = 1024;

/// How an invocation ended.
pub enum End<'a> {
    Success(&'a Outcome),
    /// `RetriesExhausted` or `EventAgeExceeded`, the reason, and the function's own error if it had one.
    Failure {
        condition: &'static str,
        reason: &'a str,
        error: Option<&'a FunctionError>,
    },
}

/// The settings that say where to send what.
#[derive(Default)]
pub struct Places {
    pub on_success: Option<Arn>,
    pub on_failure: Option<Arn>,
    pub dead_letter: Option<Arn>,
}

impl Functions {
    /// Where the outcomes of what was invoked go. A dead-letter target is asked for only when something died: it costs
    /// the reading of a version.
    pub(crate) async fn destinations(&self, named: &FunctionRef, config: &EventConfig, died: bool) -> Places {
        let arn = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
        let mut places =
            Places { on_success: arn(&config.on_success), on_failure: arn(&config.on_failure), dead_letter: None };
        if died {
            let resolved = self.store.transact(|tx| async move { resolve(&tx, named).await }).await;
            match resolved {
                Ok(resolved) => places.dead_letter = arn(&resolved.snapshot.settings.dead_letter),
                Err(cause) => tracing::warn!(%cause, function = %named.name, "a dead-letter target could not be read"),
            }
        }
        places
    }

    /// What follows.
    pub(crate) fn follows(
        &self,
        named: &FunctionRef,
        event: &Event,
        attempt: u32,
        (end, places): (&End<'_>, &Places),
    ) -> Vec<Event> {
        let now = self.clock.now();
        let mut then = Vec::new();
        let to = match end {
            End::Success(_) => &places.on_success,
            End::Failure { .. } => &places.on_failure,
        };
        if let Some(to) = to {
            let record = record(named, event, attempt, end, now);
            let told = match to.service.as_str() {
                "events" => self.told(named, end, record, now),
                _ => record,
            };
            if let Ok(payload) = RawValue::from_string(told.to_string()) {
                let mut sent = self.sent(named, event, to, payload, now);
                if to.service == "s3" {
                    sent.attributes.insert("Key".into(), self.object_key(named, now).into());
                }
                then.push(sent);
            }
        }
        if let (End::Failure { reason, error, .. }, Some(to)) = (end, &places.dead_letter) {
            let mut letter = self.sent(named, event, to, event.payload.clone(), now);
            letter.attributes.insert("MessageAttributes".into(), letter_attributes(event, reason, *error));
            then.push(letter);
        }
        then
    }

    fn sent(&self, named: &FunctionRef, event: &Event, to: &Arn, payload: Box<RawValue>, now: Timestamp) -> Event {
        // A function reads the one, a queue the other.
        let trace = self.enter(named, trace_of(event)).trace;
        let attributes = ["trace_id", "AWSTraceHeader"].map(|name| (name.to_owned(), trace.as_str().into()));
        Event {
            id: self.entropy.uuid(),
            target: to.clone(),
            // The function's role sends, not a service.
            source: Source {
                service: None,
                arn: Some(name::arn_of(named)),
                account: named.scope.account.as_str().to_owned(),
            },
            created: now,
            payload,
            attributes: Map::from_iter(attributes),
            terms: Terms {
                origin: Some(event.terms.origin.clone().unwrap_or_else(|| event.id.clone())),
                ..Terms::default()
            },
        }
    }

    /// Where a bucket has the record: `aws/lambda/async/<function>/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-<random UUID>`.
    fn object_key(&self, named: &FunctionRef, now: Timestamp) -> String {
        let (year, month, day, hour, minute, second, _) = now.civil();
        let date = format!("{year:04}/{month:02}/{day:02}/{year:04}-{month:02}-{day:02}");
        let time = format!("{hour:02}.{minute:02}.{second:02}");
        format!("aws/lambda/async/{}/{date}T{time}-{}", named.name, self.entropy.uuid())
    }

    /// The record as an event on a bus.
    fn told(&self, named: &FunctionRef, end: &End<'_>, record: Value, now: Timestamp) -> Value {
        let outcome = if matches!(end, End::Success(_)) { "Success" } else { "Failure" };
        let time = now.iso8601();
        json!({
            "version": "0",
            "id": self.entropy.uuid(),
            "detail-type": format!("Lambda Function Invocation Result - {outcome}"),
            "source": "lambda",
            "account": named.scope.account.as_str(),
            "time": format!("{}Z", time.split('.').next().unwrap_or(&time)),
            "region": named.scope.region.as_str(),
            "resources": [name::arn_of(named).to_string()],
            "detail": record,
        })
    }
}

/// The record of Lambda's documentation ("Capturing records of asynchronous invocations"), version 1.0.
fn record(named: &FunctionRef, event: &Event, attempt: u32, end: &End<'_>, now: Timestamp) -> Value {
    let qualifier = named.qualifier.as_deref().unwrap_or(LATEST);
    let (condition, response, payload) = match end {
        End::Success(outcome) => {
            let context = json!({"statusCode": 200, "executedVersion": outcome.executed_version});
            let bytes = outcome.result.as_deref().unwrap_or_default();
            ("Success", context, serde_json::from_slice(bytes).unwrap_or_default())
        }
        End::Failure { condition, error: Some(error), .. } => {
            let context = json!({"statusCode": 200, "executedVersion": qualifier, "functionError": error.kind});
            (*condition, context, serde_json::from_slice::<Value>(&error.body).unwrap_or_default())
        }
        End::Failure { condition, .. } => (*condition, Value::Null, Value::Null),
    };
    let mut record = json!({
        "version": "1.0",
        "timestamp": now.iso8601(),
        "requestContext": {
            "requestId": event.id,
            "functionArn": name::qualified(&named.scope, &named.name, Some(qualifier)).to_string(),
            "condition": condition,
            "approximateInvokeCount": attempt,
        },
        "requestPayload": serde_json::from_str::<Value>(event.payload.get()).unwrap_or_default(),
    });
    if !response.is_null() {
        record["responseContext"] = response;
        record["responsePayload"] = payload;
    }
    record
}

/// `RequestID`, `ErrorCode` and `ErrorMessage`, as message attributes.
fn letter_attributes(event: &Event, reason: &str, error: Option<&FunctionError>) -> Value {
    let message = error.and_then(|e| serde_json::from_slice::<Value>(&e.body).ok());
    let message = message.as_ref().and_then(|m| m["errorMessage"].as_str()).unwrap_or(reason);
    let message = &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)];
    let code = if error.is_some() { "200" } else { "429" };
    json!({
        "RequestID": {"DataType": "String", "StringValue": event.id},
        "ErrorCode": {"DataType": "Number", "StringValue": code},
        "ErrorMessage": {"DataType": "String", "StringValue": if message.is_empty() { "-" } else { message }},
    })
}
