//! [`Fault`] → HTTP response, in the form that the protocol's clients parse.

use super::query;
use super::reply::{content_type, json, put};
use crate::Fault;
use crate::table::{Operation, Protocol, Service};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use serde_json::{Map, Value};

/// Puts an error reply together, in the protocol that the request spoke.
///
/// A modelled error has its message under the model's name, its header members in headers,
/// and `Type` (`User` for 4xx, else `Service`) where the model has one.
pub fn encode_fault(service: &Service, spoken: Protocol, fault: Fault, request_id: &str) -> Response<Bytes> {
    let modelled = service.errors.binary_search_by(|e| e.code.cmp(&fault.code)).ok().map(|at| &service.errors[at]);
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type(spoken));
    put(headers, "x-amzn-requestid", request_id);
    if let Some(query) = &service.query {
        if spoken == Protocol::Query {
            *response.body_mut() = query::write_fault(query, &fault, request_id).into();
            return response;
        }
        // Clients that came from the query protocol know errors by its codes.
        let kind = if fault.status < 500 { "Sender" } else { "Receiver" };
        put(headers, "x-amzn-query-error", &format!("{};{kind}", query.code(&fault.code)));
    }
    let mut body = Map::new();
    match spoken {
        Protocol::RestJson => put(headers, "x-amzn-errortype", &fault.code),
        Protocol::Json10 | Protocol::Json11 | Protocol::Query => drop(body.insert("__type".into(), fault.code.into())),
    }
    if modelled.is_some_and(|e| e.typed) {
        body.insert("Type".into(), if fault.status < 500 { "User" } else { "Service" }.into());
    }
    body.insert(modelled.map_or("message", |e| e.message).into(), fault.message.into());
    for (name, value) in fault.members {
        match modelled.and_then(|e| e.headers.iter().find(|(member, _)| *member == name)) {
            Some((_, header)) => put(headers, header, &plain(&value)),
            None => drop(body.insert(name, value)),
        }
    }
    *response.body_mut() = json(&Value::Object(body));
    response
}

/// The operation is in the model, and Wadi lacks it.
pub fn not_implemented(service: &Service, operation: &Operation) -> Fault {
    let message = format!("Wadi does not have the operation {}.{} yet.", service.name, operation.name);
    Fault::new("NotImplemented", 501, message)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
