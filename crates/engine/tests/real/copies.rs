//! Instances that are copied from an initialised process: what they share, what they do not, and what cannot be copied.

use crate::functions::python_files;
use crate::support::World;
use base::{Outcome, Start};
use engine::{Runner, Version};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime as Tokio;

type Test = fn(&Tokio);

pub const TESTS: &[(&str, bool, Test)] = &[
    ("copies_share_their_initialisation_and_nothing_else", true, |tokio| {
        tokio.block_on(copies_share_their_initialisation_and_nothing_else())
    }),
    ("copies_have_no_rights", true, |tokio| tokio.block_on(copies_have_no_rights())),
    ("what_cannot_be_copied_says_why", true, |tokio| tokio.block_on(what_cannot_be_copied_says_why())),
    ("hooks_run_before_and_after", true, |tokio| tokio.block_on(hooks_run_before_and_after())),
    ("a_packages_own_modules_come_first", true, |tokio| tokio.block_on(a_packages_own_modules_come_first())),
    ("ends_of_copies_are_told_exactly", true, |tokio| tokio.block_on(ends_of_copies_are_told_exactly())),
    ("a_template_bears_many_copies", true, |tokio| tokio.block_on(a_template_bears_many_copies())),
    ("a_template_has_no_more_memory_than_its_copies_need", true, |tokio| {
        tokio.block_on(a_template_has_no_more_memory_than_its_copies_need())
    }),
    ("those_that_waited_for_nothing_do_not_wait_in_turn", true, |tokio| {
        tokio.block_on(those_that_waited_for_nothing_do_not_wait_in_turn())
    }),
    ("copying_can_be_turned_off", true, |tokio| tokio.block_on(copying_can_be_turned_off())),
];

/// A function whose base is there before its first call.
async fn python(world: &World, source: &str) -> Version {
    let version = python_files(world, &[("app.py", source)], "app.handler").await;
    world.engine.prepare(&version).await.expect("prepares");
    version
}

/// So many calls at once; each needs an instance of its own, since all sleep.
async fn at_once(world: &World, calls: usize, payload: &Value) -> Vec<Outcome> {
    let run = || world.engine.invoke(world.call("f", payload.to_string()));
    let outcomes = futures::future::join_all((0..calls).map(|_| run())).await;
    outcomes.into_iter().map(|outcome| outcome.expect("runs")).collect()
}

fn answer(outcome: &Outcome) -> Value {
    let result = outcome.result.as_ref();
    let body = result.unwrap_or_else(|e| panic!("{}", String::from_utf8_lossy(&e.body)));
    serde_json::from_slice(body).expect("JSON")
}

fn distinct(answers: &[Value], member: &str) -> usize {
    answers.iter().map(|answer| answer[member].to_string()).collect::<HashSet<_>>().len()
}

async fn copies_share_their_initialisation_and_nothing_else() {
    let world = crate::world();
    let source = r#"
import os, random, time, uuid, secrets
BORN, STATE = uuid.uuid4().hex, []
PLACE = open("/var/task/app.py")
PLACE.readline()
def handler(event, context):
    STATE.append(1)
    open("/tmp/own", "a").write("x")
    time.sleep(event.get("sleep", 0))
    return {"born": BORN, "calls": len(STATE), "random": random.random(), "secret": secrets.token_hex(8),
            "tmp": open("/tmp/own").read(), "file": PLACE.readline(), "stream": context.log_stream_name,
            "env": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"], "host": os.uname().nodename,
            "pids": sorted(int(p) for p in os.listdir("/proc") if p.isdigit())}
"#;
    python(&world, source).await;
    let outcomes = at_once(&world, 4, &json!({"sleep": 0.5})).await;
    let answers: Vec<Value> = outcomes.iter().map(answer).collect();
    assert_eq!(distinct(&answers, "born"), 1, "one initialisation: {answers:?}");
    for own in ["random", "secret", "stream"] {
        assert_eq!(distinct(&answers, own), 4, "{own}: {answers:?}");
    }
    for (answer, outcome) in answers.iter().zip(&outcomes) {
        assert_eq!((&answer["calls"], &answer["tmp"], &answer["pids"]), (&json!(1), &json!("x"), &json!([1, 2])));
        assert_eq!(answer["file"], "import os, random, time, uuid, secrets\n", "each has its own place in a file");
        assert!(answer["env"].as_str().is_some_and(|name| name.ends_with(&outcome.instance)), "{answer}");
        assert_eq!((&answer["env"], outcome.start), (&answer["stream"], Start::Cold));
    }
    let again = at_once(&world, 1, &json!({})).await;
    assert_eq!((answer(&again[0])["calls"].as_u64(), again[0].start), (Some(2), Start::Warm));
}

