//! A raised sandbox with all that belongs to it: its Runtime API, its way to the platform, its output, its end.

use crate::desk::Desk;
use crate::log::Log;
use crate::pipes::Pipes;
use crate::relay::{self, Platform};
use crate::runtime_api;
use crate::session::Init;
use base::port::Clock;
use bytes::Bytes;
use sandbox::{Exit, Handle, Raised, Status};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

/// An answer that was sent before the runtime ended may still be on its way through the sockets for so long.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(50);

/// Dropping it kills the sandbox. What it still wrote reaches the log, and its place on the machine is free when it is
/// gone. (A zygote has no place: it runs nothing.)
pub(crate) struct Live {
    pub desk: Arc<Desk>,
    /// Until it is waited for.
    pub init: Option<oneshot::Receiver<Init>>,
    pub pipes: Arc<Pipes>,
    pub handle: Handle,
    exit: watch::Receiver<Option<Exit>>,
    /// As of the end of the last run.
    network_bytes: AtomicU64,
}

/// The log ends when nobody writes to it any more.
pub(crate) struct Writer(pub Arc<Log>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What the driver raised, with the listeners of its Runtime API and its platform.
pub(crate) struct Ends {
    pub raised: Raised,
    pub runtime: std::net::TcpListener,
    /// Where the platform is to be reached.
    pub platform: Option<std::net::TcpListener>,
    /// What it is told that it runs, where it was started before that was known.
    pub calling: Option<Bytes>,
    /// Calls that it takes at once.
    pub calls: usize,
}

impl Live {
    /// Takes over what the driver raised.
    pub(crate) fn new(
        ends: Ends,
        writer: Arc<Writer>,
        place: Option<Arc<OwnedSemaphorePermit>>,
        platform: Platform,
        clock: Arc<dyn Clock>,
        tasks: &TaskTracker,
    ) -> io::Result<Self> {
        let Ends { raised, runtime, platform: outward, calling, calls } = ends;
        let Raised { output, frames, exit, handle, .. } = raised;
        let guard = KillOnDrop(Some(handle.clone()));
        let log = writer.0.clone();
        let pipes = Pipes::new(output, frames, log.clone(), clock.clone())?;
        let (desk, init) = Desk::new(&log, calling, calls);
        let mut servers = JoinSet::new();
        servers.spawn(runtime_api::serve(TcpListener::from_std(runtime)?, desk.clone(), clock.clone()));
        if let Some(outward) = outward {
            servers.spawn(relay::serve(TcpListener::from_std(outward)?, platform, clock.clone()));
        }
        let (told, ended) = watch::channel(None);
        tasks.spawn(watch_exit(exit, told, pipes.clone(), (writer, place), servers, clock));
        guard.disarm();
        let (init, network_bytes) = (Some(init), AtomicU64::new(0));
        Ok(Self { desk, init, pipes, handle, exit: ended, network_bytes })
    }

    pub(crate) fn exited(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// What went over its network since this was asked last. Calls at the same time share it in the order in which they end.
    pub(crate) fn carried(&self) -> u64 {
        let bytes = self.handle.network_bytes();
        bytes.saturating_sub(self.network_bytes.fetch_max(bytes, Ordering::Relaxed))
    }

    pub(crate) fn exit(&self) -> watch::Receiver<Option<Exit>> {
        self.exit.clone()
    }

    /// Peak memory so far, in megabytes, rounded up.
    pub(crate) fn memory_mb_peak(&self) -> u32 {
        let bytes = self.exited().map_or_else(|| self.handle.memory_bytes_peak(), |exit| exit.memory_bytes_peak);
        u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.handle.kill();
    }
}

/// Waits for the end of a sandbox.
pub(crate) async fn ended(exit: &mut watch::Receiver<Option<Exit>>) -> Exit {
    match exit.wait_for(Option::is_some).await {
        Ok(exit) => exit.unwrap_or(GONE),
        Err(_) => GONE,
    }
}

/// The driver gave up without a word.
const GONE: Exit = Exit { status: Status::Signalled(9), out_of_memory: false, memory_bytes_peak: 0, cpu_us: 0 };

/// Reads what the sandbox writes until it has ended and all is read; then says so. Its servers outlive it: a runtime
/// that is being killed must not see its connections close and complain of that in the function's log, and what it sent
/// last is still in them.
async fn watch_exit(
    exit: oneshot::Receiver<Exit>,
    told: watch::Sender<Option<Exit>>,
    pipes: Arc<Pipes>,
    held: (Arc<Writer>, Option<Arc<OwnedSemaphorePermit>>),
    servers: JoinSet<()>,
    clock: Arc<dyn Clock>,
) {
    let exit = tokio::select! {
        exit = exit => exit.unwrap_or(GONE),
        () = forever(pipes.clone().pump()) => GONE,
    };
    pipes.drain();
    let _ = told.send(Some(exit));
    drop(held);
    clock.sleep(LAST_WORDS).await;
    drop(servers);
}

async fn forever(work: impl Future<Output = ()>) {
    work.await;
    std::future::pending().await
}

struct KillOnDrop(Option<Handle>);

impl KillOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.kill();
        }
    }
}
