//! Node.js instances that are made of cells: what they see, what they share with nobody, and when they start plainly.

use crate::functions::{answer, failure, invoke};
use crate::nodejs::node;
use crate::support::{World, version};
use crate::{driver, nodejs, world, world_with};
use base::Start;
use engine::{Runner, Version};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime as Tokio;

type Test = fn(&Tokio);

pub const TESTS: &[(&str, Test)] = &[
    ("cells_become_what_would_have_been_started", |tokio| tokio.block_on(become_what_would_have_been_started())),
    ("cells_serve_one_function_each", |tokio| tokio.block_on(serve_one_function_each())),
    ("cells_are_not_for_what_is_read_at_start", |tokio| tokio.block_on(are_not_for_what_is_read_at_start())),
    ("cells_can_be_turned_off", |tokio| tokio.block_on(can_be_turned_off())),
    ("cells_that_end_are_done_without", |tokio| tokio.block_on(that_end_are_done_without())),
    ("cells_that_fail_or_hang_are_told_as_ever", |tokio| tokio.block_on(that_fail_or_hang_are_told_as_ever())),
    ("cells_have_the_functions_memory", |tokio| tokio.block_on(have_the_functions_memory())),
    ("cells_end_with_the_engine", |tokio| tokio.block_on(end_with_the_engine())),
    ("cells_keep_compiled_code", |tokio| tokio.block_on(keep_compiled_code())),
];

/// Memory sizes that no other test has: by them a class's processes are told from others.
const MARKED_MB: [u32; 3] = [331, 333, 335];
const MARKS: [&str; 3] = ["--max-old-space-size=297", "--max-old-space-size=299", "--max-old-space-size=301"];

/// Puts a function there, and a cell for it.
async fn with_cell(world: &World, source: &str, adjust: impl FnOnce(&mut Version)) -> Version {
    let mut version = node(world, &[("app.js", source)], "app.handler").await;
    adjust(&mut version);
    version.revision += &format!("{:?}{}", version.environment, version.memory_mb);
    world.shelf.put(version.clone(), None);
    world.engine.prepare(&version).await.expect("prepares");
    version
}

/// The host's processes that run with this argument.
fn processes(argument: &str) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").expect("lists").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let runs =
        |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(argument));
    pids.filter(runs).collect()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const IS_CELL: &str = "require('fs').readFileSync('/proc/self/environ', 'utf8').includes('_WADI_CELL')";

async fn become_what_would_have_been_started() {
    let source = r#"
const fs = require("fs"), v8 = require("v8"), module_ = require("module");
const STATUS = Object.fromEntries(fs.readFileSync("/proc/self/status", "utf8").split("\n").map((line) => line.split(":\t")));
const AT_INIT = { cwd: process.cwd(), env: { ...process.env }, globals: Object.keys(globalThis).sort(), cache: Object.keys(require.cache),
  listeners: process.eventNames().map((name) => [String(name), process.listenerCount(name)]) };
exports.handler = async (event, context) => ({
  cell: fs.readFileSync("/proc/self/environ", "utf8").includes("_WADI_CELL"),
  same: {
    ...AT_INIT, argv: process.argv, execArgv: process.execArgv, main: require.main === undefined, paths: module.paths, id: module.id,
    parent: module.parent === undefined ? "none" : String(module.parent?.id), global: module_.globalPaths,
    hours: [new Date(0).getHours(), new Date(2e11).getTimezoneOffset(), Intl.DateTimeFormat().resolvedOptions()],
    task: fs.readdirSync("/var/task"), opt: fs.readdirSync("/opt"), runtime: fs.readdirSync("/var/runtime"), tmp: fs.readdirSync("/tmp"),
    layer: require("one"), pids: fs.readdirSync("/proc").filter((name) => Number(name)), fds: fs.readdirSync("/proc/self/fd").length,
    rights: ["CapEff", "CapBnd", "NoNewPrivs", "Seccomp", "Uid", "SigIgn", "SigBlk"].map((name) => STATUS[name]),
    heap: v8.getHeapStatistics().heap_size_limit, umask: process.umask(), title: process.title, stream: context.logStreamName.length,
    written: (() => { try { fs.writeFileSync("/var/task/x", ""); } catch (error) { return error.code; } })(),
    trace: new Error("x").stack.split("\n").slice(1),
  },
});"#;
    let mut seen = Vec::new();
    for copies in [true, false] {
        let world = world_with(|config| config.copies = copies);
        let layer = world.package(&[("nodejs/node_modules/one/index.js", "module.exports = 1;")]).await;
        let version = with_cell(&world, source, |version| {
            let variables =
                [("TZ", "Pacific/Auckland"), ("OWN", "ü=1"), ("NODE_ENV", "production"), ("PATH", "/opt/bin:/usr/bin")];
            version.environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            version.layers.push(layer);
        });
        version.await;
        let mut answer = answer(&world, "{}").await;
        assert_eq!(answer["cell"], json!(copies));
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_LOG_STREAM_NAME"] {
            let own = answer["same"]["env"].as_object_mut().and_then(|env| env.remove(name));
            assert!(own.is_some(), "{name}: {answer}");
        }
        seen.push(answer["same"].take());
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0]["hours"][0], 12, "{}", seen[0]);
}

