//! Unpacked images, and programs that OCI runtimes run. What a machine lacks is said, and counts as not run.

use super::bench::{Bench, block, read, sh, within};
use sandbox::{Driver, Runtime, Spec, Status};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The runtimes of this machine.
pub fn runtimes() -> Vec<Runtime> {
    let places = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];
    let find = |name: &str| places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
    ["crun", "runc", "runsc"].iter().filter_map(|name| find(name)).map(Runtime::at).collect()
}

/// An image of a static busybox; `None` where there is none.
pub fn image() -> Option<tempfile::TempDir> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().map(PathBuf::from).find(|path| path.exists())?;
    let dir = tempfile::tempdir().expect("a directory");
    for place in ["bin", "dev", "proc", "tmp", "etc"] {
        fs::create_dir(dir.path().join(place)).expect("makes");
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("opens");
    fs::copy(busybox, dir.path().join("bin/busybox")).expect("copies");
    for applet in ["sh", "id", "cat", "ls", "mount", "ps", "sleep", "grep", "dd", "touch", "wget", "nc", "env"] {
        symlink("busybox", dir.path().join("bin").join(applet)).expect("links");
    }
    fs::write(dir.path().join("etc/secret"), "of the image").expect("writes");
    Some(dir)
}

fn of(image: &Path, runtime: Option<Runtime>, script: &str) -> Spec {
    let mut spec = Spec { image: Some(image.to_owned()), runtime, ..sh(script) };
    spec.program = sandbox::Program::Exec(["sh", "-c", script].map(str::to_owned).into());
    spec.env = [("PATH", "/bin"), ("GIVEN", "yes")].map(|(k, v)| (k.into(), v.into())).into();
    spec.limits.memory_bytes = 256 << 20;
    spec
}

/// Our own init, and every runtime here.
fn ways() -> Vec<(String, Option<Runtime>)> {
    let named = |runtime: Runtime| (runtime.program.display().to_string(), Some(runtime));
    std::iter::once(("our own".to_owned(), None)).chain(runtimes().into_iter().map(named)).collect()
}

pub fn run_what_is_in_them() {
    let Some(image) = image() else { return };
    block(async {
        let bench = Bench::new();
        for (way, runtime) in ways() {
            let script = "id -u; echo $GIVEN; cat /etc/secret; echo; ls /usr 2>&1; touch /x 2>&1; touch /tmp/x && echo tmp; grep NoNewPrivs /proc/self/status; exit 7";
            let (output, exit) = bench.run(of(image.path(), runtime, script)).await;
            assert_eq!(exit.status, Status::Exited(7), "{way}: {output}");
            for expect in ["993\nyes\nof the image\n", "/usr: No such file", "touch: /x: ", "\ntmp\n"] {
                assert!(output.contains(expect), "{way}: {expect:?} in {output}");
            }
        }
    });
}

pub fn a_program_that_is_not_there_is_told_as_such() {
    let Some(image) = image() else { return };
    block(async {
        let bench = Bench::new();
        for (way, runtime) in ways() {
            let foreground = runtime.as_ref().is_some_and(|runtime| !runtime.detaches);
            let mut spec = of(image.path(), runtime, "");
            spec.program = sandbox::Program::Exec(vec!["/bin/none".into()]);
            if foreground {
                let (output, exit) = bench.run(spec).await;
                assert_ne!(exit.status, Status::Exited(0), "{way}: {output}");
                continue;
            }
            let error = within(bench.driver.raise(spec)).await.expect_err("refused").to_string();
            assert!(error.contains("execute /bin/none"), "{way}: {error}");
        }
    });
}

/// Rounds of each, in turns.
const ROUNDS: usize = 15;

/// The median of what a container takes from nothing to its first byte: raised by us, and by its runtime alone from a
/// bundle of the same image. Where the runtime does not run on this machine by itself there is nothing to compare with.
pub fn containers_start_about_as_fast_as_their_runtimes() {
    let Some(image) = image() else { return };
    block(async {
        let bench = Bench::new();
        for runtime in runtimes().into_iter().filter(|runtime| runtime.detaches) {
            let bundle = bundle(image.path(), &runtime);
            let (mut ours, mut alone) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                let began = Instant::now();
                let raised = bench.raise(of(image.path(), Some(runtime.clone()), "echo here")).await;
                let text = within(read(raised.output)).await;
                assert_eq!(text, "here\n");
                ours.push(began.elapsed());
                within(raised.exit).await.expect("ends");
                let Some(took) = started(&runtime, bundle.path(), round) else { break };
                alone.push(took);
            }
            if alone.len() < ROUNDS {
                println!("{} does not run here by itself", runtime.program.display());
                continue;
            }
            let (ours, alone) = (median(&mut ours), median(&mut alone));
            let ratio = ours.as_secs_f64() / alone.as_secs_f64();
            println!("{}: {ours:?} raised, {alone:?} alone, {ratio:.2} times", runtime.program.display());
            assert!(ratio < 3.0, "{ours:?} against {alone:?}");
        }
    });
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// What `runc spec` makes, of the image.
fn bundle(image: &Path, runtime: &Runtime) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let made = Command::new(&runtime.program).args(["spec"]).current_dir(dir.path()).status().expect("runs");
    assert!(made.success());
    let file = dir.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&file).expect("reads")).expect("JSON");
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = ["/bin/sh", "-c", "echo here"].as_slice().into();
    config["root"] = serde_json::json!({"path": image, "readonly": true});
    fs::write(file, config.to_string()).expect("writes");
    // What runtimes mount and an image need not have.
    let _ = fs::create_dir(image.join("sys"));
    dir
}

/// How long the runtime took from its own start to the container's first byte.
fn started(runtime: &Runtime, bundle: &Path, round: usize) -> Option<Duration> {
    let began = Instant::now();
    let mut child = Command::new(&runtime.program)
        .args(["run", "--bundle"])
        .arg(bundle)
        .arg(format!("wadi-test-{}-{round}", std::process::id()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut byte = [0];
    let first = child.stdout.as_mut()?.read_exact(&mut byte);
    let took = began.elapsed();
    let ended = child.wait().ok()?;
    (first.is_ok() && ended.success()).then_some(took)
}
