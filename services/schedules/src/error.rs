//! What operations of this room answer when they cannot do what was asked, with EventBridge Scheduler's codes and
//! messages.

use wire::Fault;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Schedule {0} does not exist.")]
    NoSchedule(String),
    #[error("Schedule group {0} does not exist.")]
    NoGroup(String),
    #[error("Schedule {0} already exists.")]
    ScheduleExists(String),
    #[error("Schedule group {0} already exists.")]
    GroupExists(String),
    /// The input breaks a rule; the text says which.
    #[error("{0}")]
    Invalid(String),
    #[error("The account has as many of these as it may have.")]
    TooMany,
    /// Something the API has and Wadi lacks, by name.
    #[error("Wadi does not have {0} yet.")]
    Lacking(String),
    /// Safe to try again.
    #[error("{}", .0.told("The service cannot complete the request."))]
    Store(#[from] ::store::Error),
}

pub type Result<T> = std::result::Result<T, Error>;

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let (code, status) = match &error {
            Error::NoSchedule(_) | Error::NoGroup(_) => ("ResourceNotFoundException", 404),
            Error::ScheduleExists(_) | Error::GroupExists(_) => ("ConflictException", 409),
            Error::Invalid(_) | Error::Lacking(_) => ("ValidationException", 400),
            Error::TooMany => ("ServiceQuotaExceededException", 402),
            Error::Store(_) => ("InternalServerException", 500),
        };
        let fault = Fault::new(code, status, error.to_string());
        match error {
            Error::Store(cause) => fault.because(cause),
            _ => fault,
        }
    }
}
