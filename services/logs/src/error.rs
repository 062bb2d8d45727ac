//! What operations of this room answer when they cannot do what was asked, with CloudWatch Logs' codes and messages.

use wire::Fault;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("The specified log group does not exist.")]
    NoSuchGroup,
    #[error("The specified log stream does not exist.")]
    NoSuchStream,
    #[error("The specified log group already exists")]
    GroupExists,
    #[error("The specified log stream already exists")]
    StreamExists,
    /// The input breaks a rule; the text says which.
    #[error("{0}")]
    Invalid(String),
    /// Something the API has and Wadi lacks, by name: a parameter, a pattern language.
    #[error("Wadi does not have {0} yet.")]
    Lacking(&'static str),
    #[error("The resource would have more than 50 tags.")]
    TooManyTags,
    /// Safe to try again.
    #[error("{}", .0.told("The service cannot complete the request."))]
    Store(#[from] ::store::Error),
}

impl Error {
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let (code, status) = match &error {
            Error::NoSuchGroup | Error::NoSuchStream => ("ResourceNotFoundException", 400),
            Error::GroupExists | Error::StreamExists => ("ResourceAlreadyExistsException", 400),
            Error::Invalid(_) | Error::Lacking(_) => ("InvalidParameterException", 400),
            Error::TooManyTags => ("TooManyTagsException", 400),
            Error::Store(_) => ("ServiceUnavailableException", 503),
        };
        let fault = Fault::new(code, status, error.to_string());
        match error {
            Error::Store(cause) => fault.because(cause),
            _ => fault,
        }
    }
}
