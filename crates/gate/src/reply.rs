//! The gate's own words: refusals that no room made, in the form that the request's client reads; and the request id on
//! every reply.

use crate::destination::target;
use crate::path::Asked;
use http::{HeaderValue, Response, StatusCode, header};
use room::{Body, Fault};
use serde_json::json;
use std::any::Any;

const INTERNAL: &str = "We encountered an internal error. Please try again.";

/// Every reply carries its request's id under both names that clients look for.
pub fn stamp(mut reply: Response<Body>, request_id: &str) -> Response<Body> {
    let id = HeaderValue::from_str(request_id).expect("a UUID is a valid header value");
    for name in ["x-amzn-requestid", "x-amz-request-id"] {
        reply.headers_mut().entry(name).or_insert_with(|| id.clone());
    }
    reply
}

/// What a client sees of something that failed inside: nothing but that it did.
pub fn internal() -> Fault {
    Fault::new("InternalFailure", 500, INTERNAL)
}

pub fn panicked(panic: &(dyn Any + Send), request_id: &str) -> Response<Body> {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    tracing::error!(request_id, panic = text.unwrap_or("(no text)"), "a request panicked");
    json_fault(&internal())
}

/// Logs what failed inside, once, with its cause; passes the fault on.
pub fn logged(fault: Fault, request_id: &str) -> Fault {
    if let Some(cause) = &fault.cause {
        if fault.status >= 500 {
            tracing::error!(request_id, code = %fault.code, cause = %chain(cause.as_ref()), "a request failed");
        } else {
            tracing::debug!(request_id, code = %fault.code, cause = %chain(cause.as_ref()), "a request was refused");
        }
    }
    fault
}

/// An error and all that it names as its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

pub fn unknown_service(asked: &Asked, name: &str, there_are: &[&str]) -> Response<Body> {
    let name: String = name.chars().take(64).filter(|c| !c.is_control()).collect();
    let message = format!("Wadi does not have the service {name} yet. It has: {}.", there_are.join(", "));
    in_the_form_of(asked, &Fault::new("NotImplemented", 501, message))
}

pub fn nowhere(asked: &Asked) -> Response<Body> {
    in_the_form_of(asked, &Fault::new("MissingAuthenticationTokenException", 403, "Missing Authentication Token"))
}

pub fn no_host() -> Response<Body> {
    json_fault(&Fault::new("BadRequest", 400, "The request has no Host header."))
}

/// Query services (form posts) and S3 speak XML; everyone else reads JSON.
fn in_the_form_of(asked: &Asked, fault: &Fault) -> Response<Body> {
    let content_type = asked.parts.headers.get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or("");
    let form = content_type.starts_with("application/x-www-form-urlencoded");
    match target(&asked.parts) {
        None if form => xml_fault(fault, &asked.request_id),
        _ => json_fault(fault),
    }
}

fn json_fault(fault: &Fault) -> Response<Body> {
    let body = json!({"__type": fault.code, "message": fault.message, "Message": fault.message});
    respond(fault, "application/json", body.to_string())
}

fn xml_fault(fault: &Fault, request_id: &str) -> Response<Body> {
    let text = fault.message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let (code, kind) = (&fault.code, if fault.status < 500 { "Sender" } else { "Receiver" });
    let body = format!(
        "<?xml version=\"1.0\"?>\n<ErrorResponse><Error><Type>{kind}</Type><Code>{code}</Code><Message>{text}</Message>\
         </Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    );
    respond(fault, "text/xml", body)
}

fn respond(fault: &Fault, content_type: &'static str, body: String) -> Response<Body> {
    Response::builder()
        .status(StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .header(header::CONTENT_TYPE, content_type)
        .header("x-amzn-errortype", fault.code.as_str())
        .body(room::full(body))
        .expect("codes are valid header values")
}
