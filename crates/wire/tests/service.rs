//! The codecs on the tables of the real services: what a client of Lambda, Logs and Wadi's own API would see.

mod tables;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tables::{lambda, logs, usage};
use wire::table::{Kind, Service};
use wire::{Decoded, Encoded, Fault};

const LAMBDA: &Service = &lambda::SERVICE;
const LOGS: &Service = &logs::SERVICE;

/// Routes and decodes a request; gives the operation's name and what it holds.
fn decode(service: &Service, request: http::request::Builder, body: &str) -> Result<(&'static str, Decoded), Fault> {
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    let target = parts.headers.get("x-amz-target").and_then(|t| t.to_str().ok());
    let (operation, labels) = service.route(parts.method.as_str(), parts.uri.path(), parts.uri.query(), target)?;
    let decoded = wire::decode(service, operation, &labels, &parts, &Bytes::from(body.to_owned()))?;
    Ok((operation.name, decoded))
}

fn create(body: Value) -> Result<Decoded, Fault> {
    decode(LAMBDA, Request::post("/2015-03-31/functions"), &body.to_string()).map(|(_, decoded)| decoded)
}

fn minimal() -> Value {
    json!({"FunctionName": "thumbs", "Role": "arn:aws:iam::000000000000:role/r", "Code": {"ZipFile": "UEs="}})
}

fn with(member: &str, value: Value) -> Value {
    let mut body = minimal();
    body[member] = value;
    body
}

#[track_caller]
fn refused(result: Result<Decoded, Fault>, code: &str, message: &str) {
    let fault = result.expect_err("should be refused");
    assert_eq!((fault.code.as_str(), fault.status), (code, 400), "{fault}");
    assert_eq!(fault.message, message);
}

#[test]
fn patterns_compile() {
    for service in [LAMBDA, LOGS, &usage::SERVICE] {
        for shape in service.shapes {
            if let Kind::String { pattern: Some(pattern), .. } = &shape.kind {
                pattern.matches("x");
            }
        }
    }
}

#[test]
fn requests_find_their_operations() {
    let check = |method: &str, target: &str, expect: Option<(&str, &[(&str, &str)])>| {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        let found = LAMBDA.route(method, path, query, None);
        match (found, expect) {
            (Ok((operation, labels)), Some((name, expected))) => {
                let labels: Vec<_> = labels.iter().map(|(n, v)| (*n, v.as_str())).collect();
                assert_eq!((operation.name, &labels[..]), (name, expected), "{method} {target}");
            }
            (Err(_), None) => {}
            (found, expect) => panic!("{method} {target}: {found:?}, not {expect:?}"),
        }
    };
    check("GET", "/2015-03-31/functions", Some(("ListFunctions", &[])));
    check("GET", "/2015-03-31/functions/", Some(("ListFunctions", &[])));
    check("POST", "/2015-03-31/functions", Some(("CreateFunction", &[])));
    check("GET", "/2015-03-31/functions/a%3Ab", Some(("GetFunction", &[("FunctionName", "a:b")])));
    check("POST", "/2015-03-31/functions/f/invocations", Some(("Invoke", &[("FunctionName", "f")])));
    let alias: &[_] = &[("FunctionName", "f"), ("Name", "prod")];
    check("PUT", "/2015-03-31/functions/f/aliases/prod", Some(("UpdateAlias", alias)));
    check("GET", "/2018-10-31/layers?find=LayerVersion&Arn=x", Some(("GetLayerVersionByArn", &[])));
    check("GET", "/2018-10-31/layers?find=Other", Some(("ListLayers", &[])));
    check("GET", "/2025-11-30/capacity-providers", Some(("ListCapacityProviders", &[])));
    check("PATCH", "/2015-03-31/functions", None);
    check("GET", "/2015-03-31/functions//configuration", None);
    check("GET", "/2015-03-31/functions/%FF", None);
    check("GET", "/", None);
    check("GET", "", None);
}

#[test]
fn unknown_and_missing_operations_are_named() {
    let fault = decode(LAMBDA, Request::get("/nowhere"), "").expect_err("unknown");
    assert_eq!((fault.code.as_str(), fault.status), ("UnknownOperationException", 404));
    assert_eq!(fault.message, "lambda has no operation GET /nowhere.");
    let request = || Request::post("/").header("x-amz-target", "Logs_20140328.Nothing");
    assert_eq!(decode(LOGS, request(), "{}").expect_err("unknown").code, "UnknownOperationException");
    let (operation, _) = LOGS.route("POST", "/", None, Some("Logs_20140328.StartQuery")).expect("modelled");
    assert!(!operation.implemented);
    let fault = wire::codec::not_implemented(LOGS, operation);
    assert_eq!((fault.status, fault.message.as_str()), (501, "Wadi does not have the operation logs.StartQuery yet."));
}

