//! What is asked for without a signature: URLs in messages confirm and end subscriptions, and lead to the certificate.

use crate::Topics;
use crate::api;
use crate::signer::PATH;
use async_trait::async_trait;
use base::{AccountId, Arn, Caller, Region, Scope};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use room::{Body, Context, Door, Fault, Head, Room as _, TableRoom, full};
use std::net::IpAddr;
use std::sync::Arc;
use wire::{Labels, Protocol};

/// Who asks without a signature.
pub const ANYBODY: &str = "anonymous";

/// Serves those URLs.
pub struct TopicDoor {
    topics: Arc<Topics>,
    table: TableRoom<Topics>,
}

impl TopicDoor {
    pub fn new(topics: Arc<Topics>) -> Self {
        Self { table: crate::room(topics.clone()), topics }
    }

    async fn act(&self, request: Request<Body>, request_id: &str, source_ip: IpAddr) -> Result<Response<Bytes>, Fault> {
        let (parts, _) = request.into_parts();
        let service = self.table.service();
        let operation = service.route_query(&parts, &[])?;
        if !OPEN.contains(&operation.name) {
            return Err(Fault::new("MissingAuthenticationToken", 403, "The request must be signed."));
        }
        let decoded = wire::decode(service, operation, &Labels::new(), &parts, &Bytes::new())?;
        let arn = ["TopicArn", "SubscriptionArn"].iter().find_map(|name| decoded.input.get(name)?.as_str());
        let scope =
            arn.and_then(scope_of).ok_or_else(|| Fault::new("InvalidParameter", 400, "Invalid parameter: TopicArn"))?;
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
        let caller = Caller { scope, access_key: String::new(), principal: ANYBODY.into() };
        let cx = Context { caller, request_id: request_id.to_owned(), host, source_ip, trace: None };
        let done = self.table.prepare(cx, operation, decoded)?.run.await?;
        Ok(wire::encode(service, Protocol::Query, operation, done, request_id))
    }

    async fn certificate(&self, path: &str) -> Response<Bytes> {
        let mut response = match self.topics.signer().await {
            Ok(signer) if signer.path() == path => {
                let mut found = Response::new(Bytes::from(signer.certificate.clone()));
                let kind = header::HeaderValue::from_static("application/x-pem-file");
                found.headers_mut().insert(header::CONTENT_TYPE, kind);
                return found;
            }
            Ok(_) => Response::new(Bytes::from_static(b"There is no such certificate.\n")),
            Err(_) => Response::new(Bytes::from_static(b"The certificate cannot be read for the moment.\n")),
        };
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    }
}

fn scope_of(arn: &str) -> Option<Scope> {
    let arn: Arn = arn.parse().ok()?;
    Some(Scope::new(AccountId::parse(&arn.account)?, Region::parse(&arn.region)?))
}

/// The operations that need no signature.
const OPEN: [&str; 2] = ["ConfirmSubscription", "Unsubscribe"];

fn is_open(query: &str) -> bool {
    let action = |pair: &str| pair.strip_prefix("Action=").is_some_and(|action| OPEN.contains(&action));
    query.split('&').any(action)
}

#[async_trait]
impl Door for TopicDoor {
    fn opens(&self, head: Head<'_>) -> bool {
        let uri = &head.parts.uri;
        let is_signed = head.signed_for.is_some() || head.parts.headers.contains_key(header::AUTHORIZATION);
        let acts = uri.path() == "/" && uri.query().is_some_and(is_open);
        !is_signed && head.parts.method == http::Method::GET && (acts || uri.path().starts_with(PATH))
    }

    async fn serve(&self, request: Request<Body>, request_id: &str, source_ip: IpAddr) -> Response<Body> {
        if request.uri().path().starts_with(PATH) {
            let path = request.uri().path().to_owned();
            return self.certificate(&path).await.map(full);
        }
        let reply = match self.act(request, request_id, source_ip).await {
            Ok(reply) => reply,
            Err(fault) => wire::encode_fault(&api::SERVICE, Protocol::Query, fault, request_id),
        };
        reply.map(full)
    }
}
