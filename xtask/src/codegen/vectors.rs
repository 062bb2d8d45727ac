//! Test: AWS's protocol vectors, through codegen's tables and wire's codecs.

use super::model::{Metadata, Model, Operation, Shape as ModelShape};
use super::table::{self, Options};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use wire::table::{Kind, Location, Service, ShapeIndex};
use wire::{Encoded, Fault};

const VECTORS: &str = include_str!("../../vectors/protocols.json");

/// What the vectors ask that no service of ours uses, or that only clients do.
const SKIPPED: &[(&str, &str)] = &[
    ("input RestJsonHttpPrefixHeadersAreNotPresent", "an empty map in headers cannot be told from none"),
    ("input RestJsonOmitsEmptyListQueryValues", "an empty list in a query cannot be told from none"),
    ("input RestJsonHttpWithEmptyStructurePayload", "an empty body cannot be told from none"),
    ("input RestJsonHttpWithHeadersButNoPayload", "an empty body cannot be told from none"),
    ("output RestJsonDateTimeWithNegativeOffset", "reading of offsets: we write UTC"),
    ("output RestJsonDateTimeWithPositiveOffset", "reading of offsets: we write UTC"),
    ("output AwsJson11DateTimeWithNegativeOffset", "reading of offsets: we write UTC"),
    ("output AwsJson11DateTimeWithPositiveOffset", "reading of offsets: we write UTC"),
    ("output RestJsonDeserializeIgnoreType", "what clients ignore"),
    ("output AwsJson11DeserializeIgnoreType", "what clients ignore"),
    ("output RestJsonDoesntDeserializeNullStructureValues", "what clients ignore"),
    ("output AwsJson11StructuresDontDeserializeNullValues", "what clients ignore"),
    ("output handles_unexpected_json_output", "what clients ignore"),
    ("input RestJsonQueryParamsStringListMap", "a client's map; a server's has all parameters, as other vectors say"),
    ("output parses_the_request_id_from_the_response", "the id of a request is not part of its result"),
    ("output AwsJson11IntEnums", "asks for a request's header in a reply"),
];

