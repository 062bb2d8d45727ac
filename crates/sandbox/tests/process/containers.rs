//! Unpacked images, and programs that OCI runtimes run. What a machine lacks is said, and counts as not run.

use super::bench::{Bench, block, sh, within};
use sandbox::{Driver, Runtime, Spec, Status};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

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
