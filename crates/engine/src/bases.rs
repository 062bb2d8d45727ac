//! Bases: one process per interpreter that has imported what functions import most, and that is copied into the sandbox
//! of a function instead of an interpreter being started there. It never runs a function's code.

use crate::interpreters::Interpreter;
use crate::python;
use base::port::Entropy;
use parking_lot::Mutex;
use sandbox::{Driver, Handle, Limits, Network, Program, Role, Spec};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{Mutex as Turn, oneshot};

/// A base has no function's limits; these keep a broken one from harm.
const MEMORY_BYTES: u64 = 1 << 30;
const PROCESSES_MAX: u64 = 4096;
/// Two for each process that was copied from it and lives.
const OPEN_FILES_MAX: u64 = 16 * 1024;
/// How long is waited for a base to have imported all.
const READY_MAX: Duration = Duration::from_secs(10);

/// Which base a function is copied from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    /// Minor version of Python 3.
    pub minor: u8,
    /// With boto3 in it.
    pub boto3: bool,
}

impl Kind {
    /// The name of its sandbox; `tag` is the engine's, so that no two engines of a driver have one name.
    fn id(self, tag: &str, nth: u64) -> String {
        format!("base-{tag}-{nth}-python3-{}{}", self.minor, if self.boto3 { "-boto3" } else { "" })
    }
}

/// A living base; dropping it ends it. What was copied from it lives on.
struct Living {
    id: String,
    handle: Handle,
    /// Resolves when it is gone.
    gone: oneshot::Receiver<()>,
}

impl Drop for Living {
    fn drop(&mut self) {
        self.handle.kill();
    }
}

pub(crate) struct Bases {
    driver: Arc<dyn Driver>,
    tag: String,
    made: Mutex<HashMap<Kind, Living>>,
    raised: Turn<u64>,
}

impl Bases {
    pub(crate) fn new(driver: Arc<dyn Driver>, entropy: &dyn Entropy) -> Self {
        let tag = format!("{:016x}", entropy.u64());
        Self { driver, tag, made: Mutex::default(), raised: Turn::new(0) }
    }

    /// The sandbox of the base; `None` if it is not there (yet).
    pub(crate) fn get(&self, kind: Kind) -> Option<String> {
        let mut made = self.made.lock();
        let living = made.get_mut(&kind)?;
        match living.gone.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => Some(living.id.clone()),
            _ => {
                made.remove(&kind);
                None
            }
        }
    }

    /// Raises the base unless it is there, and waits until it has imported all, half a second or so.
    pub(crate) async fn raise(&self, kind: Kind, interpreter: &Interpreter) -> Result<(), sandbox::Error> {
        let mut nth = self.raised.lock().await;
        if self.get(kind).is_some() {
            return Ok(());
        }
        *nth += 1;
        let id = kind.id(&self.tag, *nth);
        let raised = self.driver.raise(spec(&id, interpreter)).await?;
        let (tell, gone) = oneshot::channel();
        let ready = listen(&id, raised.output).and_then(|()| Receiver::from_owned_fd(raised.frames));
        let exit = raised.exit;
        let name = id.clone();
        tokio::spawn(async move {
            if let Ok(exit) = exit.await {
                tracing::info!(base = %name, ?exit, "a base ended");
            }
            let _ = tell.send(());
        });
        self.made.lock().insert(kind, Living { id: id.clone(), handle: raised.handle, gone });
        // Its one word. A copy that is asked for before is made when it comes to that.
        match ready {
            Ok(mut ready) => drop(tokio::time::timeout(READY_MAX, ready.read(&mut [0; 8])).await),
            Err(error) => tracing::warn!(base = %id, %error, "cannot hear what a base writes"),
        }
        Ok(())
    }

    /// Ends them all.
    pub(crate) fn close(&self) {
        self.made.lock().clear();
    }
}

fn spec(id: &str, interpreter: &Interpreter) -> Spec {
    let env =
        [("PYTHONPATH", "/var/runtime"), ("PATH", "/usr/bin:/bin"), ("TZ", ":UTC"), ("_LAMBDA_TELEMETRY_LOG_FD", "3")];
    let mut env: std::collections::BTreeMap<String, String> =
        env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    env.insert("LANG".to_owned(), crate::environment::language().to_owned());
    Spec {
        id: id.to_owned(),
        role: Role::Base,
        program: Program::Exec(python::command(interpreter, true)),
        env,
        cwd: "/".into(),
        mounts: interpreter.mounts(),
        limits: Limits {
            memory_bytes: MEMORY_BYTES,
            pids: PROCESSES_MAX,
            open_files: OPEN_FILES_MAX,
            file_bytes: u64::MAX >> 1,
            cpu_weight: 1024,
            cpu_quota: false,
        },
        network: Network::Own,
        listen: Vec::new(),
        image: None,
        runtime: None,
    }
}

/// A base has nothing to say but what went wrong with it.
fn listen(id: &str, pipe: OwnedFd) -> std::io::Result<()> {
    let mut lines = BufReader::new(Receiver::from_owned_fd(pipe)?).split(b'\n');
    let id = id.to_owned();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_segment().await {
            tracing::warn!(base = %id, "{}", String::from_utf8_lossy(&line));
        }
    });
    Ok(())
}
