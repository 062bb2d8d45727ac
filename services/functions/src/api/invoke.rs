//! Invoke: run and wait, leave an event, or only ask whether it could run; and the same with the response in pieces.

use super::shapes as s;
use crate::Functions;
use crate::catalog::not_invocable;
use crate::error::{Error, Result};
use crate::events;
use crate::model::{EVENT_BYTES_MAX, PAYLOAD_BYTES_MAX, name};
use crate::prelude;
use crate::store::{Resolved, resolve_call};
use base::{FunctionRef, Invocation, InvokeError, Mode, Outcome, Source, Streamed};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use room::Context;
use serde_json::value::RawValue;
use std::future::ready;
use std::sync::Arc;
use wire::{EVENT_STREAM_TYPE, Event, EventStream};

/// The longest client context, in base64.
const CLIENT_CONTEXT_BYTES_MAX: usize = 3583;

pub async fn invoke(room: Arc<Functions>, cx: Context, input: s::InvocationRequest) -> Result<s::InvocationResponse> {
    if input.durable_execution_name.is_some() {
        return Err(Error::unsupported("DurableExecutionName"));
    }
    if input.tenant_id.is_some() {
        return Err(Error::unsupported("TenantId"));
    }
    let named = name::function(cx.scope(), &input.function_name, input.qualifier.as_deref())?;
    let client_context = input.client_context.as_deref().map(client_context).transpose()?;
    match input.invocation_type.as_deref() {
        Some("Event") => accept(&room, &cx, named, &input.payload).await,
        Some("DryRun") => {
            let executed_version = Some(rehearse(&room, &named).await?);
            Ok(s::InvocationResponse { status_code: Some(204), executed_version, ..s::InvocationResponse::default() })
        }
        _ => {
            let payload = check_payload(&input.payload, PAYLOAD_BYTES_MAX)?;
            let tail = input.log_type.as_deref() == Some("Tail");
            run(&room, &cx, named, payload, client_context, tail).await
        }
    }
}

pub async fn invoke_with_response_stream(
    room: Arc<Functions>,
    cx: Context,
    input: s::InvokeWithResponseStreamRequest,
) -> Result<s::InvokeWithResponseStreamResponse> {
    if input.tenant_id.is_some() {
        return Err(Error::unsupported("TenantId"));
    }
    let named = name::function(cx.scope(), &input.function_name, input.qualifier.as_deref())?;
    let client_context = input.client_context.as_deref().map(client_context).transpose()?;
    let mut reply = s::InvokeWithResponseStreamResponse { status_code: Some(204), ..Default::default() };
    if input.invocation_type.as_deref() == Some("DryRun") {
        reply.executed_version = Some(rehearse(&room, &named).await?);
        return Ok(reply);
    }
    let payload = check_payload(&input.payload, PAYLOAD_BYTES_MAX)?;
    let tail = input.log_type.as_deref() == Some("Tail");
    let streamed = room.runner.stream(call(&cx, named, payload, client_context)).await?;
    reply.status_code = Some(200);
    reply.executed_version = Some(streamed.executed_version.clone());
    reply.response_stream_content_type = Some(EVENT_STREAM_TYPE.into());
    reply.event_stream = events(streamed, tail);
    Ok(reply)
}

/// The response as it comes, then what came of the run.
fn events(streamed: Streamed, tail: bool) -> EventStream {
    let Streamed { head, chunks, outcome, .. } = streamed;
    let prelude = futures::stream::iter(head.as_ref().and_then(prelude::write));
    // Where the response broke off, the last event says why.
    let chunks = chunks.filter_map(|piece| ready(piece.ok()));
    let pieces = prelude.chain(chunks).map(|piece| Event::blob("PayloadChunk", piece));
    let last = futures::stream::once(async move { Event::json("InvokeComplete", &complete(outcome.await, tail)) });
    EventStream::new(pieces.chain(last))
}

fn complete(outcome: Result<Outcome, InvokeError>, tail: bool) -> s::InvokeWithResponseStreamCompleteEvent {
    match outcome {
        Ok(outcome) => {
            let error = outcome.result.err();
            s::InvokeWithResponseStreamCompleteEvent {
                error_details: error.as_ref().map(|e| String::from_utf8_lossy(&e.body).into_owned()),
                error_code: error.map(|e| e.error_type),
                log_result: tail.then(|| STANDARD.encode(&outcome.log_tail)),
            }
        }
        // The head has gone out as a success.
        Err(error) => s::InvokeWithResponseStreamCompleteEvent {
            error_code: Some("ServiceException".into()),
            error_details: Some(error.to_string()),
            log_result: None,
        },
    }
}