async fn copies_have_no_rights() {
    let world = crate::world();
    let source = r#"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def tries():
    def errno(result): return ctypes.get_errno() if result < 0 else 0
    own = os.open("/proc/self/ns/uts", os.O_RDONLY)
    status = dict(l.split(":", 1) for l in open("/proc/self/status") if ":" in l)
    result = {
        "unshare": errno(libc.unshare(0x10000000)), "mount": errno(libc.mount(b"x", b"/tmp", b"tmpfs", 0, None)),
        "chroot": errno(libc.chroot(b"/tmp")), "setns": errno(libc.setns(own, 0)), "sethostname": errno(libc.sethostname(b"x", 1)),
        "uid": os.getuid(), "caps": [status[n].strip() for n in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    }
    os.close(own)
    return result
BEFORE = tries()
try: BEFORE["hidden"] = os.listdir("/run/wadi")
except OSError as e: BEFORE["hidden"] = e.errno
def handler(event, context):
    return {"template": BEFORE, "copy": tries(), "fds": sorted(os.listdir("/proc/self/fd"), key=int)}
"#;
    python(&world, source).await;
    let answer = answer(&at_once(&world, 1, &json!({})).await[0]);
    let none = "0000000000000000";
    let refused =
        json!({"unshare": 1, "mount": 1, "chroot": 1, "setns": 1, "sethostname": 1, "uid": 993, "caps": vec![none; 5]});
    assert_eq!(answer["copy"], refused);
    // The template may enter namespaces of its own (and only those); the rest is refused as everywhere.
    let template = &answer["template"];
    for call in ["unshare", "mount", "chroot", "sethostname"] {
        assert_eq!(template[call], 1, "{call}: {template}");
    }
    assert_eq!((&template["hidden"], &template["uid"]), (&json!(13), &json!(993)), "{template}");
    assert_eq!(
        answer["fds"],
        json!(["0", "1", "2", "3", "4", "5"]),
        "the log, the Runtime API, and the listing itself"
    );
}

async fn what_cannot_be_copied_says_why() {
    let cases = [
        ("import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "threads"),
        ("import socket; S = socket.socketpair()", "connections"),
        ("import os; P = os.pipe()", "pipes or event descriptors"),
        ("open('/tmp/cache', 'w').write('x')", "wrote to /tmp"),
        ("import subprocess; C = subprocess.Popen(['sleep', '60'])", "processes"),
        ("import mmap; M = mmap.mmap(-1, 4096)", "shares writable memory"),
    ];
    futures::future::join_all(cases.map(async |(init, reason)| {
        let world = crate::world();
        let source = "import time, uuid\nBORN = uuid.uuid4().hex\n\
            def handler(event, context):\n    time.sleep(event)\n    return {'born': BORN}";
        python(&world, &format!("{init}\n{source}")).await;
        let mut answers: Vec<Value> = at_once(&world, 1, &json!(0)).await.iter().map(answer).collect();
        // Long enough that on a busy machine, too, nobody gets an instance that has answered.
        answers.extend(at_once(&world, 2, &json!(3)).await.iter().map(answer));
        assert_eq!(distinct(&answers, "born"), 2, "{init}: each instance is initialised by itself: {answers:?}");
        world.memory.wait_for(reason).await;
    }))
    .await;
}

/// One makes what others are to be copied from, and fails after a second. Eight in turn would take eight seconds.
async fn those_that_waited_for_nothing_do_not_wait_in_turn() {
    let world = crate::world();
    python(&world, "import time\ntime.sleep(1)\nraise RuntimeError('not today')").await;
    let began = Instant::now();
    for outcome in at_once(&world, 8, &json!({})).await {
        let error = outcome.result.expect_err("fails");
        assert!(String::from_utf8_lossy(&error.body).contains("not today"), "{error:?}");
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(7), "{took:?}");
}

async fn hooks_run_before_and_after() {
    let world = crate::world();
    let source = r#"
import time
from snapshot_restore_py import register_after_restore, register_before_snapshot
SEEN = []
register_before_snapshot(SEEN.append, "before 1")
register_before_snapshot(SEEN.append, "before 2")
@register_after_restore
def first():
    SEEN.append("after 1")
register_after_restore(SEEN.append, "after 2")
def handler(event, context):
    time.sleep(0.2)
    return SEEN
"#;
    python(&world, source).await;
    for outcome in at_once(&world, 2, &json!({})).await {
        assert_eq!(answer(&outcome), json!(["before 2", "before 1", "after 1", "after 2"]));
    }
    let failing = "from snapshot_restore_py import register_after_restore\n\
        @register_after_restore\ndef fails():\n    raise ValueError('not restored')\ndef handler(e, c): return 1";
    python(&world, failing).await;
    let outcome = &at_once(&world, 1, &json!({})).await[0];
    assert_eq!(outcome.result.as_ref().map_err(|e| e.error_type.as_str()), Err("ValueError"));
}

async fn a_packages_own_modules_come_first() {
    let world = crate::world();
    let source = "import random, uuid, os\nimport logging\ndef handler(e, c): return [random.MINE, uuid.uuid4().version, logging.__file__ != '']";
    let files = [
        ("app.py", source),
        ("random.py", "MINE = 'the package\\'s'"),
        ("logging.py", "raise ImportError('not this one')"),
    ];
    let version = python_files(&world, &files, "app.handler").await;
    world.engine.prepare(&version).await.expect("prepares");
    assert_eq!(answer(&at_once(&world, 1, &json!({})).await[0]), json!(["the package's", 4, true]));
}

async fn ends_of_copies_are_told_exactly() {
    let world = crate::world();
    let source = "import os, signal\ndef handler(e, c):\n    exec(e['do'])";
    python(&world, source).await;
    for (what, message) in [
        ("os._exit(7)", "Runtime exited with error: exit status 7"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "Runtime exited with error: signal: segmentation fault"),
        ("os.abort()", "Runtime exited with error: signal: aborted"),
        ("x = bytearray(1 << 30); x[:] = b'1' * len(x)", "Runtime exited with error: signal: killed"),
    ] {
        let outcome = &at_once(&world, 1, &json!({"do": what})).await[0];
        let error = outcome.result.as_ref().expect_err(what);
        let body = String::from_utf8_lossy(&error.body).into_owned();
        assert!(body.contains(message), "{what}: {body}");
    }
}

async fn copying_can_be_turned_off() {
    let world = crate::world();
    let source = "import time, uuid\nBORN = uuid.uuid4().hex\ndef handler(e, c):\n    time.sleep(0.3)\n    return {'born': BORN}";
    let version = python(&world, source).await;
    world.shelf.put(Version { copies: Some(false), ..version }, None);
    let answers: Vec<Value> = at_once(&world, 3, &json!({})).await.iter().map(answer).collect();
    assert_eq!(distinct(&answers, "born"), 3, "{answers:?}");
}

/// What the kernel holds for copies (page tables, namespaces) is charged to the template, whose own limit is the
/// function's: 100 of these exceed it.
async fn a_template_bears_many_copies() {
    let world = crate::world();
    let version = python(&world, "import time\ndef handler(e, c):\n    time.sleep(e['sleep'])\n    return 1").await;
    world.shelf.put(Version { memory_mb: 64, ..version }, None);
    let answers: Vec<Value> = at_once(&world, 100, &json!({"sleep": 4})).await.iter().map(answer).collect();
    assert_eq!(answers, vec![json!(1); 100]);
}

/// What a function registers to run at a fork runs in the template.
async fn a_template_has_no_more_memory_than_its_copies_need() {
    let world = crate::world();
    let source = r#"
import os
HELD = []
os.register_at_fork(before=lambda: HELD.append(b"1" * (400 << 20)))
def handler(e, c):
    return len(HELD)
"#;
    python(&world, source).await;
    assert_eq!(answer(&at_once(&world, 1, &json!({})).await[0]), json!(0), "started, after the template had its limit");
}
