//! The node under test: started for the benchmark, on a data directory of its own, and ended by its process id.

use crate::load::{Call, Connection};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Node {
    pub address: SocketAddr,
    pub data_dir: PathBuf,
    wadi: PathBuf,
    child: Option<Child>,
}

impl Node {
    pub fn new(wadi: &Path, data_dir: &Path) -> Result<Self> {
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        Ok(Self { address, data_dir: data_dir.to_owned(), wadi: wadi.to_owned(), child: None })
    }

    /// Starts the node; the time until its health page answers.
    pub async fn start(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        let child = Command::new(&self.wadi)
            .args(["up", "--listen", &self.address.to_string(), "--data-dir"])
            .arg(&self.data_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", self.wadi.display()))?;
        self.child = Some(child);
        let health = Call {
            method: Method::GET,
            path: "/_wadi/health".into(),
            service: "",
            headers: vec![],
            body: Bytes::new(),
        };
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

    /// Proportional memory of the node and its launcher, in MB, without the functions' instances.
    pub fn memory_mb(&self) -> Result<f64> {
        let pid = self.child.as_ref().context("the node runs")?.id();
        let mut kb = pss_kb(pid)?;
        // A thread of the node's started the launcher, so the launcher is that thread's child.
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let children = std::fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace() {
                kb += pss_kb(child.parse()?).unwrap_or(0);
            }
        }
        Ok(kb as f64 / 1024.0)
    }
}

fn pss_kb(pid: u32) -> Result<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find(|l| l.starts_with("Pss:")).context("no Pss line")?;
    Ok(line.split_whitespace().nth(1).context("no figure")?.parse()?)
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