#[derive(Deserialize)]
struct Vectors {
    suites: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Suite {
    kind: String,
    metadata: Metadata,
    shapes: BTreeMap<String, ModelShape>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    given: Operation,
    params: Option<Value>,
    serialized: Option<Serialized>,
    result: Option<Value>,
    response: Option<Response>,
    #[serde(rename = "errorCode")]
    error_code: Option<String>,
    #[serde(rename = "errorMessage")]
    error_message: Option<String>,
}

#[derive(Deserialize)]
struct Serialized {
    method: String,
    uri: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

#[derive(Deserialize)]
struct Response {
    status_code: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

#[test]
fn protocol_vectors() {
    let vectors: Vectors = serde_json::from_str(VECTORS).expect("the vectors are JSON");
    let (mut passed, mut failed) = (0, Vec::new());
    for suite in vectors.suites {
        // A table takes a whole model, so each case has one of its own.
        for i in 0..suite["cases"].as_array().expect("cases").len() {
            let suite: Suite = serde_json::from_value(suite.clone()).expect("a suite");
            let protocol = suite.metadata.protocol.clone();
            let (id, outcome) = run(suite, i);
            if SKIPPED.iter().any(|(skipped, _)| *skipped == id) {
                assert!(outcome.is_err(), "{id} passes: it need not be skipped");
                continue;
            }
            match outcome {
                Ok(()) => passed += 1,
                Err(why) => failed.push(format!("{protocol} {id}: {why}")),
            }
        }
    }
    assert!(failed.is_empty(), "{passed} passed, {} failed:\n{}", failed.len(), failed.join("\n"));
}

fn run(suite: Suite, i: usize) -> (String, Result<(), String>) {
    let mut cases = suite.cases;
    let case = cases.swap_remove(i);
    let id = format!("{} {}", suite.kind, case.id);
    let mut operation = case.given;
    operation.http.method.get_or_insert_with(|| "POST".into());
    let name = operation.name.clone();
    let model = Model {
        metadata: suite.metadata,
        shapes: suite.shapes,
        operations: BTreeMap::from([(name.clone(), operation)]),
    };
    let options = Options {
        operations: BTreeSet::from([name.as_str()]),
        validation_code: "ValidationException",
        payload_type: "application/octet-stream",
        rewrites: &BTreeMap::new(),
        open_enums: false,
        query: None,
    };
    let service = match table::build(&model, &options) {
        Ok(service) => service,
        Err(e) => return (id, Err(format!("{e:#}"))),
    };
    let outcome = match (suite.kind.as_str(), case.error_code) {
        ("input", _) => input(&service, case.serialized.expect("a request"), case.params.expect("what it holds")),
        (_, Some(code)) => error(&service, &code, case.error_message, &case.response.expect("a response")),
        _ => output(&service, case.result.expect("a result"), &case.response.expect("a response")),
    };
    (id, outcome)
}

fn input(service: &Service, request: Serialized, params: Value) -> Result<(), String> {
    let mut builder = http::Request::builder().method(request.method.as_str()).uri(&request.uri);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let (parts, ()) = builder.body(()).map_err(|e| e.to_string())?.into_parts();
    let target = parts.headers.get("x-amz-target").and_then(|t| t.to_str().ok());
    let (operation, labels) =
        service.route(parts.method.as_str(), parts.uri.path(), parts.uri.query(), target).map_err(|e| e.to_string())?;
    let body = Bytes::from(request.body);
    let decoded = wire::decode(service, operation, &labels, &parts, &body).map_err(|e| e.to_string())?;
    let Some(shape) = operation.input else { return Ok(()) };
    let mut expected = params;
    let payload = lift_payload(service, shape, &mut expected);
    expect_payload(payload, Some(&decoded.payload))?;
    in_typed_form(service, shape, &mut expected);
    expect(&decoded.input, &expected)
}

fn output(service: &Service, result: Value, response: &Response) -> Result<(), String> {
    let operation = &service.operations[0];
    let mut output = result;
    let mut payload = None;
    let mut status = None;
    if let Some(shape) = operation.output {
        payload = lift_payload(service, shape, &mut output);
        in_typed_form(service, shape, &mut output);
        if let Kind::Structure { members, .. } = &service.shapes[usize::from(shape)].kind
            && let Some(member) = members.iter().find(|m| m.location == Location::Status)
        {
            status = output[member.name].as_u64().map(|s| s as u16);
        }
    }
    let encoded = Encoded { output, payload: payload.map(Bytes::from), events: None, status };
    let reply = wire::encode(service, service.protocol, operation, encoded, "id");
    if reply.status().as_u16() != response.status_code {
        return Err(format!("status {}", reply.status()));
    }
    for (name, value) in &response.headers {
        let ours = reply.headers().get(name).and_then(|v| v.to_str().ok());
        if ours != Some(value) {
            return Err(format!("header {name}: {ours:?}, not {value:?}"));
        }
    }
    let (ours, theirs) = (json_or_text(reply.body()), json_or_text(response.body.as_bytes()));
    expect(&ours, &theirs)
}

fn error(service: &Service, code: &str, message: Option<String>, response: &Response) -> Result<(), String> {
    let message = message.unwrap_or_default();
    let fault = Fault::new(code, response.status_code, message.clone());
    let reply = wire::encode_fault(service, service.protocol, fault, "id");
    let body: Value = serde_json::from_slice(reply.body()).map_err(|e| e.to_string())?;
    let header = reply.headers().get("x-amzn-errortype").and_then(|v| v.to_str().ok());
    if header.or(body["__type"].as_str()) != Some(code) {
        return Err(format!("no code in {body}"));
    }
    let found = body.get("message").or(body.get("Message")).and_then(Value::as_str);
    if found != Some(&message) { Err(format!("no message in {body}")) } else { Ok(()) }
}

fn json_or_text(body: &[u8]) -> Value {
    let empty = || Value::Object(Map::new());
    match std::str::from_utf8(body) {
        Ok(text) if text.trim().is_empty() => empty(),
        Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        Err(_) => Value::from(body),
    }
}

/// The vectors give a blob payload as text in the parameters; a typed input has it apart.
fn lift_payload(service: &Service, shape: ShapeIndex, params: &mut Value) -> Option<String> {
    let Kind::Structure { members, payload: Some(name) } = &service.shapes[usize::from(shape)].kind else {
        return None;
    };
    let member = members.iter().find(|m| m.name == *name)?;
    let is_blob = matches!(service.shapes[usize::from(member.shape)].kind, Kind::Blob { .. });
    let value = params.as_object_mut().filter(|_| is_blob)?.remove(*name)?;
    value.as_str().map(str::to_owned)
}

fn expect_payload(expected: Option<String>, found: Option<&Bytes>) -> Result<(), String> {
    let expected = expected.unwrap_or_default();
    match found {
        Some(found) if found != expected.as_bytes() => Err(format!("payload {found:?}, not {expected:?}")),
        _ => Ok(()),
    }
}

/// Parameters as the vectors give them, in the form that typed inputs have: blobs as base64, no nulls in structures.
fn in_typed_form(service: &Service, shape: ShapeIndex, value: &mut Value) {
    match (&service.shapes[usize::from(shape)].kind, value) {
        (Kind::Structure { members, .. }, Value::Object(map)) => {
            map.retain(|_, v| !v.is_null());
            for member in *members {
                if let Some(value) = map.get_mut(member.name) {
                    in_typed_form(service, member.shape, value);
                }
            }
        }
        (Kind::List { item, .. }, Value::Array(items)) => {
            items.iter_mut().for_each(|v| in_typed_form(service, *item, v));
        }
        (Kind::Map { value: of, .. }, Value::Object(map)) => {
            map.values_mut().for_each(|v| in_typed_form(service, *of, v));
        }
        (Kind::Blob { .. }, value) => {
            let bytes = Bytes::from(value.as_str().unwrap_or_default().to_owned());
            *value = serde_json::to_value(wire::Blob(bytes)).expect("text");
        }
        _ => {}
    }
}

fn expect(found: &Value, expected: &Value) -> Result<(), String> {
    if same(found, expected) { Ok(()) } else { Err(format!("{found}, not {expected}")) }
}

/// Numbers are the same whether they are written as integers or not.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}
