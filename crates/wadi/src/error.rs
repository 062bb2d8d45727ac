//! What went wrong, in words for the person at the terminal: what happened, and what to do next.

use miette::Diagnostic;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of a verb. `exit_code` is 1 for "the thing failed" and 2 for "it was asked wrongly".
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    #[error("no node answers at {endpoint}")]
    #[diagnostic(help("start one with `wadi up`, or name another with --endpoint ({cause})"))]
    NoNode { endpoint: String, cause: String },
    /// The API refused; `code` is AWS's, e.g. `ResourceNotFoundException`.
    #[error("{operation}: {message} ({code})")]
    Api {
        operation: &'static str,
        code: String,
        status: u16,
        message: String,
        #[help]
        help: Option<String>,
    },
    #[error("{message}")]
    Told {
        message: String,
        #[help]
        help: Option<String>,
    },
    #[error("{message}")]
    Usage {
        message: String,
        #[help]
        help: Option<String>,
    },
    /// The verb has already said what failed; only the exit code is left to set.
    #[error("failed")]
    Shown,
}

impl Error {
    /// Something failed; `help` says what to do next.
    pub fn told(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Told { message: message.into(), help: Some(help.into()) }
    }

    /// Something failed and there is nothing useful to advise.
    pub fn bare(message: impl Into<String>) -> Self {
        Self::Told { message: message.into(), help: None }
    }

    /// The command line asks for something that cannot be.
    pub fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), help: Some(help.into()) }
    }

    /// The API's error code, if the API refused.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Api { code, .. } => Some(code),
            _ => None,
        }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            _ => 1,
        }
    }

    /// Adds advice to an API refusal with this code.
    #[must_use]
    pub fn advise(mut self, on: &str, advice: impl Into<String>) -> Self {
        if let Self::Api { code, help, .. } = &mut self
            && code == on
        {
            *help = Some(advice.into());
        }
        self
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self::bare(format!("{error:#}"))
    }
}

/// Says which file an IO error is about.
pub fn at(path: &std::path::Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |e| Error::bare(format!("{}: {e}", path.display()))
}
