//! What operations of this room answer when they cannot do what was asked, with SQS's codes and messages.

use wire::Fault;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("The specified queue does not exist.")]
    NoSuchQueue,
    #[error("A queue already exists with the same name and a different value for attribute {0}")]
    NameExists(String),
    #[error("You must wait 60 seconds after deleting a queue before you can create another with the same name.")]
    DeletedRecently,
    #[error("Only one PurgeQueue operation on {0} is allowed every 60 seconds.")]
    PurgeInProgress(String),
    #[error("Unknown Attribute {0}.")]
    AttributeName(String),
    /// `InvalidAttributeValue`, with its whole text.
    #[error("{0}")]
    AttributeValue(String),
    /// `InvalidParameterValue`, with its whole text.
    #[error("{0}")]
    Invalid(String),
    #[error("The request must contain the parameter {0}.")]
    Missing(String),
    #[error(
        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | \
         #x10000 to #x10FFFF"
    )]
    Contents,
    #[error("There should be at least one {0} in the request.")]
    EmptyBatch(&'static str),
    #[error("Maximum number of entries per request are {max}. You have sent {sent}.")]
    TooManyEntries { sent: usize, max: usize },
    #[error("Id {0} repeated.")]
    NotDistinct(String),
    #[error(
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 \
         letters long."
    )]
    EntryId,
    #[error("Batch requests cannot be longer than {max} bytes. You have sent {sent} bytes.")]
    BatchTooLong { sent: usize, max: usize },
    #[error("The input receipt handle is invalid.")]
    Handle,
    #[error("The specified message isn't in flight.")]
    NotInFlight,
    /// `OverLimit`, with its whole text.
    #[error("{0}")]
    OverLimit(String),
    /// `ResourceNotFoundException` of move tasks, with its whole text.
    #[error("{0}")]
    NotFound(String),
    /// `UnsupportedOperation`, with its whole text.
    #[error("{0}")]
    Unsupported(String),
    /// Safe to try again.
    #[error("{}", .0.told("The service is unavailable for the moment. Try again."))]
    Store(#[from] ::store::Error),
}

impl Error {
    pub fn invalid(value: impl std::fmt::Display, parameter: &str, reason: &str) -> Self {
        Self::Invalid(format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}"))
    }

    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchQueue => "QueueDoesNotExist",
            Self::NameExists(_) => "QueueNameExists",
            Self::DeletedRecently => "QueueDeletedRecently",
            Self::PurgeInProgress(_) => "PurgeQueueInProgress",
            Self::AttributeName(_) => "InvalidAttributeName",
            Self::AttributeValue(_) => "InvalidAttributeValue",
            Self::Invalid(_) => "InvalidParameterValue",
            Self::Missing(_) => "MissingParameter",
            Self::Contents => "InvalidMessageContents",
            Self::EmptyBatch(_) => "EmptyBatchRequest",
            Self::TooManyEntries { .. } => "TooManyEntriesInBatchRequest",
            Self::NotDistinct(_) => "BatchEntryIdsNotDistinct",
            Self::EntryId => "InvalidBatchEntryId",
            Self::BatchTooLong { .. } => "BatchRequestTooLong",
            Self::Handle => "ReceiptHandleIsInvalid",
            Self::NotInFlight => "MessageNotInflight",
            Self::OverLimit(_) => "OverLimit",
            Self::NotFound(_) => "ResourceNotFoundException",
            Self::Unsupported(_) => "UnsupportedOperation",
            Self::Store(_) => "ServiceUnavailable",
        }
    }

    /// Is it for the sender to put right?
    pub fn sender_fault(&self) -> bool {
        !matches!(self, Self::Store(_))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let status = match &error {
            Error::PurgeInProgress(_) | Error::OverLimit(_) => 403,
            Error::NotFound(_) => 404,
            Error::Store(_) => 503,
            _ => 400,
        };
        let fault = Fault::new(error.code(), status, error.to_string());
        match error {
            Error::Store(cause) => fault.because(cause),
            _ => fault,
        }
    }
}
