//! What can go wrong, with S3's codes and messages; the inner cause never leaves the room.

use s3s::{S3Error, S3ErrorCode};
use std::borrow::Cow;

/// An operation's failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A refusal in S3's own words.
    #[error("{code}: {message}")]
    Refused { code: &'static str, message: Cow<'static, str> },
    /// A precondition of a read says the client's copy is current; carries the headers a 304 must have.
    #[error("not modified")]
    NotModified(Box<http::HeaderMap>),
    /// The bytes behind a record went away while they were being opened: read the record again.
    #[error("the object changed while it was opened")]
    Vanished,
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A failure of ours.
    #[error("{0}")]
    Internal(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refusal with S3's `code` and `message`.
pub fn refused(code: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
    Error::Refused { code, message: message.into() }
}

/// Something S3 has and Wadi has not: the text names it.
pub fn not_implemented(what: impl std::fmt::Display) -> Error {
    refused("NotImplemented", format!("Wadi does not have {what} yet."))
}

pub fn no_such_bucket() -> Error {
    refused("NoSuchBucket", "The specified bucket does not exist")
}

pub fn no_such_key() -> Error {
    refused("NoSuchKey", "The specified key does not exist.")
}

pub fn no_such_upload() -> Error {
    refused(
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or \
         completed.",
    )
}

pub fn access_denied() -> Error {
    refused("AccessDenied", "Access Denied")
}

pub fn precondition_failed() -> Error {
    refused("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
}

pub fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Error {
    refused("InvalidArgument", message)
}

pub fn invalid_request(message: impl Into<Cow<'static, str>>) -> Error {
    refused("InvalidRequest", message)
}

/// Statuses of codes that `s3s` does not know.
fn status_of(code: &str) -> http::StatusCode {
    match code {
        "XAmzContentSHA256Mismatch" | "BadRequest" | "InvalidToken" | "MalformedTrailerError" => {
            http::StatusCode::BAD_REQUEST
        }
        "ConditionalRequestConflict" => http::StatusCode::CONFLICT,
        _ => http::StatusCode::BAD_REQUEST,
    }
}

fn s3_error(code: &'static str, message: Cow<'static, str>) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or_else(|| S3ErrorCode::Custom(code.into()));
    let unknown = code.status_code().is_none();
    let status = status_of(code.as_str());
    let mut error = S3Error::with_message(code, message);
    if unknown {
        error.set_status_code(status);
    }
    error
}

impl From<Error> for S3Error {
    fn from(error: Error) -> S3Error {
        match error {
            Error::Refused { code, message } => s3_error(code, message),
            Error::NotModified(headers) => {
                let mut error = S3Error::new(S3ErrorCode::NotModified);
                error.set_headers(*headers);
                error
            }
            Error::Store(store::Error::Conflict) => s3_error(
                "OperationAborted",
                "A conflicting conditional operation is currently in progress against this resource. Try again.".into(),
            ),
            Error::Store(store::Error::Full) => {
                s3_error("ServiceUnavailable", "Storage is full: free some space and try again.".into())
            }
            Error::Vanished | Error::Store(store::Error::Unavailable(_)) => {
                tracing::warn!(%error, "storage did not answer");
                s3_error("ServiceUnavailable", "Reduce your request rate.".into())
            }
            Error::Store(_) | Error::Internal(_) => {
                tracing::error!(%error, "an operation failed");
                s3_error("InternalError", "We encountered an internal error. Please try again.".into())
            }
        }
    }
}
