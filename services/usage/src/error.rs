//! What operations of this room answer when they cannot do what was asked.

use wire::Fault;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Invalid(&'static str),
    /// Safe to try again.
    #[error("The usage cannot be read at the moment. Try again.")]
    Store(#[from] ::store::Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let text = error.to_string();
        match error {
            Error::Invalid(_) => Fault::new("ValidationException", 400, text),
            Error::Store(cause) => Fault::new("ServiceException", 503, text).because(cause),
        }
    }
}
