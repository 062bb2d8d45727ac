//! Node.js functions in every style, and what their callers and logs see of them.

use crate::functions::{answer, failure, invoke};
use crate::support::{World, version};
use crate::world;
use base::Start;
use engine::{Runner, Runtime, Version};
use serde_json::{Value, json};
use tokio::runtime::Runtime as Tokio;

type Test = fn(&Tokio);

pub const TESTS: &[(&str, Test)] = &[
    ("nodejs_styles_of_handlers", |tokio| tokio.block_on(styles_of_handlers())),
    ("nodejs_context_and_environment", |tokio| tokio.block_on(context_and_environment())),
    ("nodejs_errors_are_told_as_on_aws", |tokio| tokio.block_on(errors_are_told_as_on_aws())),
    ("nodejs_modules_that_cannot_be_loaded", |tokio| tokio.block_on(modules_that_cannot_be_loaded())),
    ("nodejs_ends_of_the_process", |tokio| tokio.block_on(ends_of_the_process())),
    ("nodejs_console", |tokio| tokio.block_on(console())),
    ("nodejs_packages_of_layers", |tokio| tokio.block_on(packages_of_layers())),
    ("nodejs_24_has_async_handlers_only", |tokio| tokio.block_on(from_24_on_async_handlers_only())),
];

/// Puts a Node.js function `f` there.
pub async fn node(world: &World, files: &[(&str, &str)], handler: &str) -> Version {
    let (major, _) = crate::nodejs().expect("checked before");
    let code = world.code(files).await;
    let (runtime, revision) = (Runtime::Node { major }, format!("{handler}{}", code.sha256()));
    let version =
        Version { runtime, code, revision, handler: handler.into(), timeout_s: 30, memory_mb: 256, ..version("f") };
    world.shelf.put(version.clone(), None);
    version
}

