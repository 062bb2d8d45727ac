//! Sends HTTP for others: API destinations, webhooks, subscriptions.
//!
//! Connections are pooled and checked against what the node may reach when they are made (`connect.rs`). Redirects are
//! answers like any other, every wait ends with the request's own time, and of an answer's body no more is read than is
//! kept.

mod connect;

use async_trait::async_trait;
use base::network::Policy;
use base::port::{Courier, SendError};
use bytes::{Bytes, BytesMut};
use connect::Dialer;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What is kept of an answer's body; the rest is not read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
const IDLE_MAX: Duration = Duration::from_secs(30);
const IDLE_PER_HOST_MAX: usize = 16;

/// Where the node may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To whatever this machine reaches, itself included.
    Anywhere,
    Within(Policy),
}

type Connecting = Client<HttpsConnector<Dialer>, Full<Bytes>>;

/// The courier that speaks HTTP/1.1, with or without TLS.
pub struct Http {
    reach: Arc<Reach>,
    /// Made when first needed: reading the machine's certificates takes milliseconds.
    client: OnceLock<Connecting>,
}

impl Http {
    pub fn new(reach: Reach) -> Self {
        Self { reach: Arc::new(reach), client: OnceLock::new() }
    }

    fn client(&self) -> &Connecting {
        self.client.get_or_init(|| {
            let secure = HttpsConnectorBuilder::new().with_tls_config(connect::tls()).https_or_http().enable_http1();
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_MAX).pool_max_idle_per_host(IDLE_PER_HOST_MAX);
            builder.build(secure.wrap_connector(Dialer(self.reach.clone())))
        })
    }
}

#[async_trait]
impl Courier for Http {
    async fn send(&self, request: Request<Bytes>, timeout: Duration) -> Result<Response<Bytes>, SendError> {
        let exchange = async {
            let answer = self.client().request(request.map(Full::new)).await.map_err(|error| failure(&error))?;
            let (parts, body) = answer.into_parts();
            Ok(Response::from_parts(parts, read(body).await?))
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(SendError::Late(timeout)))
    }
}

async fn read(mut body: Incoming) -> Result<Bytes, SendError> {
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| failure(&error))?.into_data() else { continue };
        let room = ANSWER_BYTES_MAX - kept.len();
        kept.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() >= room {
            break;
        }
    }
    Ok(kept.freeze())
}

/// The innermost cause says what happened; what is around it only that something did.
fn failure(error: &(dyn Error + 'static)) -> SendError {
    let mut cause = error;
    loop {
        if let Some(told) = cause.downcast_ref::<SendError>() {
            return told.clone();
        }
        match cause.source() {
            Some(inner) => cause = inner,
            None => return SendError::Failed(cause.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
