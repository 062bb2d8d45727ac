//! What operations of this room answer when they cannot do what was asked, with EventBridge's codes and messages.

use wire::Fault;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text says what.
    #[error("{0}")]
    NotFound(String),
    /// The text says what: "Event bus x".
    #[error("{0} already exists.")]
    Exists(String),
    #[error("{0} is not in a state in which that can be done.")]
    Status(String),
    /// The input breaks a rule; the text says which.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Pattern(#[from] ::rules::pattern::PatternError),
    #[error("The requested resource exceeds the maximum number allowed.")]
    TooMany,
    #[error("The policy of the event bus would be longer than 10240 bytes.")]
    PolicyTooLong,
    #[error("The resource was changed by another request meanwhile.")]
    Changed,
    /// Something the API has and Wadi lacks, by name.
    #[error("Wadi does not have {0} yet.")]
    Lacking(&'static str),
    /// Safe to try again.
    #[error("{}", .0.told("The service cannot complete the request."))]
    Store(#[from] ::store::Error),
}

impl Error {
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}

pub type Result<T> = std::result::Result<T, Error>;

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let (code, status) = match &error {
            Error::NotFound(_) => ("ResourceNotFoundException", 400),
            Error::Exists(_) => ("ResourceAlreadyExistsException", 400),
            Error::Status(_) => ("IllegalStatusException", 400),
            Error::Invalid(_) | Error::Lacking(_) => ("ValidationException", 400),
            Error::Pattern(_) => ("InvalidEventPatternException", 400),
            Error::Changed => ("ConcurrentModificationException", 400),
            Error::TooMany => ("LimitExceededException", 400),
            Error::PolicyTooLong => ("PolicyLengthExceededException", 400),
            Error::Store(_) => ("InternalException", 500),
        };
        let fault = Fault::new(code, status, error.to_string());
        match error {
            Error::Store(cause) => fault.because(cause),
            _ => fault,
        }
    }
}
