//! A reference server: started in a process group of its own, waited for, ended with all that it started.

use crate::load::{self, Call, Connection, Figures};
use anyhow::{Context, Result, bail};
use http::Method;
use rustix::process::{Pid, Signal};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const READY_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(5);

pub struct Server {
    pub address: SocketAddr,
    child: Child,
    call: Call,
}

/// A port that is free now.
pub fn free() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Server {
    /// Starts it and waits until it answers a request for `path`. What it says goes to `log`.
    pub async fn start(command: Command, address: SocketAddr, path: &str, log: &Path) -> Result<Self> {
        Self::begin(command, address, json(path), log).await
    }

    /// The same of a server of AWS's APIs, which is asked for its queues.
    pub async fn start_api(command: Command, address: SocketAddr, log: &Path) -> Result<Self> {
        let ask = Call::new(Method::POST, "/", "sqs", "{}")
            .with("x-amz-target", "AmazonSQS.ListQueues")
            .with("content-type", "application/x-amz-json-1.0");
        Self::begin(command, address, ask, log).await
    }

    async fn begin(mut command: Command, address: SocketAddr, call: Call, log: &Path) -> Result<Self> {
        let log_file = std::fs::File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log_file.try_clone()?)
            .stderr(log_file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let mut server = Self { address, child, call };
        let begin = Instant::now();
        while begin.elapsed() < READY_MAX {
            if let Some(status) = server.child.try_wait()? {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
                bail!("it ended ({status}): {last}");
            }
            if let Ok(mut connection) = Connection::open(address).await
                && connection.send(&server.call).await.is_ok()
            {
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("it did not answer within {} s", READY_MAX.as_secs())
    }

    pub async fn rate(&self, connections: usize, seconds: f64) -> Result<Figures> {
        let call = self.call.clone();
        load::run(self.address, connections, seconds, move |_, _| call.clone()).await
    }
}

fn json(path: &str) -> Call {
    Call::new(Method::POST, path, "", "{\"hello\":\"wadi\"}").with("content-type", "application/json")
}

impl Drop for Server {
    fn drop(&mut self) {
        // The group is ours: we made it, and its leader has not been waited for, so its id is not another's.
        let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return };
        let _ = rustix::process::kill_process_group(group, Signal::TERM);
        let begin = Instant::now();
        while begin.elapsed() < STOP_MAX && rustix::process::test_kill_process_group(group).is_ok() {
            // Without taking the leader's status, whose id keeps the group's from being given to others.
            if std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).is_ok_and(|s| s.contains(") Z ")) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}
