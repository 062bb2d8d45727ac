//! The ways to start a program: in our sandbox, in its namespaces with nothing else around it, and bare.

use super::launcher::{CWD_OF_PROGRAMS, Order};
use super::peer::Peer;
use super::{Bench, forks, programs::Program};
use anyhow::{Context, Result, ensure};
use sandbox::{Driver, Limits, Mount, Network, Process, ProcessConfig, Raised, Role, Spec};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The product's own driver and launcher: the whole sandbox.
    Sandbox,
    /// The same namespaces and a root like its, by [`super::launcher`].
    Namespaces,
    /// A child of [`super::launcher`].
    Bare,
}

pub const WAYS: [Way; 3] = [Way::Sandbox, Way::Namespaces, Way::Bare];
const PORT: u16 = 9001;
const END_MAX: Duration = Duration::from_secs(20);

/// What starts one program on every way.
pub struct Starter<'a> {
    program: &'a Program,
    driver: Arc<Process>,
    launcher: Launcher,
}

/// What can be had before, and is no part of what a start costs: networks are kept ready by our launcher as well.
pub struct Ready {
    listener: Option<TcpListener>,
    network: Option<File>,
}

pub struct Running {
    pub peer: Peer,
    held: Held,
}

enum Held {
    Sandbox(Raised),
    /// By the reference's launcher.
    Process(i32),
}

impl<'a> Starter<'a> {
    pub fn new(bench: &Bench, program: &'a Program) -> Result<Self> {
        let driver = driver(bench, program.dir.join("sandbox"))?;
        let at = program.dir.join("root");
        std::fs::create_dir(&at)?;
        Ok(Self { program, driver, launcher: Launcher::start(at, program)? })
    }

    pub fn ready(&self, way: Way) -> Result<Ready> {
        let (listener, network) = match way {
            Way::Sandbox => (None, None),
            Way::Namespaces => {
                let (listener, network) = network()?;
                (Some(listener), Some(network))
            }
            Way::Bare => (Some(TcpListener::bind("127.0.0.1:0")?), None),
        };
        Ok(Ready { listener, network })
    }

    /// Starts it; [`Peer::first`] tells when it is up.
    pub async fn start(&mut self, ready: Ready) -> Result<Running> {
        let Some(listener) = ready.listener else {
            let mut raised = self.driver.raise(self.spec()).await?;
            let listener = raised.listeners.pop().context("a listener")?;
            return Ok(Running { peer: Peer::new(listener), held: Held::Sandbox(raised) });
        };
        let mut env = self.program.env.clone();
        env.insert("AWS_LAMBDA_RUNTIME_API".into(), listener.local_addr()?.to_string());
        // The path names a descriptor of this process, which the launcher may open.
        let path = |network: &File| {
            PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(network)))
        };
        let network = ready.network.as_ref().map(path);
        let pid = self.launcher.tell(&Order::Start { argv: self.program.argv.clone(), env, network })?;
        Ok(Running { peer: Peer::new(listener), held: Held::Process(pid) })
    }

    /// Ends it and waits until it has gone.
    pub async fn end(&mut self, running: Running) -> Result<()> {
        match running.held {
            Held::Sandbox(raised) => {
                raised.handle.kill();
                tokio::time::timeout(END_MAX, raised.exit).await.context("a sandbox does not end")??;
                Ok(())
            }
            Held::Process(pid) => self.launcher.tell(&Order::End(pid)).map(drop),
        }
    }

    fn spec(&self) -> Spec {
        let mut env = self.program.env.clone();
        env.insert("AWS_LAMBDA_RUNTIME_API".into(), format!("127.0.0.1:{PORT}"));
        env.insert("_LAMBDA_TELEMETRY_LOG_FD".into(), "3".into());
        let mount = |(source, target): &(PathBuf, PathBuf)| Mount::new(source, target);
        let mounts = self.program.mounts.iter().map(mount).collect();
        let program = sandbox::Program::Exec(self.program.argv.clone());
        Spec { env, mounts, cwd: CWD_OF_PROGRAMS.into(), ..spec(program, self.program.function.memory_mb) }
    }
}

/// The product's launcher, with a directory of its own.
pub fn driver(bench: &Bench, state_dir: PathBuf) -> Result<Arc<Process>> {
    Ok(Process::start(ProcessConfig { program: bench.wadi.clone(), state_dir, egress: None })?)
}

/// A sandbox as a node's functions have it.
pub fn spec(program: sandbox::Program, memory_mb: u32) -> Spec {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    Spec {
        id: format!("bench-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)),
        role: Role::Instance,
        program,
        env: Default::default(),
        cwd: "/tmp".into(),
        mounts: Vec::new(),
        limits: Limits {
            memory_bytes: u64::from(memory_mb) << 20,
            pids: 1024,
            open_files: 1024,
            file_bytes: 512 << 20,
            cpu_weight: (u64::from(memory_mb) * 1024 / 1769).max(1),
            cpu_quota: false,
        },
        network: Network::Own,
        listen: vec![PORT],
        image: None,
        runtime: None,
    }
}

/// A network of its own with a listener in it.
fn network() -> Result<(TcpListener, File)> {
    // A thread that ends there: nobody else is moved.
    let made = std::thread::spawn(|| {
        forks::unshare(libc::CLONE_NEWNET)?;
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().context("cannot run ip")?;
        ensure!(up.success(), "the loopback does not come up");
        Ok((TcpListener::bind(("127.0.0.1", PORT))?, File::open("/proc/thread-self/ns/net")?))
    });
    made.join().map_err(|_| anyhow::anyhow!("the thread panicked"))?
}

/// The reference's launcher, in a process of its own.
struct Launcher {
    child: Child,
    tells: Option<ChildStdin>,
    hears: BufReader<ChildStdout>,
}

impl Launcher {
    fn start(at: PathBuf, program: &Program) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("launcher").arg(at);
        command.args(program.mounts.iter().map(|(from, to)| format!("{}={}", from.display(), to.display())));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (tells, hears) = (child.stdin.take(), child.stdout.take().context("its output")?);
        Ok(Self { child, tells, hears: BufReader::new(hears) })
    }

    fn tell(&mut self, order: &Order) -> Result<i32> {
        let line = serde_json::to_string(order)? + "\n";
        self.tells.as_mut().context("it lives")?.write_all(line.as_bytes())?;
        let mut said = String::new();
        self.hears.read_line(&mut said)?;
        said.trim().parse().map_err(|_| anyhow::anyhow!("the reference's launcher: {}", said.trim()))
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // It ends what it started when nothing more can come.
        drop(self.tells.take());
        let _ = self.child.wait();
    }
}
