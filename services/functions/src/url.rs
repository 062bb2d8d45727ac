//! The door for what this room gives out URLs of: functions (`http://<id>.lambda-url.<region>.…/`) and links to code.

mod cors;
mod direct;
mod event;
mod reply;
mod stream;

use crate::Functions;
use crate::code;
use crate::error::Result;
use crate::events::parsed;
use crate::kept::Kept;
use crate::model::{PAYLOAD_BYTES_MAX, name};
use crate::records::{Policy, Url, UrlOwner};
use crate::store::At;
use async_trait::async_trait;
use base::port::Access;
use base::{Caller, FunctionRef, Invocation, InvokeError, Mode, Region, Scope};
use bytes::{Bytes, BytesMut};
use event::{Request, Signer};
use futures::{StreamExt, TryStreamExt};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use room::{Body, Door, Head, full};
use rules::policy::{Decision, Principal};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// Serves function URLs and links to code.
pub struct UrlDoor {
    functions: Arc<Functions>,
    /// By the URL's id.
    found: Kept<String, Arc<Found>>,
}

impl UrlDoor {
    pub fn new(functions: Arc<Functions>) -> Self {
        let found = Kept::new(&functions.store);
        Self { functions, found }
    }
}

/// The URL id that a host begins with: `<32 of a-z0-9>.lambda-url.…`
fn url_id(host: &str) -> Option<String> {
    let (id, rest) = host.split_once('.')?;
    let id = id.to_ascii_lowercase();
    let proper = id.len() == 32 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (proper && rest.to_ascii_lowercase().starts_with("lambda-url.")).then_some(id)
}

#[async_trait]
impl Door for UrlDoor {
    fn opens(&self, head: Head<'_>) -> bool {
        self.claims(head.host) || head.parts.uri.path().starts_with(code::PATH)
    }

    fn claims(&self, host: &str) -> bool {
        url_id(host).is_some()
    }

    async fn serve(&self, request: http::Request<Body>, request_id: &str, source_ip: IpAddr) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let host = host_of(&parts);
        let mut response = match url_id(&host) {
            Some(id) => self.call(&id, &host, parts, body, request_id, source_ip).await,
            None => self.download(&parts).await,
        };
        if let Ok(id) = HeaderValue::from_str(request_id) {
            response.headers_mut().insert("x-amzn-requestid", id);
        }
        response
    }
}

/// A function with a URL, as found by the URL's id.
struct Found {
    owner: UrlOwner,
    url: Url,
    policy: Option<Policy>,
    /// Whether everyone may call it, once somebody has asked.
    open: OnceLock<bool>,
}

