//! What functions do and what their callers and logs see of it.

use crate::support::{World, version};
use base::network::{Ceiling, Networks};
use base::{Outcome, Start};
use engine::{Runner, Runtime, Version};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Runtime as Tokio;

type Test = fn(&Tokio);

pub const TESTS: &[(&str, bool, Test)] = &[
    ("echo_context_and_environment", true, |tokio| tokio.block_on(echo_context_and_environment())),
    ("exceptions_are_told_as_on_aws", true, |tokio| tokio.block_on(exceptions_are_told_as_on_aws())),
    ("output_keeps_its_order_and_its_lines", true, |tokio| tokio.block_on(output_keeps_its_order_and_its_lines())),
    ("ends_of_the_process", true, |tokio| tokio.block_on(ends_of_the_process())),
    ("modules_that_cannot_be_loaded", true, |tokio| tokio.block_on(modules_that_cannot_be_loaded())),
    ("timeout_and_memory", true, |tokio| tokio.block_on(timeout_and_memory())),
    ("large_responses", true, |tokio| tokio.block_on(large_responses())),
    ("what_json_can_and_cannot_hold", true, |tokio| tokio.block_on(what_json_can_and_cannot_hold())),
    ("layers_and_nested_handlers", true, |tokio| tokio.block_on(layers_and_nested_handlers())),
    ("an_update_is_a_new_instance", true, |tokio| tokio.block_on(an_update_is_a_new_instance())),
    ("the_platform_is_reached_from_inside", true, |tokio| tokio.block_on(the_platform_is_reached_from_inside())),
    ("the_nearest_python_says_that_it_stands_in", true, |tokio| {
        tokio.block_on(the_nearest_python_says_that_it_stands_in())
    }),
    ("functions_on_the_hosts_network", true, |tokio| tokio.block_on(functions_on_the_hosts_network())),
    ("a_shell_script_is_a_runtime", false, |tokio| tokio.block_on(a_shell_script_is_a_runtime())),
    ("a_bootstrap_that_cannot_run", false, |tokio| tokio.block_on(a_bootstrap_that_cannot_run())),
];

/// Puts a Python function `f` of this source there.
async fn python(world: &World, source: &str) -> Version {
    python_files(world, &[("app.py", source)], "app.handler").await
}

pub async fn python_files(world: &World, files: &[(&str, &str)], handler: &str) -> Version {
    let (minor, _) = crate::python().expect("checked before");
    let code = world.code(files).await;
    let runtime = Runtime::Python { minor };
    let revision = code.sha256().to_owned();
    let version =
        Version { runtime, code, revision, handler: handler.into(), timeout_s: 30, memory_mb: 256, ..version("f") };
    world.shelf.put(version.clone(), None);
    version
}

pub async fn invoke(world: &World, payload: &str) -> Outcome {
    world.engine.invoke(world.call("f", payload.to_owned())).await.expect("the run takes place")
}

pub async fn answer(world: &World, payload: &str) -> Value {
    let outcome = invoke(world, payload).await;
    let log = String::from_utf8_lossy(&outcome.log_tail).into_owned();
    let result = outcome.result.unwrap_or_else(|e| panic!("{}\n{log}", String::from_utf8_lossy(&e.body)));
    serde_json::from_slice(&result).expect("JSON")
}

/// The error document of a failing call, with its request id as `ID`.
pub async fn failure(world: &World, payload: &str) -> Value {
    let outcome = invoke(world, payload).await;
    let error = outcome.result.expect_err("fails");
    let text = String::from_utf8(error.body.to_vec()).expect("text").replace(&outcome.request_id, "ID");
    let body: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(body["errorType"], error.error_type);
    body
}

