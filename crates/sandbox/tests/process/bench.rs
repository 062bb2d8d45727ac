//! What the tests share: a driver of their own, a spec to vary, and a look at what is left behind.

use sandbox::{Driver, Exit, Limits, Network, Process, ProcessConfig, Program, Raised, Role, Spec};
use std::fs;
use std::future::Future;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A driver with a state directory of its own.
pub struct Bench {
    pub driver: Arc<Process>,
    pub dir: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = std::env::current_exe().unwrap();
        let config = ProcessConfig { program, state_dir: dir.path().join("sandbox"), egress: None };
        Self { driver: Process::start(config).unwrap(), dir }
    }

    pub async fn raise(&self, spec: Spec) -> Raised {
        within(self.driver.raise(spec)).await.unwrap()
    }

    /// Raises, reads its output to the end, and waits for its own end.
    pub async fn run(&self, spec: Spec) -> (String, Exit) {
        let raised = self.raise(spec).await;
        let text = within(read(raised.output)).await;
        (text, within(raised.exit).await.unwrap())
    }

    /// What `sh` says to a script, which must end well.
    pub async fn sh(&self, script: &str) -> String {
        let (text, exit) = self.run(sh(script)).await;
        assert_eq!(exit.status, sandbox::Status::Exited(0), "{text}");
        text
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("sandbox")
    }
}

pub fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

pub async fn read(from: std::os::fd::OwnedFd) -> String {
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        fs::File::from(from).read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    read.await.unwrap()
}

pub fn sh(script: &str) -> Spec {
    spec(&["/bin/sh", "-c", script])
}

pub fn python(script: &str) -> Spec {
    spec(&["/usr/bin/python3", "-c", script])
}

pub fn spec(argv: &[&str]) -> Spec {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    Spec {
        id: format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)),
        role: Role::Instance,
        program: Program::Exec(argv.iter().map(|arg| (*arg).to_owned()).collect()),
        env: [("PATH", "/usr/bin:/bin"), ("GIVEN", "yes")].map(|(k, v)| (k.into(), v.into())).into(),
        cwd: "/tmp".into(),
        mounts: Vec::new(),
        limits: Limits {
            memory_bytes: 128 << 20,
            pids: 64,
            open_files: 1024,
            file_bytes: 512 << 20,
            cpu_weight: 1024,
            cpu_quota: false,
        },
        network: Network::Own,
        listen: vec![9001],
        image: None,
        runtime: None,
    }
}

/// This process's launchers, each below its guard.
pub fn launchers() -> Vec<i32> {
    let guards =
        children(std::process::id() as i32).into_iter().filter(|pid| cmdline(*pid).contains(sandbox::LAUNCHER_ARG));
    guards.filter_map(|guard| children(guard).into_iter().min()).collect()
}

fn cmdline(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

pub fn children(of: i32) -> Vec<i32> {
    let parent = |pid: &i32| -> Option<i32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent(pid) == Some(of)).collect()
}

/// Directories below `/sys/fs/cgroup` that a launcher made.
pub fn cgroups(launcher: i32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut queue = vec![(PathBuf::from("/sys/fs/cgroup"), false)];
    while let Some((dir, ours)) = queue.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let ours = ours || entry.file_name().to_string_lossy().starts_with(&format!("wadi-{launcher}-"));
                if ours {
                    found.push(entry.path());
                }
                queue.push((entry.path(), ours));
            }
        }
    }
    found
}

pub fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

/// Waits until something holds; it must, in time.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 10 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in time: {what}");
}