impl UrlDoor {
    async fn call(
        &self,
        id: &str,
        host: &str,
        parts: Parts,
        body: Body,
        request_id: &str,
        source_ip: IpAddr,
    ) -> Response<Body> {
        let found = match self.find(id).await {
            Ok(Some(found)) => found,
            Ok(None) => return message(StatusCode::NOT_FOUND, "Not Found"),
            Err(error) => return failed(&error),
        };
        if let Some(allowed) = room::handshake(&parts) {
            return allowed;
        }
        let origin = parts.headers.get(header::ORIGIN).and_then(|v| v.to_str().ok()).map(str::to_owned);
        if let Some(cors) = &found.url.cors
            && let Some(preflight) = cors::preflight(cors, &parts)
        {
            return preflight;
        }
        let mut response = match self.direct(&found, parts, body, request_id, source_ip).await {
            Ok(response) => response,
            Err((parts, body)) => match read_body(body).await {
                Ok(body) => self.run(&found, host, &parts, &body, request_id, source_ip).await,
                Err(refused) => refused,
            },
        };
        if let (Some(cors), Some(origin)) = (&found.url.cors, origin) {
            cors::decorate(cors, &origin, response.headers_mut());
        }
        response
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<Found>>> {
        let id = id.to_owned();
        if let Some(found) = self.found.get(&id) {
            return Ok(Some(found));
        }
        let before = self.found.now();
        let found = self.read(&id).await?.map(Arc::new);
        if let Some(found) = &found {
            self.found.put(before, id, found.clone());
        }
        Ok(found)
    }

    async fn read(&self, id: &str) -> Result<Option<Found>> {
        let store = &self.functions.store;
        let Some(owner) = store.get::<UrlOwner>(&At::UrlId(id).key()).await? else { return Ok(None) };
        let qualifier = owner.qualifier.as_deref().unwrap_or("");
        let Some(url) = store.get::<Url>(&At::Url(&owner.scope, &owner.name, qualifier).key()).await? else {
            return Ok(None);
        };
        let policy = store.get::<Policy>(&At::Policy(&owner.scope, &owner.name, qualifier).key()).await?;
        Ok(Some(Found { owner, url, policy, open: OnceLock::new() }))
    }

    /// Authorise, invoke, interpret.
    async fn run(
        &self,
        found: &Found,
        host: &str,
        parts: &Parts,
        body: &Bytes,
        request_id: &str,
        source_ip: IpAddr,
    ) -> Response<Body> {
        let signer = match self.authorise(found, parts, body).await {
            Ok(signer) => signer,
            Err(refused) => return *refused,
        };
        let request = Request {
            parts,
            body,
            host,
            url_id: &found.url.id,
            request_id,
            source_ip,
            now: self.functions.clock.now(),
            signer: signer.as_ref(),
        };
        let payload = event::payload(&request).to_string();
        if payload.len() > PAYLOAD_BYTES_MAX {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        }
        let UrlOwner { scope, name, qualifier } = &found.owner;
        let call = Invocation {
            function: FunctionRef { scope: scope.clone(), name: name.clone(), qualifier: qualifier.clone() },
            request_id: request_id.to_owned(),
            payload: payload.into(),
            mode: Mode::Wait,
            client_context: None,
            trace_id: parts.headers.get("x-amzn-trace-id").and_then(|v| v.to_str().ok()).map(str::to_owned),
        };
        let runner = &self.functions.runner;
        let reply = if found.url.streams {
            match runner.stream(call).await {
                Ok(streamed) => Ok(stream::interpret(streamed).await),
                Err(error) => Err(error),
            }
        } else {
            runner.invoke(call).await.map(|outcome| reply::interpret(&outcome.result.ok()?))
        };
        match reply {
            Ok(reply) => reply.unwrap_or_else(bad_gateway),
            Err(error) => not_run(&error),
        }
    }

    /// With `NONE` the resource policy must let everyone in; with `AWS_IAM` the request must be signed by someone who
    /// may.
    async fn authorise(
        &self,
        found: &Found,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Option<Signer>, Box<Response<Body>>> {
        let UrlOwner { scope, name, qualifier } = &found.owner;
        let arn = name::qualified(scope, name, qualifier.as_deref()).to_string();
        let context = [("lambda:FunctionUrlAuthType", found.url.auth.as_str())];
        let ask = |principal| {
            let action = "lambda:InvokeFunctionUrl";
            let request = rules::policy::Request { principal, action, resource: &arn, context: &context };
            let policy = found.policy.as_ref().and_then(parsed);
            policy.map_or(Decision::None, |policy| policy.evaluate(&request))
        };
        if found.url.auth == "NONE" {
            let open = found.open.get_or_init(|| ask(Principal::Anonymous) == Decision::Allow);
            return if *open { Ok(None) } else { Err(forbidden()) };
        }
        let caller = self.verify(scope, parts, body).await?;
        let principal = Principal::Identity { arn: &caller.principal, account: caller.scope.account.as_str() };
        let access = Access { action: "lambda:InvokeFunctionUrl".into(), resource: arn.clone() };
        let allowed = match ask(principal) {
            Decision::Deny => false,
            Decision::Allow => true,
            Decision::None => self.functions.identity.authorise(&caller, &access).await.is_ok(),
        };
        if !allowed || caller.scope.account != scope.account {
            return Err(forbidden());
        }
        Ok(Some(Signer {
            access_key: caller.access_key,
            account: caller.scope.account.to_string(),
            principal: caller.principal,
        }))
    }

    async fn verify(&self, scope: &Scope, parts: &Parts, body: &Bytes) -> Result<Caller, Box<Response<Body>>> {
        let refused = |fault: wire::Fault| Box::new(message(StatusCode::FORBIDDEN, &fault.message));
        // Without any signature AWS says no more than this.
        let parsed = wire::sigv4::parse(parts).map_err(|_| forbidden())?;
        if parsed.service != "lambda" {
            return Err(forbidden());
        }
        let token = parsed.session_token.as_deref();
        let credential = self.functions.identity.credential(&parsed.access_key, token).await;
        let Some(credential) = credential else {
            let text = "The security token included in the request is invalid.";
            return Err(Box::new(message(StatusCode::FORBIDDEN, text)));
        };
        let now = self.functions.clock.now();
        let hash = wire::sigv4::hash(body);
        wire::sigv4::verify(&parsed, &credential.secret_key, parts, &hash, now).map_err(refused)?;
        let region = Region::parse(&parsed.region).filter(|region| *region == scope.region).ok_or_else(forbidden)?;
        Ok(Caller {
            scope: Scope::new(credential.account, region),
            access_key: parsed.access_key,
            principal: credential.principal,
        })
    }

    /// `GET /_wadi/code/<token>`: the token is all the authority there is, as with a presigned URL.
    async fn download(&self, parts: &Parts) -> Response<Body> {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return message(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        }
        let token = parts.uri.path().strip_prefix(code::PATH).unwrap_or("");
        let (blob, bytes) = match self.functions.code_of_token(token).await {
            Ok(Some(found)) => found,
            Ok(None) => return message(StatusCode::FORBIDDEN, "The link is not valid or has expired."),
            Err(error) => return failed(&error),
        };
        let stream = match self.functions.blobs.read(&blob, 0..bytes).await {
            Ok(stream) => stream,
            Err(::store::Error::NoSuchBlob(_)) => return message(StatusCode::NOT_FOUND, "The code has been replaced."),
            Err(error) => return failed(&error),
        };
        let frames = stream.map_ok(http_body::Frame::data).map_err(|e| Box::new(e) as room::BodyError);
        let mut response = Response::new(StreamBody::new(frames.boxed()).boxed_unsync());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
        response
    }
}

fn host_of(parts: &Parts) -> String {
    let header = parts.headers.get(header::HOST).and_then(|v| v.to_str().ok());
    header.or_else(|| parts.uri.authority().map(|a| a.as_str())).unwrap_or("").to_ascii_lowercase()
}

async fn read_body(mut body: Body) -> Result<Bytes, Response<Body>> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| message(StatusCode::BAD_REQUEST, "The request body could not be read."))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > PAYLOAD_BYTES_MAX {
            return Err(message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

fn message(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(full(serde_json::json!({ "Message": text }).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn not_run(error: &InvokeError) -> Response<Body> {
    match error {
        InvokeError::Throttled { .. } => message(StatusCode::TOO_MANY_REQUESTS, "Rate Exceeded."),
        InvokeError::NotFound(_) => message(StatusCode::NOT_FOUND, "Not Found"),
        InvokeError::Unpublished => message(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        InvokeError::NotReady(why) | InvokeError::Unavailable(why) => message(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

fn bad_gateway() -> Response<Body> {
    message(StatusCode::BAD_GATEWAY, "Internal Server Error")
}

fn forbidden() -> Box<Response<Body>> {
    let mut response = message(StatusCode::FORBIDDEN, "Forbidden");
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static("AccessDeniedException"));
    Box::new(response)
}

fn failed(error: &dyn std::fmt::Display) -> Response<Body> {
    tracing::warn!(%error, "a URL could not be served");
    message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
}
