//! Why a sandbox could not be raised.

use serde::{Deserialize, Serialize};

/// Why a sandbox could not be raised. None of these is the program's own doing, except a program that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// The spec breaks a bound or cannot be: the text names the field.
    #[error("the sandbox's specification is not valid: {0}")]
    Invalid(String),
    /// As many sandboxes live, or wait to be raised, as the driver bears; try again later.
    #[error("there are {0} sandboxes already, which is the most this node bears")]
    Full(usize),
    /// The sandbox whose program was to be copied is not there, or not (yet) one that can be copied.
    #[error("there is no sandbox {0} to copy")]
    NoOrigin(String),
    /// The cell that was to be specialised is not there, or is an instance already.
    #[error("there is no cell {0} that waits")]
    NoCell(String),
    /// This machine does not let programs be copied into sandboxes, nor started before it is known what they run.
    #[error("programs are copied or started ahead only as root and with cgroups for memory and processes")]
    NoCopies,
    /// This machine leads nothing out of a sandbox, or the driver has no policy of this name; the text says which.
    #[error("there is no such network: {0}")]
    NoNetwork(String),
    /// A step of raising it failed: missing right, missing program, resources.
    #[error("the sandbox could not be raised: {step}: {reason}")]
    Raise { step: String, reason: String },
    /// The launcher does not start; the text says why.
    #[error("the sandbox launcher does not start: {0}")]
    Start(String),
    /// The launcher ended while this call waited, and so did the next ones. All its sandboxes ended too; the next call
    /// starts another.
    #[error("the sandbox launcher ended unexpectedly")]
    LauncherGone,
}

impl Error {
    /// Whether a second try may succeed: the launcher died, or what was being made was killed in the middle of a step.
    /// A program that cannot be executed stays so.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::LauncherGone => true,
            Self::Raise { step, .. } => !step.starts_with("execute "),
            _ => false,
        }
    }
}
