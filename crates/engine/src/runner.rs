//! What the rooms see of the engine: [`Runner`]. A room's tests put a fake behind it.

use crate::Version;
use async_trait::async_trait;
use base::{FunctionError, FunctionRef, Invocation, InvokeError, Outcome, Scope, Streamed};
use sandbox::HttpBody;
use std::path::PathBuf;

/// Runs functions. Implemented by [`crate::Engine`].
#[async_trait]
pub trait Runner: Send + Sync {
    /// Runs the function once. The run goes on if the caller stops waiting.
    async fn invoke(&self, call: Invocation) -> Result<Outcome, InvokeError>;

    /// As [`Runner::invoke`], but returns as soon as the response begins, and hands it on as it is made. What answers
    /// whole is one chunk.
    async fn stream(&self, call: Invocation) -> Result<Streamed, InvokeError> {
        self.invoke(call).await.map(Streamed::whole)
    }

    /// The way in for HTTP requests, if what `function` names takes them itself: a WebAssembly component. Which version
    /// answers is settled here.
    async fn entrance(&self, _function: &FunctionRef) -> Result<Option<Box<dyn Entrance>>, InvokeError> {
        Ok(None)
    }

    /// What the reference of a container image means now, checked; its layers are pulled by [`Runner::prepare`].
    async fn resolve(&self, uri: &str) -> Result<images::Image, images::Error>;

    /// Makes a version ready: its code unpacked, its runtime present. Called while the function is `Pending`, and safe
    /// to call again; a version that was never prepared is prepared by its first cold start.
    async fn prepare(&self, version: &Version) -> Result<(), PrepareError>;

    /// Ends the idle instances of the function's other revisions; those that are running end with their run. `None` as
    /// `keep_revision` ends all of them (the version was deleted).
    async fn retire(&self, scope: &Scope, name: &str, version: &str, keep_revision: Option<&str>);

    /// Keeps so many instances of each of these versions of a function ready, and none of its others. Calls beyond are
    /// served as all calls are.
    async fn provision(&self, scope: &Scope, name: &str, wanted: Vec<(Version, u32)>);

    /// How many instances of a version are ready always by now.
    async fn provisioned(&self, scope: &Scope, name: &str, version: &str) -> Provisioned;

    /// Calls at once of an account's functions that have neither reserved nor provisioned concurrency.
    async fn limit(&self, scope: &Scope, unreserved: u32);

    /// Whether functions can be in the network of this name; if not, the text says why, and what there is.
    fn network(&self, name: &str) -> Result<(), String>;

    /// The runtimes this node has, for `doctor` and for the error that names them.
    fn runtimes(&self) -> Vec<RuntimeReport>;
}

/// A function that takes an HTTP request as it is: the body streams in, the response streams out. For one request.
#[async_trait]
pub trait Entrance: Send {
    /// The run goes on if the caller stops waiting. `request` has a `Host` header.
    async fn serve(self: Box<Self>, request: http::Request<HttpBody>, request_id: &str) -> Result<Served, InvokeError>;
}

/// A run's response, or its failure before it had one. A failure after that breaks the body off.
pub type Served = Result<http::Response<HttpBody>, FunctionError>;

/// Instances that are kept ready always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Provisioned {
    /// Those that are there, and of them those that no call occupies.
    pub allocated: u32,
    pub idle: u32,
    /// The last attempt to make one failed; it is tried again.
    pub failing: bool,
}

/// Why a version cannot be made ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PrepareError {
    /// AWS's `StateReasonCode`: `InvalidRuntime`, `InvalidZipFileException`, `InvalidImage`, `ImageAccessDenied`, `InvalidConfiguration`,
    /// `InternalError`.
    pub code: &'static str,
    /// AWS's `StateReason`: what is wrong and what to do.
    pub message: String,
}

impl PrepareError {
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self { code: "InternalError", message: message.into() }
    }

    /// A version that cannot be prepared at its first call: AWS would not have let it become active.
    pub(crate) fn at_a_call(self) -> InvokeError {
        match self.code {
            "InternalError" => InvokeError::Unavailable(self.message),
            _ => InvokeError::NotReady(self.message),
        }
    }
}

/// A runtime this node can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeReport {
    /// AWS's identifier: `python3.11`, `nodejs22.x`, `provided.al2023`.
    pub name: String,
    /// The interpreter, where there is one.
    pub program: Option<PathBuf>,
    /// What a user should know: a stand-in for another version, boto3 not installed yet.
    pub note: Option<String>,
}
