//! What operations of this room answer when they cannot do what was asked, with SNS's codes and messages.

use wire::Fault;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// `NotFound`; the text says what: "Topic", "Subscription".
    #[error("{0} does not exist")]
    NotFound(&'static str),
    /// `ResourceNotFound`, of tags.
    #[error("Resource does not exist")]
    NoResource,
    #[error("Invalid parameter: {0}")]
    Invalid(String),
    /// Of a message attribute, with the whole text.
    #[error("{0}")]
    Value(String),
    #[error("Filter policies of a topic are at most {0}.")]
    TooManyFilters(usize),
    #[error("Subscriptions of a topic are at most {0} here.")]
    TooManySubscriptions(usize),
    #[error("Topics of an account in a region are at most {0} here.")]
    TooManyTopics(usize),
    #[error("Could not complete request: tag quota of per resource exceeded")]
    TooManyTags,
    #[error("The batch request doesn't contain any entries.")]
    EmptyBatch,
    #[error("The batch request contains more entries than permissible.")]
    TooManyEntries,
    #[error("Two or more batch entries in the request have the same Id.")]
    NotDistinct,
    #[error("The Id of a batch entry in a batch request doesn't abide by the specification.")]
    EntryId,
    #[error("The length of all the batch messages put together is more than the limit.")]
    BatchTooLong,
    #[error("{0}")]
    Unauthorized(String),
    /// Something the API has and Wadi lacks, by name.
    #[error("Wadi does not have {0} yet.")]
    Lacking(String),
    /// Safe to try again.
    #[error("{}", .0.told("The service cannot complete the request."))]
    Store(#[from] ::store::Error),
}

impl Error {
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// Of a parameter, and why.
    pub fn parameter(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::Invalid(format!("{name} Reason: {reason}"))
    }

    pub fn lacking(what: impl Into<String>) -> Self {
        Self::Lacking(what.into())
    }

    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "NotFound",
            Self::NoResource => "ResourceNotFound",
            Self::Invalid(_) | Self::Lacking(_) => "InvalidParameter",
            Self::Value(_) => "ParameterValueInvalid",
            Self::TooManyFilters(_) => "FilterPolicyLimitExceeded",
            Self::TooManySubscriptions(_) => "SubscriptionLimitExceeded",
            Self::TooManyTopics(_) => "TopicLimitExceeded",
            Self::TooManyTags => "TagLimitExceeded",
            Self::EmptyBatch => "EmptyBatchRequest",
            Self::TooManyEntries => "TooManyEntriesInBatchRequest",
            Self::NotDistinct => "BatchEntryIdsNotDistinct",
            Self::EntryId => "InvalidBatchEntryId",
            Self::BatchTooLong => "BatchRequestTooLong",
            Self::Unauthorized(_) => "AuthorizationError",
            Self::Store(_) => "InternalError",
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
            Error::NotFound(_) | Error::NoResource => 404,
            Error::TooManyFilters(_)
            | Error::TooManySubscriptions(_)
            | Error::TooManyTopics(_)
            | Error::Unauthorized(_) => 403,
            Error::Store(_) => 500,
            _ => 400,
        };
        let fault = Fault::new(error.code(), status, error.to_string());
        match error {
            Error::Store(cause) => fault.because(cause),
            _ => fault,
        }
    }
}