async fn serve_one_function_each() {
    let world = world();
    let source = format!(
        "globalThis.seen ??= []; exports.handler = async (name) => {{ seen.push(name); await new Promise((r) => setTimeout(r, 200)); return [seen, {IS_CELL}]; }};"
    );
    let f = with_cell(&world, &source, |version| version.memory_mb = MARKED_MB[0]).await;
    world.shelf.put(Version { name: "g".into(), arn: version("g").arn, ..f.clone() }, None);
    let ready = async |processes_: usize| until("they are there", || processes(MARKS[0]).len() == processes_).await;
    // With each an instance and one parked.
    for (name, payload, want, there) in [
        ("f", "1", json!([1]), 1),
        ("g", "2", json!([2]), 3),
        ("f", "3", json!([1, 3]), 5),
        ("g", "4", json!([2, 4]), 5),
    ] {
        ready(there).await;
        let outcome = world.engine.invoke(world.call(name, payload)).await.expect("runs");
        let seen: Value = serde_json::from_slice(&outcome.result.expect("answers")).expect("JSON");
        assert_eq!(seen, json!([want, true]), "{name}");
    }
    // Parked ones have been initialised and nothing else.
    world.engine.retire(&f.scope, "g", "$LATEST", None).await;
    let (first, parked) =
        tokio::join!(world.engine.invoke(world.call("f", "5")), world.engine.invoke(world.call("f", "6")));
    let starts = [first.expect("runs").start, parked.expect("runs").start];
    assert!(starts.contains(&Start::Warm) && starts.contains(&Start::Parked), "{starts:?}");
}

async fn are_not_for_what_is_read_at_start() {
    let world = world();
    let source = format!("exports.handler = async () => [{IS_CELL}, process.execArgv.length, process.title];");
    with_cell(&world, &source, |version| {
        drop(version.environment.insert("NODE_OPTIONS".into(), "--title=mine".into()))
    })
    .await;
    assert_eq!(answer(&world, "{}").await, json!([false, 2, "mine"]));
}

async fn can_be_turned_off() {
    let world = world();
    let source = format!("exports.handler = async () => {IS_CELL};");
    let version = with_cell(&world, &source, |_| {}).await;
    world.shelf.put(Version { copies: Some(false), revision: "off".into(), ..version }, None);
    assert_eq!(answer(&world, "{}").await, json!(false));
}

async fn that_end_are_done_without() {
    let world = world();
    let source = format!("exports.handler = async () => {IS_CELL};");
    let version = with_cell(&world, &source, |version| version.memory_mb = MARKED_MB[1]).await;
    until("a cell", || processes(MARKS[1]).len() == 1).await;
    for pid in processes(MARKS[1]) {
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("ours");
    }
    // Plainly, or of the next cell where its end was not seen before it was specialised.
    assert!(answer(&world, "{}").await.is_boolean());
    until("the instance, one parked, another cell", || processes(MARKS[1]).len() == 3).await;
    world.engine.retire(&version.scope, "f", "$LATEST", None).await;
    assert_eq!(answer(&world, "{}").await, json!(true));
    world.engine.stop(Duration::ZERO).await;
}