#[test]
fn an_invocation_comes_apart() {
    let request = Request::post("/2015-03-31/functions/thumbs/invocations?Qualifier=%24LATEST")
        .header("x-amz-invocation-type", "Event");
    let (name, decoded) = decode(LAMBDA, request, "not json").expect("valid");
    assert_eq!(name, "Invoke");
    assert_eq!(&decoded.payload[..], b"not json");
    let input: lambda::InvocationRequest = serde_json::from_value(decoded.input).expect("typed");
    assert_eq!((&*input.function_name, input.invocation_type.as_deref()), ("thumbs", Some("Event")));
    assert_eq!(input.qualifier.as_deref(), Some("$LATEST"));
}

#[test]
fn unknown_members_and_nulls_are_dropped() {
    let decoded = create(with("Timeout", json!(null))).expect("valid");
    assert!(decoded.input.get("Timeout").is_none());
    let decoded = create(with("Unheard", json!({"of": [1]}))).expect("valid");
    assert!(decoded.input.get("Unheard").is_none());
    let input: lambda::CreateFunctionRequest = serde_json::from_value(decoded.input).expect("typed");
    assert_eq!(input.code.zip_file.expect("a blob").0, &b"PK"[..]);
}

#[test]
fn types_come_before_constraints() {
    let serialization = "SerializationException";
    let check =
        |member: &str, value: Value, message: &str| refused(create(with(member, value)), serialization, message);
    check("FunctionName", json!(5), "NUMBER_VALUE can not be converted to a String");
    check("FunctionName", json!([]), "Start of list found where not expected");
    check("FunctionName", json!({}), "Start of structure or map found where not expected.");
    check("Timeout", json!("3"), "STRING_VALUE can not be converted to an Integer");
    check("Timeout", json!(3.5), "DECIMAL_VALUE can not be converted to an Integer");
    check("Timeout", json!(1u64 << 40), "NUMBER_VALUE can not be converted to an Integer");
    check("Publish", json!("true"), "STRING_VALUE can not be converted to a Boolean");
    check("Layers", json!("x"), "Expected list or null");
    check("Code", json!({"ZipFile": "???"}), "STRING_VALUE can not be converted to a Blob: it is not base64");
    let truncated = decode(LAMBDA, Request::post("/2015-03-31/functions"), "{\"FunctionName\": \"a").expect_err("cut");
    assert!(truncated.message.starts_with("Could not parse request body into json: "), "{truncated}");
    let deep = format!("{{\"Tags\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = decode(LAMBDA, Request::post("/2015-03-31/functions"), &deep).expect_err("too deep");
    assert_eq!(deep.code, serialization);
    let list = Request::get("/2015-03-31/functions?MaxItems=many");
    let fault = decode(LAMBDA, list, "").expect_err("not a number");
    assert_eq!(fault.message, "'many' can not be converted to an Integer");
}

#[test]
fn constraints_in_aws_words() {
    let check = |member: &str, value: Value, violation: &str| {
        let message = format!("1 validation error detected: {violation}");
        refused(create(with(member, value)), "ValidationException", &message);
    };
    let long = "f".repeat(141);
    let too_long = format!(
        "Value '{long}' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 140"
    );
    check("FunctionName", json!(long), &too_long);
    let range = "Member must have value less than or equal to 5400";
    check("Timeout", json!(5401), &format!("Value '5401' at 'timeout' failed to satisfy constraint: {range}"));
    let range = "Member must have value greater than or equal to 1";
    check("Timeout", json!(0), &format!("Value '0' at 'timeout' failed to satisfy constraint: {range}"));
    let set = "Member must satisfy enum value set: [Zip, Image]";
    check("PackageType", json!("Tar"), &format!("Value 'Tar' at 'packageType' failed to satisfy constraint: {set}"));
    let handler = r"Member must satisfy regular expression pattern: [^\s]+";
    check("Handler", json!("a b"), &format!("Value 'a b' at 'handler' failed to satisfy constraint: {handler}"));
    let keys = "Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [Member \
                must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]";
    check("Environment", json!({"Variables": {"1": "x"}}), keys);
    refused(
        create(json!({"FunctionName": "", "Code": {}})),
        "ValidationException",
        "3 validation errors detected: Value '' at 'functionName' failed to satisfy constraint: Member must satisfy regular \
         expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?\
         (\\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?; Value '' at 'functionName' failed to satisfy \
         constraint: Member must have length greater than or equal to 1; Value null at 'role' failed to satisfy constraint: \
         Member must not be null",
    );
    let request = Request::post("/").header("x-amz-target", "Logs_20140328.PutLogEvents");
    let body = r#"{"logGroupName": "g", "logStreamName": "s", "logEvents": [{"timestamp": 1, "message": "m"}, {"message": "m"}]}"#;
    refused(
        decode(LOGS, request, body).map(|(_, decoded)| decoded),
        "InvalidParameterException",
        "1 validation error detected: Value null at 'logEvents.2.member.timestamp' failed to satisfy constraint: Member must \
         not be null",
    );
}

#[test]
fn rewritten_patterns_mean_the_same() {
    let alias = |name: &str| {
        let body = json!({"Name": name, "FunctionVersion": "1"}).to_string();
        decode(LAMBDA, Request::post("/2015-03-31/functions/f/aliases"), &body)
    };
    for ok in ["prod", "1a", "a1", "-", "12-34"] {
        alias(ok).unwrap_or_else(|e| panic!("{ok}: {e}"));
    }
    for bad in ["1", "007", "", "a.b", "a\n"] {
        alias(bad).expect_err(bad);
    }
    let bucket = |name: &str| create(with("Code", json!({"S3Bucket": name, "S3Key": "k"})));
    bucket("a.b").expect("a bucket");
    bucket("abc.").expect_err("ends in a full stop");
}

#[test]
fn replies_are_put_together() {
    let operation = LAMBDA.operation("Invoke").expect("there");
    let mut output = lambda::InvocationResponse {
        status_code: Some(202),
        executed_version: Some("$LATEST".into()),
        payload: Bytes::from("{}"),
        ..Default::default()
    };
    use wire::Output;
    let (payload, status) = (output.take_payload(), output.status());
    let encoded =
        Encoded { output: serde_json::to_value(&output).expect("JSON"), payload, status, ..Encoded::default() };
    let reply = wire::encode(LAMBDA, LAMBDA.protocol, operation, encoded, "id-1");
    assert_eq!((reply.status().as_u16(), &reply.body()[..]), (202, &b"{}"[..]));
    assert_eq!(reply.headers()["x-amz-executed-version"], "$LATEST");
    assert_eq!(reply.headers()["x-amzn-requestid"], "id-1");
    assert_eq!(reply.headers()["content-type"], "application/json");

    let operation = LAMBDA.operation("DeleteFunction").expect("there");
    let encoded = Encoded { output: json!({}), status: Some(204), ..Encoded::default() };
    let reply = wire::encode(LAMBDA, LAMBDA.protocol, operation, encoded, "id");
    assert!(reply.body().is_empty() && !reply.headers().contains_key("content-type"));

    let operation = LAMBDA.operation("GetFunctionEventInvokeConfig").expect("there");
    let output = json!({"LastModified": 1_795_449_064.123, "MaximumRetryAttempts": null});
    let encoded = Encoded { output, ..Default::default() };
    let reply = wire::encode(LAMBDA, LAMBDA.protocol, operation, encoded, "id");
    assert_eq!(std::str::from_utf8(reply.body()), Ok(r#"{"LastModified":1795449064.123}"#));
}

#[test]
fn faults_have_the_form_their_clients_parse() {
    let body = |reply: &http::Response<Bytes>| serde_json::from_slice::<Value>(reply.body()).expect("JSON");
    let fault = Fault::new("ResourceNotFoundException", 404, "Function not found: f");
    let reply = wire::encode_fault(LAMBDA, LAMBDA.protocol, fault, "id");
    assert_eq!(reply.headers()["x-amzn-errortype"], "ResourceNotFoundException");
    assert_eq!(
        (reply.status().as_u16(), body(&reply)),
        (404, json!({"Type": "User", "Message": "Function not found: f"}))
    );

    let throttled = Fault::new("TooManyRequestsException", 429, "Rate Exceeded.")
        .with("Reason", "ReservedFunctionConcurrentInvocationLimitExceeded")
        .with("retryAfterSeconds", "1");
    let reply = wire::encode_fault(LAMBDA, LAMBDA.protocol, throttled, "id");
    assert_eq!(reply.headers()["retry-after"], "1");
    assert_eq!(body(&reply)["message"], "Rate Exceeded.");
    assert_eq!(body(&reply)["Reason"], "ReservedFunctionConcurrentInvocationLimitExceeded");

    let reply = wire::encode_fault(LOGS, LOGS.protocol, Fault::new("ResourceNotFoundException", 400, "no group"), "id");
    assert_eq!(reply.headers()["content-type"], "application/x-amz-json-1.1");
    assert_eq!(body(&reply), json!({"__type": "ResourceNotFoundException", "message": "no group"}));
}