fn call(cx: &Context, function: FunctionRef, payload: Bytes, client_context: Option<String>) -> Invocation {
    let (request_id, trace_id) = (cx.request_id.clone(), cx.lineage().map(str::to_owned));
    Invocation { function, request_id, payload, mode: Mode::Wait, client_context, trace_id }
}

/// `RequestResponse`: the run's outcome is the reply; a function's own error is a 200 with a header.
async fn run(
    room: &Functions,
    cx: &Context,
    function: FunctionRef,
    payload: Bytes,
    client_context: Option<String>,
    tail: bool,
) -> Result<s::InvocationResponse> {
    let outcome = room.runner.invoke(call(cx, function, payload, client_context)).await?;
    let (payload, function_error) = match outcome.result {
        Ok(payload) => (payload, None),
        Err(error) => (error.body, Some(error.kind.to_owned())),
    };
    Ok(s::InvocationResponse {
        status_code: Some(200),
        function_error,
        log_result: tail.then(|| STANDARD.encode(&outcome.log_tail)),
        payload,
        executed_version: Some(outcome.executed_version),
        durable_execution_arn: None,
    })
}

/// `Event`: durable before the 202. The transaction reads the function (and its alias or version) and writes the event.
async fn accept(room: &Functions, cx: &Context, named: FunctionRef, payload: &Bytes) -> Result<s::InvocationResponse> {
    let payload: Box<RawValue> = serde_json::from_slice(within(payload, EVENT_BYTES_MAX)?).map_err(not_json)?;
    // Invoked by an identity, whom the gate has authorised: no service principal.
    let source = Source { service: None, arn: None, account: cx.account().to_owned() };
    let mut event = events::event(room, &named, source, payload);
    // The id that the caller was told is the one that the handler sees.
    event.id.clone_from(&cx.request_id);
    if let Some(trace) = cx.lineage() {
        event.attributes.insert("trace_id".into(), trace.into());
    }
    let (named, event) = (&named, &event);
    room.store
        .transact(|tx| async move {
            check_invocable(&resolve_call(&tx, named).await?)?;
            Ok::<_, Error>(tx.emit(event)?)
        })
        .await?;
    Ok(s::InvocationResponse { status_code: Some(202), ..s::InvocationResponse::default() })
}

/// `DryRun`: the caller may (the gate has asked) and the function is there. The version that would run.
async fn rehearse(room: &Functions, named: &FunctionRef) -> Result<String> {
    let found = room.store.transact(|tx| async move { resolve_call(&tx, named).await }).await?;
    check_invocable(&found)?;
    Ok(found.version)
}

fn check_invocable(found: &Resolved) -> Result<()> {
    not_invocable(&found.version, &found.snapshot).map_or(Ok(()), |message| Err(Error::Conflict(message)))
}

/// The payload within its bound. None is an empty object, as on AWS.
fn within(payload: &Bytes, max: usize) -> Result<&[u8]> {
    match payload.len() {
        0 => Ok(b"{}"),
        n if n > max => Err(Error::TooLarge { max: max as u64, operation: "InvokeFunction" }),
        _ => Ok(payload),
    }
}

/// As [`within`], and found to be JSON.
fn check_payload(payload: &Bytes, max: usize) -> Result<Bytes> {
    let checked = within(payload, max)?;
    serde_json::from_slice::<&RawValue>(checked).map_err(not_json)?;
    Ok(if payload.is_empty() { Bytes::from_static(b"{}") } else { payload.clone() })
}

fn not_json(error: serde_json::Error) -> Error {
    Error::Content(format!("Could not parse request body into json: {error}"))
}

fn client_context(encoded: &str) -> Result<String> {
    let refused = || Error::Content("Client context must be a valid Base64-encoded JSON object.".into());
    if encoded.len() > CLIENT_CONTEXT_BYTES_MAX {
        return Err(Error::Content(format!(
            "Client context must be no more than {CLIENT_CONTEXT_BYTES_MAX} bytes when base64-encoded"
        )));
    }
    let text = STANDARD.decode(encoded).ok().and_then(|b| String::from_utf8(b).ok()).ok_or_else(refused)?;
    let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text);
    object.map(|_| text).map_err(|_| refused())
}
