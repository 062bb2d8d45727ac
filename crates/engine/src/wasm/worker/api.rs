//! The Runtime API, as its client: one connection, made again if the other side has closed it.

use crate::failure::document;
use crate::runtime_api::{ERROR_TYPE, STREAMS};
use crate::wasm::guest::Context;
use base::FunctionError;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use sandbox::HttpBody;
use std::io;
use tokio::net::TcpStream;

const REQUEST_ID: &str = "lambda-runtime-aws-request-id";

pub(super) struct Api {
    address: String,
    connection: Option<SendRequest<HttpBody>>,
}

/// A call, as it was told.
pub(super) struct Call {
    pub request_id: String,
    pub payload: Bytes,
    pub context: Context,
    /// Whether the caller takes the response as it is made.
    pub streams: bool,
}

impl Api {
    pub(super) fn new(address: String) -> Self {
        Self { address, connection: None }
    }

    /// Waits for the next call.
    pub(super) async fn next(&mut self) -> io::Result<Call> {
        let response = self.send(Method::GET, "invocation/next", HeaderMap::new(), whole(Bytes::new())).await?;
        if response.status() != StatusCode::OK {
            return Err(io::Error::other(format!("the next call was answered with {}", response.status())));
        }
        let (parts, body) = response.into_parts();
        let payload = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let told = parts.headers.iter().filter(|(name, _)| name.as_str().starts_with("lambda-runtime-"));
        let context: Context = told.map(|(name, value)| (name.clone(), text(value))).collect();
        let request_id = parts.headers.get(REQUEST_ID).map(text).unwrap_or_default();
        Ok(Call { request_id, payload, context, streams: parts.headers.contains_key(STREAMS) })
    }

    pub(super) async fn respond(&mut self, request_id: &str, bytes: Bytes) -> io::Result<()> {
        self.respond_with(request_id, HeaderMap::new(), whole(bytes)).await
    }

    /// Whatever the Runtime API says to it, the call is over.
    pub(super) async fn respond_with(&mut self, id: &str, headers: HeaderMap, body: HttpBody) -> io::Result<()> {
        self.post(&format!("invocation/{id}/response"), headers, body).await
    }

    pub(super) async fn fail(&mut self, request_id: &str, error: &FunctionError) -> io::Result<()> {
        let headers = error_type(&error.error_type);
        self.post(&format!("invocation/{request_id}/error"), headers, whole(error.body.clone())).await
    }

    pub(super) async fn cannot_start(&mut self, why: &str) -> io::Result<()> {
        const TYPE: &str = "Runtime.InvalidComponent";
        self.post("init/error", error_type(TYPE), whole(document(why, TYPE))).await
    }

    async fn post(&mut self, path: &str, headers: HeaderMap, body: HttpBody) -> io::Result<()> {
        let answer = self.send(Method::POST, path, headers, body).await?;
        answer.into_body().collect().await.map_err(io::Error::other).map(drop)
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: HttpBody,
    ) -> io::Result<Response<Incoming>> {
        let mut kept = self.connection.take();
        if let Some(connection) = &mut kept
            && connection.ready().await.is_err()
        {
            kept = None;
        }
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = format!("/2018-06-01/runtime/{path}").parse().map_err(io::Error::other)?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(http::header::HOST, self.address.parse().map_err(io::Error::other)?);
        let response = connection.send_request(request).await.map_err(io::Error::other)?;
        self.connection = Some(connection);
        Ok(response)
    }

    async fn connect(&self) -> io::Result<SendRequest<HttpBody>> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // It ends with the sender, or with the other side.
        tokio::spawn(connection);
        sender.ready().await.map_err(io::Error::other)?;
        Ok(sender)
    }
}

fn error_type(of: &str) -> HeaderMap {
    let value = of.parse().ok();
    value.map(|value| (http::HeaderName::from_static(ERROR_TYPE), value)).into_iter().collect()
}

fn whole(bytes: Bytes) -> HttpBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
