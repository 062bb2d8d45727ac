//! The program as a shell sees it: exit codes, what goes to which stream, a node that starts and stops.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

fn wadi(home: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wadi"));
    for name in ["AWS_ENDPOINT_URL", "WADI_ENDPOINT", "WADI_LISTEN", "WADI_CONFIG", "RUST_LOG"] {
        command.env_remove(name);
    }
    // This machine is not to forward packets for what is tested here.
    command
        .env("WADI_NETWORK", "platform")
        .current_dir(home)
        .env("WADI_DATA_DIR", home.join("data"))
        .env("XDG_CACHE_HOME", home.join("cache"));
    command
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn exit_codes_and_advice_without_a_node() {
    let home = tempfile::tempdir().expect("tempdir");
    let check = |args: &[&str], code: i32, part: &str| {
        let output = wadi(home.path()).args(args).output().expect("run");
        let (is, out, err) = said(&output);
        assert_eq!((is, out.as_str()), (code, ""), "{args:?}: {err}");
        assert!(err.contains(part), "{args:?}: {err}");
    };
    // Port 9 (discard) is served nowhere that this test runs.
    let nobody = ["--endpoint", "http://127.0.0.1:9"];
    check(&[&["list"][..], &nobody].concat(), 1, "start one with `wadi up`");
    check(&[&["demo"][..], &nobody].concat(), 1, "no node answers");
    check(&["list", "--endpoint", "https://x"], 2, "plain HTTP");
    check(&["fly"], 2, "unrecognized subcommand");
    check(&["invoke", "f", "--payload", "{"], 2, "not JSON");
    check(&["deploy", "nowhere"], 2, "takes the directory");
    check(&["up", "--listen", "0.0.0.0:0"], 2, "--credentials root");
    check(&["usage", "--prices", "nowhere.toml"], 1, "nowhere.toml");
}

/// A node of its own, killed when the test ends early.
struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_node_starts_answers_the_verbs_and_stops_on_sigterm() {
    let home = tempfile::tempdir().expect("tempdir");
    let mut child = wadi(home.path())
        .args(["up", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("spawn");
    let mut ready = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut ready).expect("ready line");
    let mut up = Up(child);
    let endpoint = ready.split_whitespace().find(|word| word.starts_with("http://")).expect(&ready).to_owned();
    assert!(ready.starts_with("wadi: ready on http://127.0.0.1:"), "{ready}");

    let ask =
        |args: &[&str]| said(&wadi(home.path()).args(args).args(["--endpoint", &endpoint]).output().expect("run"));
    let (code, out, err) = ask(&["list", "--json"]);
    assert_eq!((code, out.trim()), (0, "[]"), "{err}");
    let (code, out, err) = ask(&["usage", "--json"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("\"Cost\": 0.0"), "{out}");
    let (code, _, err) = ask(&["invoke", "nobody"]);
    assert!(code == 1 && err.contains("ResourceNotFoundException") && err.contains("wadi list"), "{err}");
    let (_, out, err) = ask(&["doctor"]);
    assert!(out.contains("STATUS"), "{out} {err}");
    let (code, _, err) = said(&wadi(home.path()).args(["up", "--listen", "127.0.0.1:0"]).output().expect("run"));
    assert!(code == 1 && err.contains("another node is using"), "{err}");

    let pid = up.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    assert_eq!(up.0.wait().expect("wait").code(), Some(0));
}
