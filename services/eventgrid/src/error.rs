//! Refusals, in the form in which Azure's services tell them: `{"error": {"code", "message"}}`.

use http::{HeaderValue, Response, StatusCode, header};
use room::{Body, full};
use serde_json::json;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Unauthorized(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("The method is not supported for this resource.")]
    Method,
    /// Safe to try again.
    #[error("{}", .0.told("The service cannot complete the request."))]
    Store(#[from] ::store::Error),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn bad(text: impl ToString) -> Self {
        Self::BadRequest(text.to_string())
    }

    pub fn response(&self) -> Response<Body> {
        let (code, status) = match self {
            Error::BadRequest(_) => ("BadRequest", StatusCode::BAD_REQUEST),
            Error::Unauthorized(_) => ("Unauthorized", StatusCode::UNAUTHORIZED),
            Error::Forbidden(_) => ("AuthorizationFailed", StatusCode::FORBIDDEN),
            Error::NotFound(_) => ("ResourceNotFound", StatusCode::NOT_FOUND),
            Error::Conflict(_) => ("Conflict", StatusCode::CONFLICT),
            Error::TooLarge(_) => ("RequestEntityTooLarge", StatusCode::PAYLOAD_TOO_LARGE),
            Error::Method => ("MethodNotAllowed", StatusCode::METHOD_NOT_ALLOWED),
            Error::Store(cause) => {
                tracing::warn!(%cause, "Event Grid could not serve a request");
                ("ServiceUnavailable", StatusCode::SERVICE_UNAVAILABLE)
            }
        };
        answer(status, &json!({"error": {"code": code, "message": self.to_string()}}))
    }
}

pub fn answer(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}
