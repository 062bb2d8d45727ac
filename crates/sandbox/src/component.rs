//! The contract for WebAssembly components: a driver compiles one once and runs it in a fresh instance for each request.

use async_trait::async_trait;
use base::network::Policy;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use tokio::sync::oneshot;

/// A streaming HTTP body, in either direction.
pub type HttpBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Has components compiled, by another process, and keeps what came of it.
#[async_trait]
pub trait Components: Send + Sync {
    /// Makes the component in this file ready to run here: from the cache, or by having it compiled, which takes seconds if it
    /// is large.
    async fn load(&self, component: &Path) -> Result<Arc<dyn Component>, ComponentError>;

    /// The machine code of the component in this file, for the process of this same program that runs it elsewhere on this
    /// machine. What cannot run is refused as [`Components::load`] refuses it, and nothing of it is loaded here.
    async fn compiled(&self, component: &Path) -> Result<MachineCode, ComponentError>;

    /// The engine and its version, `wasmtime 48`: what the functions' logs call the runtime.
    fn engine(&self) -> &str;

    /// Instances that there can be at once.
    fn instances_max(&self) -> usize;
}

/// Compiled code in a file that stays as it is.
pub struct MachineCode {
    pub file: File,
    /// The file's, in hexadecimal digits.
    pub sha256: String,
}

/// Why a component is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComponentError {
    /// It is not what a function can be; the text says what it is and what to do.
    #[error("{0}")]
    Refused(String),
    /// Ours: the disk is full, or memory is.
    #[error("{0}")]
    Internal(String),
}

/// What a component is made to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// `wasi:http/proxy`: it answers HTTP requests.
    Http,
    /// `wasi:cli/command`: it reads standard input and writes standard output.
    Command,
}

/// A compiled component. Any number of its runs go on at once, each in an instance of its own, which nothing outlives.
///
/// Dropping the future of a run ends the run. A guest that computes without end yields every few milliseconds, so the
/// future can be given up at any time.
pub trait Component: Send + Sync {
    fn world(&self) -> World;

    /// Instantiates it once and throws the instance away: does it start at all within these limits?
    fn rehearse(&self, run: ComponentRun) -> BoxFuture<'static, Ended>;

    /// Answers one request. The response goes to `head` as soon as the guest has set it, its body as the guest writes it;
    /// the future resolves when the guest has ended.
    fn serve(
        &self,
        run: ComponentRun,
        request: http::Request<HttpBody>,
        head: oneshot::Sender<http::Response<HttpBody>>,
    ) -> BoxFuture<'static, Ended>;

    /// Runs it as a command and gives what it wrote to its standard output, [`Fault::OutputTooLarge`] beyond `output_max`.
    fn command(&self, run: ComponentRun, input: Bytes, output_max: usize) -> BoxFuture<'static, (Ended, Bytes)>;
}

/// What one run has and may do.
#[derive(Clone)]
pub struct ComponentRun {
    /// The whole environment.
    pub env: Arc<[(String, String)]>,
    /// More of it, for this run alone.
    pub env_more: Vec<(String, String)>,
    /// Of all its linear memories and tables together.
    pub memory_bytes: usize,
    /// Where the most that they have taken so far is noted.
    pub memory_peak: Arc<AtomicUsize>,
    /// Where the bytes of its HTTP requests beyond the platform are counted, both ways.
    pub network_bytes: Arc<AtomicU64>,
    /// A directory of the host that it sees read-only as /var/task; it has no other.
    pub task: Option<Arc<PathBuf>>,
    /// The platform, as it is seen from inside; `None` where it is not to be reached.
    pub platform: Option<Inside>,
    pub beyond: Beyond,
    /// Where its standard error goes, and its standard output unless that is the answer.
    pub output: Arc<dyn Output>,
}

/// The platform: inside it is `127.0.0.1`, `localhost` and all names below that, at `port`; really it is the gate, once that
/// listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inside {
    pub port: u16,
    pub gate: Option<SocketAddr>,
}

/// What a component can reach beside the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// What the policy says; nothing with [`Policy::NONE`].
    Policy(Arc<Policy>),
    /// The host's network, and what that reaches.
    Host,
}

/// Takes what a run writes.
pub trait Output: Send + Sync {
    fn write(&self, bytes: &[u8]);
    /// Whether more may be written now; until then the guest waits for [`Self::room`].
    fn has_room(&self) -> bool;
    fn room(&self) -> BoxFuture<'_, ()>;
}

/// How a run ended.
pub type Ended = Result<(), Fault>;

/// Why a run did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It did what WebAssembly does not allow, `unreachable` included; the text says what, in the engine's words.
    Trap(String),
    /// It wanted more memory than it may have, and ended over it.
    OutOfMemory,
    /// It exited with this status; 0 where an answer was due.
    Exit(i32),
    /// It answered the request with an error instead of a response.
    Declined(String),
    /// Its standard output is larger than what was allowed.
    OutputTooLarge,
    /// There is no instance left for it: too many run at once.
    Full,
}