async fn styles_of_handlers() {
    let world = world();
    let module = ("package.json", r#"{"type": "module"}"#);
    for (file, source, handler) in [
        ("app.js", "exports.handler = async (event) => [event, 1];", "app.handler"),
        ("app.js", "exports.handler = (event, context, callback) => { callback(null, [event, 1]); };", "app.handler"),
        (
            "app.js",
            "exports.handler = (e, c, done) => { const all = [e]; done(null, all); setTimeout(() => all.push(1), 20); }",
            "app.handler",
        ),
        (
            "app.js",
            "setInterval(() => 0, 1000); exports.handler = (e, c, callback) => { c.callbackWaitsForEmptyEventLoop = false; callback(null, [e, 1]); }",
            "app.handler",
        ),
        ("app.js", "exports.handler = (event, context) => { context.succeed([event, 1]); };", "app.handler"),
        ("app.js", "exports.handler = (e) => new Promise((ok) => setTimeout(ok, 5, [e, 1]));", "app.handler"),
        ("dir/app.cjs", "module.exports = { inner: { run: async (event) => [event, 1] } };", "dir/app.inner.run"),
        (
            "app.mjs",
            "import { one } from './one.mjs'; const two = await Promise.resolve(one); export const handler = async (e) => [e, two];",
            "app.handler",
        ),
        ("esm/app.js", "export async function handler(event) { return [event, 1]; }", "esm/app.handler"),
        (
            "app.js",
            "exports.handler = awslambda.streamifyResponse(async (event, stream) => { stream.write('['); stream.write(JSON.stringify(event)); stream.end(',1]'); });",
            "app.handler",
        ),
    ] {
        let mut files = vec![(file, source), ("one.mjs", "export const one = 1;")];
        files.extend(file.starts_with("esm").then_some(("esm/package.json", module.1)));
        node(&world, &files, handler).await;
        assert_eq!(answer(&world, r#"{"k":"é"}"#).await, json!([{"k": "é"}, 1]), "{source}");
        assert_eq!(answer(&world, "2").await, json!([2, 1]), "again: {source}");
    }
    for source in ["exports.handler = () => 'nobody sees it';", "exports.handler = async () => {};"] {
        node(&world, &[("app.js", source)], "app.handler").await;
        assert_eq!(answer(&world, "{}").await, Value::Null, "{source}");
    }
    node(&world, &[("app.js", "exports.handler = async (n) => 'x'.repeat(n);")], "app.handler").await;
    assert_eq!(answer(&world, "6000000").await.as_str().map(str::len), Some(6_000_000));
    assert_eq!(failure(&world, "7000000").await["errorType"], "Function.ResponseSizeTooLarge");
}

async fn context_and_environment() {
    let world = world();
    let source = r#"
exports.handler = async (event, context) => {
  const names = ["AWS_EXECUTION_ENV", "NODE_PATH", "LAMBDA_TASK_ROOT", "TZ", "_HANDLER", "_LAMBDA_TELEMETRY_LOG_FD"];
  require("fs").writeFileSync("/tmp/x", "writable");
  return {
    env: Object.fromEntries(names.map((n) => [n, process.env[n]])), cwd: process.cwd(),
    left: context.getRemainingTimeInMillis(), waits: context.callbackWaitsForEmptyEventLoop,
    context: [context.functionName, context.functionVersion, context.invokedFunctionArn, context.memoryLimitInMB,
              context.awsRequestId, context.logGroupName, context.clientContext.custom],
    trace: process.env._X_AMZN_TRACE_ID, heap: require("v8").getHeapStatistics().heap_size_limit,
  };
};"#;
    node(&world, &[("app.js", source)], "app.handler").await;
    let mut call = world.call("f", "{}");
    call.client_context = Some(r#"{"custom":{"a":"ü"}}"#.into());
    let id = call.request_id.clone();
    let outcome = world.engine.invoke(call).await.expect("runs");
    let seen: Value = serde_json::from_slice(&outcome.result.expect("answers")).expect("JSON");
    let (major, _) = crate::nodejs().expect("checked before");
    let layers = format!("/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules");
    assert_eq!(
        seen["env"],
        json!({
            "AWS_EXECUTION_ENV": format!("AWS_Lambda_nodejs{major}.x"), "LAMBDA_TASK_ROOT": "/var/task", "TZ": ":UTC",
            "NODE_PATH": format!("{layers}:/var/runtime/node_modules:/var/runtime:/var/task"), "_HANDLER": "app.handler",
        })
    );
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
    assert_eq!(seen["context"], json!(["f", "$LATEST", arn, "256", id, "/aws/lambda/f", {"a": "ü"}]));
    let left = seen["left"].as_u64().expect("a number");
    assert!((25_000..=30_000).contains(&left), "{left}");
    assert_eq!((seen["cwd"].as_str(), &seen["waits"]), (Some("/var/task"), &json!(major < 24)));
    assert!(seen["trace"].as_str().is_some_and(|trace| trace.starts_with("Root=1-")));
    assert!(seen["heap"].as_u64().is_some_and(|bytes| (220 << 20..300 << 20).contains(&bytes)), "{}", seen["heap"]);
}

async fn errors_are_told_as_on_aws() {
    let world = world();
    for (source, error_type, message) in [
        ("exports.handler = async () => { throw new TypeError('no'); };", "TypeError", "no"),
        ("exports.handler = () => { throw new RangeError('no'); };", "RangeError", "no"),
        ("exports.handler = (e, c, callback) => callback(new Error('no'));", "Error", "no"),
        ("exports.handler = (e, c) => c.fail(new Error('no'));", "Error", "no"),
        ("exports.handler = async () => { throw 'words'; };", "string", "words"),
        ("exports.handler = (e, c, callback) => callback('words');", "string", "words"),
        (
            "class Odd extends Error { constructor() { super('odd'); this.name = 'Odd'; } }; exports.handler = async () => { throw new Odd(); };",
            "Odd",
            "odd",
        ),
        (
            "exports.handler = async () => { const a = {}; a.a = a; return a; };",
            "Error",
            "Unable to stringify response body",
        ),
        (
            "exports.handler = awslambda.streamifyResponse(async (e, stream) => { stream.write('x'); });",
            "string",
            "Response stream is not finished.",
        ),
        (
            "exports.handler = awslambda.streamifyResponse(async (e, stream) => { stream.write('x'); throw new Error('late'); });",
            "Error",
            "late",
        ),
    ] {
        node(&world, &[("app.js", source)], "app.handler").await;
        let outcome = invoke(&world, "{}").await;
        let error = outcome.result.expect_err("fails");
        let body: Value = serde_json::from_slice(&error.body).expect("JSON");
        let got = (body["errorType"].as_str(), body["errorMessage"].as_str());
        assert_eq!(got, (Some(error_type), Some(message)), "{source}");
        assert!(body["trace"].is_array(), "{body}");
        let again = invoke(&world, "{}").await;
        assert_eq!((again.start, &again.instance), (Start::Warm, &outcome.instance), "{source}");
    }
    let source = "exports.handler = async () => {\n  throw Object.assign(new Error('deep'), { own: 1 });\n};";
    node(&world, &[("app.js", source)], "app.handler").await;
    let outcome = invoke(&world, "{}").await;
    let body: Value = serde_json::from_slice(&outcome.result.expect_err("fails").body).expect("JSON");
    assert_eq!(body["trace"][0], "Error: deep");
    assert!(body["trace"][1].as_str().is_some_and(|line| line.contains("(/var/task/app.js:2:")), "{body}");
    let log = String::from_utf8(outcome.log_tail.to_vec()).expect("text");
    let head =
        format!("\t{}\tERROR\tInvoke Error \t{{\"errorType\":\"Error\",\"errorMessage\":\"deep\",", outcome.request_id);
    assert!(log.contains(&head) && log.contains("\"own\":1"), "{log}");
}

async fn modules_that_cannot_be_loaded() {
    let world = world();
    for (file, source, handler, error_type, message) in [
        (
            "app.js",
            "require('nothing-like-it')",
            "app.handler",
            "Runtime.ImportModuleError",
            "Error: Cannot find module 'nothing-like-it'\nRequire stack:\n- /var/task/app.js\n- /var/runtime/index.mjs",
        ),
        (
            "app.mjs",
            "import 'nothing-like-it'",
            "app.handler",
            "Error",
            "Cannot find package 'nothing-like-it' imported from /var/task/app.mjs",
        ),
        (
            "app.js",
            "x = 1",
            "missing.handler",
            "Runtime.ImportModuleError",
            "Error: Cannot find module 'missing'\nRequire stack:\n- /var/runtime/index.mjs",
        ),
        ("app.js", "x = 1", "app.handler", "Runtime.HandlerNotFound", "app.handler is undefined or not exported"),
        ("app.js", "exports.handler = 1", "app.handler", "Runtime.HandlerNotFound", "app.handler is not a function"),
        ("app.js", "x = 1", "app", "Runtime.MalformedHandlerName", "Bad handler"),
        (
            "app.js",
            "exports.handler = (",
            "app.handler",
            "Runtime.UserCodeSyntaxError",
            "SyntaxError: Unexpected end of input",
        ),
        (
            "app.mjs",
            "export const = 1",
            "app.handler",
            "Runtime.UserCodeSyntaxError",
            "SyntaxError: Unexpected token '='",
        ),
        ("app.js", "throw new RangeError('at init')", "app.handler", "RangeError", "at init"),
    ] {
        node(&world, &[(file, source)], handler).await;
        let body = failure(&world, "{}").await;
        let got = (body["errorType"].as_str(), body["errorMessage"].as_str());
        assert_eq!(got, (Some(error_type), Some(message)), "{source}");
    }
    world
        .memory
        .wait_for("\tundefined\tERROR\tUncaught Exception \t{\"errorType\":\"Runtime.ImportModuleError\"")
        .await;
}

async fn ends_of_the_process() {
    let world = world();
    let exit = |message: &str| json!({"errorType": "Runtime.ExitError", "errorMessage": format!("RequestId: ID Error: Runtime exited {message}")});
    for (source, want) in [
        ("exports.handler = async () => { process.exit(3); };", exit("with error: exit status 3")),
        ("exports.handler = async () => { process.exit(0); };", exit("without providing a reason")),
        ("exports.handler = async () => { process.abort(); };", exit("with error: signal: aborted")),
        ("process.exit(1);", exit("with error: exit status 1")),
    ] {
        node(&world, &[("app.js", source)], "app.handler").await;
        assert_eq!(failure(&world, "{}").await, want, "{source}");
    }
    for (source, error_type, message) in [
        (
            "exports.handler = () => { Promise.reject(new Error('no')); };",
            "Runtime.UnhandledPromiseRejection",
            "Error: no",
        ),
        (
            "exports.handler = async () => { setTimeout(() => { throw new TypeError('later'); }, 5); await new Promise(() => {}); };",
            "TypeError",
            "later",
        ),
        (
            "Promise.reject(new Error('no')); exports.handler = async () => new Promise((ok) => setTimeout(ok, 9000));",
            "Runtime.UnhandledPromiseRejection",
            "Error: no",
        ),
        (
            "exports.handler = async () => new Promise(() => {});",
            "Runtime.NodeJsExit",
            "The Lambda runtime client detected an unexpected Node.js exit code. This is most commonly caused by a Promise that was never settled. For more information, see https://nodejs.org/docs/latest/api/process.html#exit-codes",
        ),
    ] {
        node(&world, &[("app.js", source)], "app.handler").await;
        let body = failure(&world, "{}").await;
        let got = (body["errorType"].as_str(), body["errorMessage"].as_str());
        assert_eq!(got, (Some(error_type), Some(message)), "{source}");
    }
    let busy = node(
        &world,
        &[("app.js", "exports.handler = async () => { console.log('begun'); for (;;); };")],
        "app.handler",
    )
    .await;
    world.shelf.put(Version { timeout_s: 1, ..busy }, None);
    let outcome = invoke(&world, "{}").await;
    assert_eq!(outcome.result.expect_err("fails").error_type, "Sandbox.Timedout");
    assert!(String::from_utf8_lossy(&outcome.log_tail).contains("\tINFO\tbegun\n"));
    let hungry = "exports.handler = async () => { const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1)); };";
    let hungry = node(&world, &[("app.js", hungry)], "app.handler").await;
    world.shelf.put(Version { memory_mb: 128, ..hungry }, None);
    assert_eq!(failure(&world, "{}").await["errorType"], "Runtime.OutOfMemory");
}

async fn console() {
    let world = world();
    let source = r#"
console.log("at init");
exports.handler = async (event) => {
  console.log("two\nlines", { a: [1] }, 7);
  console.info("%s is %d", "x", 1); console.warn("careful"); console.error(new Error("shown")); console.debug("d");
  console.trace("t"); process.stdout.write("raw\n");
  console.log("x".repeat(100000));
  return 1;
};"#;
    node(&world, &[("app.js", source)], "app.handler").await;
    let outcome = invoke(&world, "{}").await;
    assert_eq!(outcome.result.expect("answers"), "1");
    world.memory.wait_for("REPORT").await;
    let messages = world.memory.messages();
    let seen: Vec<String> = messages
        .iter()
        .filter_map(|m| m.split_once("Z\t").map(|(_, rest)| rest.replace(&outcome.request_id, "ID")))
        .collect();
    assert_eq!(seen[0], "undefined\tINFO\tat init\n");
    assert_eq!(seen[1], "ID\tINFO\ttwo\nlines { a: [ 1 ] } 7\n");
    assert_eq!(seen[2..4], ["ID\tINFO\tx is 1\n", "ID\tWARN\tcareful\n"]);
    assert!(seen[4].starts_with("ID\tERROR\tError: shown\n    at exports.handler"), "{}", seen[4]);
    assert_eq!(seen[5..7], ["ID\tDEBUG\td\n", "ID\tTRACE\tt\n"]);
    assert!(messages.iter().any(|m| m == "raw\n"), "{messages:?}");
    assert!(messages[0].starts_with("INIT_START Runtime Version: nodejs:"), "{}", messages[0]);
}

async fn packages_of_layers() {
    let world = world();
    let package = r#"{"name": "one", "exports": {"import": "./one.mjs", "require": "./one.cjs"}}"#;
    let layer = world
        .package(&[
            ("nodejs/node_modules/one/package.json", package),
            ("nodejs/node_modules/one/one.mjs", "import two from 'two'; export default ['layer', two];"),
            ("nodejs/node_modules/one/one.cjs", "module.exports = ['layer', require('two')];"),
            ("nodejs/node_modules/two/index.js", "module.exports = 2;"),
        ])
        .await;
    for (file, source) in [
        (
            "app.mjs",
            "import one from 'one'; export const handler = async () => [one, (await import('one')).default === one];",
        ),
        ("app.js", "const one = require('one'); exports.handler = async () => [one, require('one') === one];"),
    ] {
        let version = node(&world, &[(file, source)], "app.handler").await;
        let revision = format!("{}-layer", version.revision);
        world.shelf.put(Version { layers: vec![layer.clone()], revision, ..version }, None);
        assert_eq!(answer(&world, "{}").await, json!([["layer", 2], true]), "{source}");
    }
    let own = [
        ("app.mjs", "import one from 'one'; export const handler = async () => one;"),
        ("node_modules/one/index.js", "module.exports = 'own';"),
    ];
    let version = node(&world, &own, "app.handler").await;
    world.shelf.put(Version { layers: vec![layer], revision: "own".into(), ..version }, None);
    assert_eq!(answer(&world, "{}").await, json!("own"));
}

async fn from_24_on_async_handlers_only() {
    let world = crate::world_with(|config| config.runtime_fallback_nearest = true);
    let as_24 = |version: Version| Version { runtime: Runtime::Node { major: 24 }, ..version };
    let callback =
        node(&world, &[("app.js", "exports.handler = (e, c, callback) => callback(null, 1);")], "app.handler").await;
    world.shelf.put(as_24(callback), None);
    assert_eq!(failure(&world, "{}").await["errorType"], "Runtime.CallbackHandlerDeprecated");
    let plain = node(&world, &[("app.js", "exports.handler = (e, c) => ['seen', c.done];")], "app.handler").await;
    world.shelf.put(as_24(plain), None);
    assert_eq!(answer(&world, "{}").await, json!(["seen", null]));
    if crate::nodejs().is_some_and(|(major, _)| major != 24) {
        world.memory.wait_for("[WADI] nodejs24.x is not on this machine; this function runs on Node.js ").await;
    }
}

/// Needs npm's registry.
pub async fn the_sdk_is_there_when_it_is_needed() {
    let world = world();
    for (file, source) in [
        (
            "app.mjs",
            "import { S3Client } from '@aws-sdk/client-s3'; export const handler = async () => typeof S3Client;",
        ),
        (
            "app.js",
            "const { S3Client } = require('@aws-sdk/client-s3'); exports.handler = async () => typeof S3Client;",
        ),
    ] {
        let version = node(&world, &[(file, source)], "app.handler").await;
        world.engine.prepare(&version).await.expect("prepares");
        assert_eq!(answer(&world, "{}").await, json!("function"), "{source}");
    }
}