async fn that_fail_or_hang_are_told_as_ever() {
    // Five seconds pass in one: an initialisation has two, more than Node.js takes to start on a busy machine.
    let world = World::new(driver(), 5, |config| config.nodes = nodejs().into_iter().collect());
    with_cell(&world, "throw new RangeError('at init')", |_| {}).await;
    let body = failure(&world, "{}").await;
    assert_eq!((&body["errorType"], &body["errorMessage"]), (&json!("RangeError"), &json!("at init")));
    world.memory.wait_for("Phase: init\tStatus: error\tError Type: RangeError").await;
    with_cell(
        &world,
        "const until = Date.now() + 3000; while (Date.now() < until); exports.handler = async () => 1;",
        |version| {
            version.timeout_s = 900;
        },
    )
    .await;
    assert_eq!(answer(&world, "{}").await, json!(1));
    world.memory.wait_for("Phase: init\tStatus: timeout").await;
    let text = world.memory.text();
    assert_eq!(text.matches("INIT_START").count(), 2, "{text}");
}

async fn have_the_functions_memory() {
    let world = world();
    let source =
        format!("const cell = {IS_CELL}; exports.handler = async (mb) => [cell, Buffer.alloc(mb << 20, 1).length];");
    with_cell(&world, &source, |version| version.memory_mb = 128).await;
    assert_eq!(answer(&world, "10").await, json!([true, 10 << 20]));
    assert_eq!(failure(&world, "150").await["errorType"], "Runtime.OutOfMemory");
    with_cell(&world, &source, |version| version.memory_mb = 512).await;
    assert_eq!(answer(&world, "150").await, json!([true, 150 << 20]));
}

async fn end_with_the_engine() {
    let world = world();
    with_cell(&world, "exports.handler = async () => 1;", |version| version.memory_mb = MARKED_MB[2]).await;
    answer(&world, "{}").await;
    until("an instance, one parked, and a cell", || processes(MARKS[2]).len() == 3).await;
    world.engine.stop(Duration::ZERO).await;
    until("nothing", || processes(MARKS[2]).is_empty()).await;
}

async fn keep_compiled_code() {
    let world = world();
    let app = r#"
const lib = require("./lib");
exports.handler = async (event) => {
  await new Promise((resolve) => setTimeout(resolve, event.sleep));
  return { kept: require("fs").existsSync("/var/runtime/compiled/code"), lib: [lib.own(), lib.trace()], esm: (await import("./esm.mjs")).default };
};"#;
    let lib = r#"const { name } = require("./package.json"); exports.trace = () => new Error("x").stack.split("\n")[1];
exports.own = () => [name, module.parent.id, require.resolve("./index.js"), module.children.length, require.main === undefined];"#;
    let files = [
        ("app.js", app),
        ("lib/index.js", lib),
        ("lib/package.json", r#"{"name": "lib"}"#),
        ("esm.mjs", "export default 'esm';"),
    ];
    let version = node(&world, &files, "app.handler").await;
    let version = Version { memory_mb: MARKED_MB[0] + 10, ..version };
    world.shelf.put(version.clone(), None);
    world.engine.prepare(&version).await.expect("prepares");
    let mark = "--max-old-space-size=306";
    let mut seen = Vec::new();
    for there in [1, 3, 5] {
        until("they are there", || processes(mark).len() >= there).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let calls = (0..there).map(|_| invoke(&world, r#"{"sleep": 600}"#));
        for outcome in futures::future::join_all(calls).await {
            let answer: Value = serde_json::from_slice(&outcome.result.expect("answers")).expect("JSON");
            seen.push(answer);
        }
    }
    for told in ["lib", "esm"] {
        assert!(seen.iter().all(|answer| answer[told] == seen[0][told]), "{seen:#?}");
    }
    assert_eq!(seen[0]["kept"], json!(false));
    assert!(seen.iter().any(|answer| answer["kept"] == json!(true)), "{seen:#?}");
}
