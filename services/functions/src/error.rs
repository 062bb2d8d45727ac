//! What the functions room answers when it cannot do what was asked: AWS's codes, statuses and texts.

use base::InvokeError;
use engine::package::PackageError;
use wire::Fault;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The public face is code, status and message; an inner cause goes to the log only.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `ResourceNotFoundException`, with its whole text.
    #[error("{0}")]
    NotFound(String),
    #[error("The function has no published versions available.")]
    NoPublishedVersion,
    #[error("The maximum number of capacity providers for your account has been exceeded.")]
    TooManyProviders,
    #[error("The maximum number of function versions of a single capacity provider has been exceeded.")]
    TooManyVersionsOnProvider,
    #[error("No Provisioned Concurrency Config found for this function")]
    NoProvisionedConcurrency,
    /// `ResourceConflictException`: it is there already, or not in a state for this.
    #[error("{0}")]
    Conflict(String),
    /// `InvalidParameterValueException`.
    #[error("{0}")]
    Invalid(String),
    /// `ValidationException`: a constraint of the model.
    #[error("{0}")]
    Validation(String),
    /// `PreconditionFailedException`: the caller's RevisionId is not the latest; the text is the operation to call.
    #[error(
        "The Revision Id provided does not match the latest Revision Id. Call the {0} API to retrieve the latest \
         Revision Id"
    )]
    Precondition(&'static str),
    /// `AccessDeniedException`: the registry lets this node not have the image.
    #[error("{0}")]
    ImageDenied(String),
    /// `ResourceInUseException`
    #[error("{0}")]
    InUse(String),
    #[error("Code storage limit exceeded.")]
    CodeStorageExceeded,
    #[error("Request must be smaller than {max} bytes for the {operation} operation")]
    TooLarge { max: u64, operation: &'static str },
    /// `InvalidRequestContentException`.
    #[error("{0}")]
    Content(String),
    #[error("The final policy size ({bytes}) is bigger than the limit ({max}).")]
    PolicyTooLong { bytes: usize, max: usize },
    #[error("Rate Exceeded.")]
    Throttled { reason: &'static str },
    /// `ServiceException`: ours, safe to try again; the text is public.
    #[error("{0}")]
    Service(String),
    #[error("{}", .0.told("The service is unavailable for the moment. Try again."))]
    Store(#[from] store::Error),
}

impl Error {
    /// An option that AWS has and Wadi lacks: refused, never ignored.
    pub fn unsupported(option: &str) -> Self {
        Self::Invalid(format!("Wadi does not support {option} yet. Remove it from the request."))
    }

    pub fn function_not_found(arn: impl std::fmt::Display) -> Self {
        Self::NotFound(format!("Function not found: {arn}"))
    }

    /// A constraint of the model, worded as AWS does.
    pub fn constraint(value: impl std::fmt::Display, member: &str, constraint: &str) -> Self {
        Self::Validation(format!(
            "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"
        ))
    }

    fn face(&self) -> (&'static str, u16) {
        match self {
            Error::NotFound(_) => ("ResourceNotFoundException", 404),
            Error::NoPublishedVersion => ("NoPublishedVersionException", 400),
            Error::TooManyProviders => ("CapacityProviderLimitExceededException", 400),
            Error::TooManyVersionsOnProvider => ("FunctionVersionsPerCapacityProviderLimitExceededException", 400),
            Error::NoProvisionedConcurrency => ("ProvisionedConcurrencyConfigNotFoundException", 404),
            Error::Conflict(_) => ("ResourceConflictException", 409),
            Error::Invalid(_) => ("InvalidParameterValueException", 400),
            Error::Validation(_) => ("ValidationException", 400),
            Error::ImageDenied(_) => ("AccessDeniedException", 403),
            Error::InUse(_) => ("ResourceInUseException", 400),
            Error::Precondition(_) => ("PreconditionFailedException", 412),
            Error::CodeStorageExceeded => ("CodeStorageExceededException", 400),
            Error::TooLarge { .. } => ("RequestTooLargeException", 413),
            Error::Content(_) => ("InvalidRequestContentException", 400),
            Error::PolicyTooLong { .. } => ("PolicyLengthExceededException", 400),
            Error::Throttled { .. } => ("TooManyRequestsException", 429),
            Error::Service(_) | Error::Store(_) => ("ServiceException", 500),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let (code, status) = error.face();
        let whose = if status < 500 { "User" } else { "Service" };
        let fault = Fault::new(code, status, error.to_string()).with("Type", whose);
        match error {
            Error::Throttled { reason } => fault.with("Reason", reason),
            Error::Store(cause) => fault.because(cause),
            _ => fault,
        }
    }
}

impl From<InvokeError> for Error {
    fn from(error: InvokeError) -> Self {
        match error {
            InvokeError::NotFound(arn) => Self::function_not_found(arn),
            InvokeError::Unpublished => Self::NoPublishedVersion,
            InvokeError::Throttled { reason } => Self::Throttled { reason },
            InvokeError::NotReady(message) => Self::Conflict(message),
            InvokeError::Unavailable(message) => Self::Service(message),
        }
    }
}

impl From<PackageError> for Error {
    fn from(error: PackageError) -> Self {
        match error {
            PackageError::Io(cause) => Self::Service(format!("The package could not be read: {cause}")),
            refused => Self::Invalid(refused.to_string()),
        }
    }
}
