//! Responses of runtimes that stream: chunked, with an error, if there is one, in the trailers.

use super::{ERROR_TYPE, RESPONSE, Reply, accept, failure, header, refuse, too_large, truncated};
use crate::failure::{Failure, RESPONSE_BYTES_MAX};
use crate::outlet::{Full, Outlet};
use crate::session::{Answer, Session};
use base::Head;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::json;

/// The error document, in base64.
pub(crate) const ERROR_BODY: &str = "lambda-runtime-function-error-body";
pub(crate) const DEFAULT_TYPE: &str = "application/octet-stream";

/// Hands the response on as it comes where the caller wants that, else collects it as if it had come whole.
pub(super) async fn response(session: &Session, id: &str, request: Request<Incoming>) -> Reply {
    let reply = match session.begin(id, RESPONSE) {
        Ok(reply) => reply,
        Err(refusal) => return refuse(&refusal),
    };
    let answer = match &reply.outlet {
        Some(outlet) => hand_on(outlet, request).await,
        None => collect(session, request).await,
    };
    let said = match &answer {
        Ok(_) | Err(Failure::Reported { .. }) => accept(Ok(())),
        Err(Failure::TooLarge) => too_large(RESPONSE_BYTES_MAX as u64),
        Err(Failure::StreamTooLarge { bytes_max }) => too_large(*bytes_max),
        Err(_) => truncated(),
    };
    session.end(reply, answer);
    said
}

/// The response begins with its first byte: what fails before that is an error and no response. It is whole with its
/// last, whatever the runtime does after that.
async fn hand_on(outlet: &Outlet, request: Request<Incoming>) -> Answer {
    let content_type = header(request.headers(), CONTENT_TYPE.as_str()).unwrap_or_else(|| DEFAULT_TYPE.into());
    let head = Head::Payload { content_type: Some(content_type) };
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| Failure::Truncated)?.into_data() {
            Ok(piece) if piece.is_empty() => {}
            Ok(piece) => outlet.write(&head, piece).await.map_err(|full| match full {
                Full::TooLarge => Failure::StreamTooLarge { bytes_max: outlet.bytes_max() },
                Full::Over => Failure::Truncated,
            })?,
            Err(trailers) => reported(trailers.trailers_ref())?,
        }
    }
    outlet.finish(&head);
    Ok(Bytes::new())
}

async fn collect(session: &Session, request: Request<Incoming>) -> Answer {
    let _turn = session.body_turn.lock().await;
    match Limited::new(request.into_body(), RESPONSE_BYTES_MAX).collect().await {
        Ok(collected) => {
            reported(collected.trailers())?;
            Ok(collected.to_bytes())
        }
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::TooLarge),
        Err(_) => Err(Failure::Truncated),
    }
}

/// The error in the trailers.
fn reported(trailers: Option<&HeaderMap>) -> Result<(), Failure> {
    let Some(trailers) = trailers else { return Ok(()) };
    let Some(error_type) = header(trailers, ERROR_TYPE) else { return Ok(()) };
    let body = header(trailers, ERROR_BODY).and_then(|text| STANDARD.decode(text).ok()).map(Bytes::from);
    let body = body.unwrap_or_else(|| json!({"errorMessage": "", "errorType": error_type}).to_string().into());
    Err(failure(Some(error_type), body))
}