async fn echo_context_and_environment() {
    let world = world();
    let source = r#"
import os, sys
def handler(event, context):
    names = ["AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL",
             "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "TZ", "OWN", "_HANDLER"]
    open("/tmp/x", "w").write("writable")
    return {
        "event": event, "env": {n: os.environ.get(n) for n in names}, "cwd": os.getcwd(),
        "left": context.get_remaining_time_in_millis(), "memory": context.memory_limit_in_mb,
        "context": [context.function_name, context.function_version, context.invoked_function_arn,
                    context.aws_request_id, context.log_group_name, context.log_stream_name,
                    context.client_context.custom, context.client_context.client.app_title],
        "trace": os.environ["_X_AMZN_TRACE_ID"], "path": sys.path[:4],
    }
"#;
    let function = python(&world, source).await;
    let own = [("OWN".to_owned(), "é".to_owned())];
    world.shelf.put(Version { environment: own.into(), ..function }, None);
    let mut call = world.call("f", r#"{"k":["é",1.5,null]}"#);
    call.client_context = Some("{\"custom\":{\"a\":\"ü\"},\n\"client\":{\"app_title\":\"t\"}}".into());
    let id = call.request_id.clone();
    let outcome = world.engine.invoke(call).await.expect("runs");
    let body = outcome.result.unwrap_or_else(|e| panic!("{:?}", e.body));
    let seen: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(seen["event"], json!({"k": ["é", 1.5, null]}));
    let (minor, _) = crate::python().expect("checked before");
    assert_eq!(
        seen["env"],
        json!({
            "AWS_REGION": "us-east-1", "AWS_EXECUTION_ENV": format!("AWS_Lambda_python3.{minor}"),
            "AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_ACCESS_KEY_ID": "ASIAf", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
            "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "LAMBDA_TASK_ROOT": "/var/task", "TZ": ":UTC", "OWN": "é",
            "_HANDLER": "app.handler",
        })
    );
    assert_eq!((seen["cwd"].as_str(), seen["memory"].as_str()), (Some("/var/task"), Some("256")));
    let left = seen["left"].as_u64().expect("a number");
    assert!((25_000..=30_000).contains(&left), "{left}");
    let stream = seen["context"][5].as_str().expect("a name").to_owned();
    assert!(stream.ends_with(&format!("[$LATEST]{}", outcome.instance)), "{stream}");
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
    assert_eq!(seen["context"], json!(["f", "$LATEST", arn, id, "/aws/lambda/f", stream, {"a": "ü"}, "t"]));
    assert!(seen["trace"].as_str().is_some_and(|trace| trace.starts_with("Root=1-")));
    assert_eq!(seen["path"][0], "/var/task");
    assert!(world.memory.usage.lock()[0].max_memory_mb > 0);
}

async fn exceptions_are_told_as_on_aws() {
    let world = world();
    let source = "class Odd(Exception):\n    pass\n\ndef inner():\n    raise Odd('not like this')\n\ndef handler(e, c):\n    inner()\n";
    python(&world, source).await;
    let outcome = invoke(&world, "{}").await;
    let error = outcome.result.expect_err("fails");
    let body: Value = serde_json::from_slice(&error.body).expect("JSON");
    assert_eq!((error.kind, error.error_type.as_str()), ("Unhandled", "Odd"));
    let (minor, _) = crate::python().expect("checked before");
    assert_eq!(body["errorMessage"], "not like this");
    assert_eq!(body["requestId"], outcome.request_id);
    let trace = body["stackTrace"].as_array().expect("a list").clone();
    assert_eq!(trace.len(), 2, "{trace:?}");
    assert_eq!(trace[0], "  File \"/var/task/app.py\", line 8, in handler\n    inner()\n", "python3.{minor}");
    let log = String::from_utf8(outcome.log_tail.to_vec()).expect("text");
    assert!(log.contains("[ERROR] Odd: not like this\nTraceback (most recent call last):\n"), "{log}");
    assert!(log.contains("\u{a0}\u{a0}File \"/var/task/app.py\", line 5, in inner\n"), "{log}");
    assert!(!log.contains("Status:"), "an exception is not the platform's error: {log}");
    let again = invoke(&world, "{}").await;
    assert_eq!((again.start, &again.instance), (Start::Warm, &outcome.instance));
}

async fn output_keeps_its_order_and_its_lines() {
    let world = world();
    let source = r#"
import logging, os, sys
print("at init")
def handler(event, context):
    print("one", "word", 1)
    print("two\nlines")
    print("err", file=sys.stderr)
    logging.warning("careful")
    logging.info("unseen")
    print("no newline", end="")
    sys.stdout.write("\n")
    print("é" * 3)
    os.write(1, b"raw\n")
    return len(event)
"#;
    python(&world, source).await;
    let outcome = invoke(&world, "[1,2]").await;
    assert_eq!(outcome.result.expect("answers"), "2");
    world.memory.wait_for("REPORT").await;
    let messages: Vec<String> = world.memory.messages().iter().map(|m| m.replace(&outcome.request_id, "ID")).collect();
    let find = |text: &str| messages.iter().position(|m| m == text).unwrap_or_else(|| panic!("{text:?} {messages:?}"));
    let order = ["at init\n", "START RequestId: ID Version: $LATEST\n", "one word 1\n", "two\nlines\n", "err\n"];
    let places: Vec<usize> = order.iter().map(|text| find(text)).collect();
    assert!(places.is_sorted(), "{messages:?}");
    find("no newline\n");
    find("ééé\n");
    assert!(find("raw\n") < find("END RequestId: ID\n"));
    let warning = messages.iter().find(|m| m.starts_with("[WARNING]\t")).expect("a warning");
    assert!(warning.ends_with("Z\tID\tcareful\n"), "{warning}");
    assert!(!messages.iter().any(|m| m.contains("unseen")));
    assert!(messages.last().expect("some").contains("\tInit Duration: "));
}

async fn ends_of_the_process() {
    let world = world();
    let error = |message: &str| json!({"errorType": "Runtime.ExitError", "errorMessage": format!("RequestId: ID Error: Runtime exited {message}")});
    for (source, want) in [
        (
            "import sys\ndef handler(e, c):\n    print('last words')\n    sys.exit(4)",
            error("with error: exit status 4"),
        ),
        ("def handler(e, c):\n    exit()", error("without providing a reason")),
        ("import os\ndef handler(e, c):\n    os._exit(0)", error("without providing a reason")),
        ("import os\ndef handler(e, c):\n    os.abort()", error("with error: signal: aborted")),
        ("import sys\nsys.exit(1)", error("with error: exit status 1")),
        ("import os\nos.kill(os.getpid(), 15)", error("with error: signal: terminated")),
    ] {
        python(&world, source).await;
        assert_eq!(failure(&world, "{}").await, want, "{source}");
    }
    world.memory.wait_for("last words").await;
    world.memory.wait_for("Phase: init\tStatus: error\tError Type: Runtime.ExitError").await;
}

async fn modules_that_cannot_be_loaded() {
    let world = world();
    for (source, handler, error_type, message) in [
        (
            "import nothing_like_it",
            "app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nothing_like_it'",
        ),
        ("x = 1", "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        (
            "x = 1",
            "missing.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'missing': No module named 'missing'",
        ),
        ("x = 1", "sys.exit", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
        (
            "x = 1",
            "app",
            "Runtime.MalformedHandlerName",
            "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
        ),
        ("raise KeyError('x')", "app.handler", "KeyError", "'x'"),
    ] {
        let version = python_files(&world, &[("app.py", source)], handler).await;
        world.shelf.put(Version { revision: format!("{handler}{}", version.revision), ..version }, None);
        let body = failure(&world, "{}").await;
        assert_eq!((body["errorType"].as_str(), body["errorMessage"].as_str()), (Some(error_type), Some(message)));
    }
    python(&world, "def handler(e, c)\n    return 1").await;
    let body = failure(&world, "{}").await;
    assert_eq!(body["errorType"], "Runtime.UserCodeSyntaxError");
    assert!(body["errorMessage"].as_str().expect("text").starts_with("Syntax error in module 'app': "), "{body}");
    assert!(
        body["stackTrace"][0].as_str().expect("text").starts_with("  File \"/var/task/app.py\" Line 1\n"),
        "{body}"
    );
}

async fn timeout_and_memory() {
    let world = world();
    let slow = python(&world, "import time\ndef handler(e, c):\n    print('begun')\n    time.sleep(60)").await;
    world.shelf.put(Version { timeout_s: 1, ..slow }, None);
    let outcome = invoke(&world, "{}").await;
    let log = String::from_utf8(outcome.log_tail.to_vec()).expect("text").replace(&outcome.request_id, "ID");
    assert!((1_000_000..1_500_000).contains(&outcome.duration_us), "{}", outcome.duration_us);
    assert!(log.contains("begun\n") && log.contains(" ID Task timed out after 1.00 seconds\n"), "{log}");
    assert!(log.trim_end().ends_with("Status: timeout"), "{log}");
    let error = outcome.result.expect_err("fails");
    assert_eq!(error.error_type, "Sandbox.Timedout");

    let hungry = python(&world, "def handler(e, c):\n    return len(b'x' * (400 << 20))").await;
    world.shelf.put(Version { memory_mb: 128, ..hungry }, None);
    let want = "RequestId: ID Error: Runtime exited with error: signal: killed";
    assert_eq!(failure(&world, "{}").await, json!({"errorType": "Runtime.OutOfMemory", "errorMessage": want}));
}

async fn large_responses() {
    let world = world();
    python(&world, "def handler(n, c):\n    return 'x' * n").await;
    let fits = answer(&world, "6000000").await;
    assert_eq!(fits.as_str().map(str::len), Some(6_000_000));
    let want = "Response payload size exceeded maximum allowed payload size (6291556 bytes).";
    let body = failure(&world, "7000000").await;
    assert_eq!(body, json!({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": want}));
    assert_eq!(invoke(&world, "1").await.start, Start::Cold, "the instance was given up");
}

async fn what_json_can_and_cannot_hold() {
    let world = world();
    let source = "import decimal\ndef handler(e, c):\n    return eval(e)";
    python(&world, source).await;
    let expression = r#""{'d': decimal.Decimal('1.230'), 'b': b'x', 't': (1, None), 'u': 'é', 'many': [decimal.Decimal(n) for n in range(12)]}""#;
    let outcome = invoke(&world, expression).await;
    let text = String::from_utf8(outcome.result.expect("answers").to_vec()).expect("text");
    assert!(text.starts_with(r#"{"d": 1.230, "b": "x", "t": [1, null], "u": ""#), "{text}");
    assert!(text.ends_with("[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}"), "{text}");
    let body = failure(&world, "\"{1}\"").await;
    let want = "Unable to marshal response: Object of type set is not JSON serializable";
    assert_eq!((body["errorType"].as_str(), body["errorMessage"].as_str()), (Some("Runtime.MarshalError"), Some(want)));
    assert_eq!(invoke(&world, "\"b'as it is'\"").await.result.expect("answers"), "as it is");
}

async fn layers_and_nested_handlers() {
    let world = world();
    let files = [(
        "pkg/mod.py",
        "import first, second\ndef fn(e, c):\n    return [first.X, second.X, open('/opt/data').read()]",
    )];
    let version = python_files(&world, &files, "pkg/mod.fn").await;
    let one = world.package(&[("python/first.py", "X = 1"), ("python/second.py", "X = 1"), ("data", "1")]).await;
    let two = world.package(&[("python/second.py", "X = 2"), ("data", "2")]).await;
    let version = Version { layers: vec![one, two], ..version };
    world.engine.prepare(&version).await.expect("prepares");
    world.shelf.put(version, None);
    assert_eq!(answer(&world, "{}").await, json!([1, 2, "2"]));
}

async fn an_update_is_a_new_instance() {
    let world = world();
    let source = |n: u32| {
        format!("import os\ncalls = 0\ndef handler(e, c):\n    global calls\n    calls += 1\n    return [{n}, calls]")
    };
    python(&world, &source(1)).await;
    assert_eq!(answer(&world, "{}").await, json!([1, 1]));
    assert_eq!(answer(&world, "{}").await, json!([1, 2]));
    let new = python(&world, &source(2)).await;
    world.engine.retire(&new.scope, "f", "$LATEST", Some(&new.revision)).await;
    assert_eq!(answer(&world, "{}").await, json!([2, 1]));
    // It, and by now perhaps one parked beside it; none of the old.
    assert!((1..=2).contains(&world.engine.instances()), "{}", world.engine.instances());
    world.engine.stop(std::time::Duration::from_secs(1)).await;
}

async fn the_platform_is_reached_from_inside() {
    let world = world();
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    world.engine.platform_at(gate.local_addr().expect("has one"));
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = gate.accept().await {
            let mut bytes = [0; 1024];
            let n = stream.read(&mut bytes).await.unwrap_or(0);
            let host = String::from_utf8_lossy(&bytes[..n]).contains("Host: 127.0.0.1:4566");
            let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n{host}");
            let _ = stream.write_all(reply.as_bytes()).await;
        }
    });
    let source = r#"
import os, socket, urllib.request
def handler(event, context):
    text = urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/x").read().decode()
    try:
        socket.create_connection(("1.1.1.1", 80), 2)
        return [text, "reached the internet"]
    except OSError:
        return [text, "nothing else"]
"#;
    python(&world, source).await;
    assert_eq!(answer(&world, "{}").await, json!(["true", "nothing else"]));
}

async fn the_nearest_python_says_that_it_stands_in() {
    let world = crate::world_with(|config| config.runtime_fallback_nearest = true);
    let here = python(&world, "import sys\ndef handler(e, c):\n    return sys.version_info[1]").await;
    world.shelf.put(Version { runtime: Runtime::Python { minor: 99 }, ..here }, None);
    let (minor, _) = crate::python().expect("checked before");
    assert_eq!(answer(&world, "{}").await, json!(minor));
    world.memory.wait_for("[WADI] python3.99 is not on this machine; this function runs on Python 3.").await;
}

async fn functions_on_the_hosts_network() {
    let networks = Networks::new(Ceiling::Host, BTreeMap::new()).expect("networks");
    let world = crate::world_with(|config| config.networks = Arc::new(networks));
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = server.local_addr().expect("has one").port();
    let source =
        "import socket\ndef handler(port, c):\n    socket.create_connection(('127.0.0.1', port))\n    return 'reached'";
    let version = python(&world, source).await;
    assert_eq!(answer(&world, &port.to_string()).await, json!("reached"));
    // The same, copied.
    world.engine.prepare(&version).await.expect("prepares");
    world.shelf.put(Version { revision: "2".into(), ..version }, None);
    assert_eq!(answer(&world, &port.to_string()).await, json!("reached"));
}

/// A runtime in thirty lines of shell without any tool but what the shell has: bash's `/dev/tcp`.
const SHELL_RUNTIME: &str = r#"#!/bin/bash
host=${AWS_LAMBDA_RUNTIME_API%:*}; port=${AWS_LAMBDA_RUNTIME_API#*:}
base=/2018-06-01/runtime/invocation
echo "runtime up: $_HANDLER" >&2
while true; do
  exec 5<>/dev/tcp/$host/$port
  printf 'GET %s/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' $base >&5
  length=0
  while IFS= read -r line <&5; do
    line=${line%$'\r'}
    [ -z "$line" ] && break
    case ${line%%:*} in
      lambda-runtime-aws-request-id) id=${line#*: };;
      content-length) length=${line#*: };;
    esac
  done
  IFS= read -r -N "$length" event <&5
  exec 5>&-
  echo "got $event"
  body="shell saw $event"
  exec 5<>/dev/tcp/$host/$port
  printf 'POST %s/%s/response HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' \
    $base "$id" ${#body} "$body" >&5
  read -r status <&5
  exec 5>&-
done
"#;

async fn a_shell_script_is_a_runtime() {
    let world = world();
    let code = world.code(&[("bootstrap", SHELL_RUNTIME)]).await;
    world.shelf.put(Version { code, timeout_s: 10, ..version("f") }, None);
    for start in [Start::Cold, Start::Warm] {
        let outcome = invoke(&world, "{}").await;
        assert_eq!(outcome.start, start);
        // Not JSON: handed through as it is.
        assert_eq!(outcome.result.expect("answers"), "shell saw {}");
        assert!(String::from_utf8_lossy(&outcome.log_tail).contains("\ngot {}\n"), "{:?}", outcome.log_tail);
    }
    world.memory.wait_for("runtime up: app.handler\n").await;
}

async fn a_bootstrap_that_cannot_run() {
    let world = world();
    let code = world.code(&[("bootstrap", "#!/no/such/interpreter\n")]).await;
    world.shelf.put(Version { code, ..version("f") }, None);
    let body = failure(&world, "{}").await;
    assert_eq!(body["errorType"], "Runtime.InvalidEntrypoint");
    let message = body["errorMessage"].as_str().expect("text");
    assert!(message.starts_with("RequestId: ID Error: fork/exec /var/task/bootstrap: "), "{message}");
}

/// Asks the Python package index; run when `WADI_TEST_NETWORK` is set.
pub async fn boto3_is_there_when_it_is_needed() {
    let world = world();
    let source = "import boto3\ndef handler(e, c):\n    return [boto3.client('s3').meta.endpoint_url, boto3.__file__]";
    let version = python(&world, source).await;
    world.engine.prepare(&version).await.expect("installs");
    let seen = answer(&world, "{}").await;
    assert_eq!(seen, json!(["http://127.0.0.1:4566", "/var/runtime/site-packages/boto3/__init__.py"]));
}

fn world() -> World {
    crate::world()
}
