//! The node under test: started for the benchmark, on a data directory of its own, and ended by its process id.

use crate::load::{Call, Connection};
use crate::processes;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Node {
    pub address: SocketAddr,
    pub data_dir: PathBuf,
    /// Of `wadi up`, beyond where it listens and keeps its data.
    pub flags: Vec<String>,
    /// What functions reach that do not say: `wadi up --network`.
    pub network: &'static str,
    /// Where its log goes; to ours if not said.
    pub log: Option<PathBuf>,
    wadi: PathBuf,
    child: Option<Child>,
}

impl Node {
    pub fn new(wadi: &Path, data_dir: &Path) -> Result<Self> {
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (data_dir, wadi) = (data_dir.to_owned(), wadi.to_owned());
        Ok(Self { address, data_dir, flags: Vec::new(), network: "platform", log: None, wadi, child: None })
    }

    /// One with a data directory of its own below a benchmark's, and its log beside that.
    pub fn below(wadi: &Path, scratch: &Path, name: &str) -> Result<Self> {
        let mut node = Self::new(wadi, &scratch.join(name))?;
        node.log = Some(scratch.join(format!("{name}.log")));
        Ok(node)
    }

    /// Starts the node; the time until its health page answers.
    pub async fn start(&mut self) -> Result<Duration> {
        let log = match &self.log {
            Some(path) => Stdio::from(std::fs::File::options().append(true).create(true).open(path)?),
            None => Stdio::inherit(),
        };
        let begin = Instant::now();
        let child = Command::new(&self.wadi)
            .args(["up", "--network", self.network, "--listen", &self.address.to_string(), "--data-dir"])
            .arg(&self.data_dir)
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.wadi.display()))?;
        self.child = Some(child);
        let health = Call::get("/_wadi/health", "");
        while begin.elapsed() < Duration::from_secs(20) {
            if let Ok(mut connection) = Connection::open(self.address).await
                && connection.send(&health).await.is_ok()
            {
                return Ok(begin.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        bail!("the node did not get ready within 20 s")
    }

    /// SIGTERM, then waits, bounded.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
            for _ in 0..600 {
                if child.try_wait()?.is_some() {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            child.kill()?;
            bail!("the node did not stop within 30 s");
        }
        Ok(())
    }

    /// SIGKILL: the node has no time for anything.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// The process of the running node.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("the node runs")?.id())
    }

    /// Asks Wadi's own API.
    pub async fn ask(&self, path: &str) -> Result<Value> {
        let mut connection = Connection::open(self.address).await?;
        Ok(serde_json::from_slice(&connection.send(&Call::get(path, "wadi")).await?)?)
    }

    /// How many invocations the usage API counts, and how many of them failed.
    pub async fn invocations(&self) -> Result<(u64, u64)> {
        let usage = self.ask("/_wadi/api/usage").await?;
        let functions = usage["Functions"].as_array().cloned().unwrap_or_default();
        let sum = |field: &str| functions.iter().filter_map(|f| f[field].as_u64()).sum();
        Ok((sum("Invocations"), sum("Errors")))
    }

    /// Instances alive: idle, busy and being made.
    pub async fn instances(&self) -> Result<u64> {
        let activity = self.ask("/_wadi/api/activity").await?;
        let functions = activity["Functions"].as_array().cloned().unwrap_or_default();
        let of = |f: &Value| ["Idle", "Busy", "Starting"].iter().filter_map(|field| f[field].as_u64()).sum::<u64>();
        Ok(functions.iter().map(of).sum())
    }

    /// The newest of a runtime that the node says it has: `newest("python3.", "", 9..=14)`.
    pub async fn newest(&self, before: &str, after: &str, of: RangeInclusive<u32>) -> Result<Option<String>> {
        let doctor = self.ask("/_wadi/api/doctor").await?.to_string();
        Ok(of.rev().map(|n| format!("{before}{n}{after}")).find(|name| doctor.contains(name)))
    }

    /// The program that the doctor names for a runtime.
    pub async fn interpreter(&self, runtime: &str) -> Result<PathBuf> {
        let doctor = self.ask("/_wadi/api/doctor").await?;
        let check = doctor["Checks"].as_array().into_iter().flatten().find(|check| check["Name"] == runtime);
        let detail =
            check.and_then(|check| check["Detail"].as_str()).and_then(|detail| detail.split_whitespace().next());
        Ok(PathBuf::from(detail.context("the doctor names no interpreter")?))
    }

    pub async fn newest_python(&self) -> Result<String> {
        self.newest("python3.", "", 9..=14).await?.context("the node has no Python")
    }

    pub async fn newest_nodejs(&self) -> Result<Option<String>> {
        self.newest("nodejs", ".x", 20..=26).await
    }

    /// Proportional memory of the node and its launcher, in MB, without the functions' instances.
    pub fn memory_mb(&self) -> Result<f64> {
        let pid = self.pid()?;
        let launcher = processes::launcher(pid).and_then(processes::pss_kb).unwrap_or(0);
        Ok((processes::pss_kb(pid).context("no figure for the node")? + launcher) as f64 / 1024.0)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
