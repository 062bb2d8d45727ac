//! One operation of a room: parse → read → authenticate → decode → authorise → run → encode.

use crate::body::{BodyFailure, Paced};
use crate::destination::target;
use crate::path::Asked;
use crate::{Gate, body, reply};
use base::port::{Access, Credential};
use base::{Caller, Region, Scope};
use bytes::Bytes;
use futures::StreamExt;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use room::{Body, Context, Fault, Room};
use tokio::sync::SemaphorePermit;
use wire::sigv4::{self, Parsed};
use wire::{EventStream, Labels, Operation, Protocol, Service};

/// Smaller bodies than this are not counted against the budget below.
const SMALL_BODY_BYTES: usize = 64 << 10;
/// What request bodies may take in memory at once, over all connections; further large ones wait for their turn.
pub const BUFFERED_BYTES_MAX: usize = 256 << 20;

impl Gate {
    pub(crate) async fn call(&self, room: &dyn Room, asked: Asked) -> Response<Body> {
        let request_id = asked.request_id.clone();
        let spoken = room.service().spoken(&asked.parts);
        match self.run(room, spoken, asked).await {
            Ok(reply) => reply,
            Err(fault) => {
                let fault = reply::logged(fault, &request_id);
                wire::encode_fault(room.service(), spoken, fault, &request_id).map(room::full)
            }
        }
    }

    async fn run(&self, room: &dyn Room, spoken: Protocol, asked: Asked) -> Result<Response<Body>, Fault> {
        let Asked { parts, body, host, request_id, source_ip } = asked;
        let service = room.service();
        let (routed, signature, credential) = match self.recognise(service, spoken, &parts).await {
            Ok(recognised) => recognised,
            Err(fault) => {
                body::drain(body).await;
                return Err(fault);
            }
        };
        let name = routed.as_ref().map_or("query", |(operation, _)| operation.name);
        let max = routed.as_ref().map_or_else(|| largest(room), |(operation, _)| room.body_bytes_max(operation));
        let (body, space) = self.read(body, name, max).await?;
        let caller = self.authenticate(&signature, credential, &parts, &body)?;
        let (operation, labels) = match routed {
            Some(routed) => routed,
            None => (known(service, service.route_query(&parts, &body)?)?, Labels::new()),
        };
        let decoded = wire::decode(service, operation, &labels, &parts, &body)?;
        drop((body, space));
        let (request_id, trace) = (request_id.clone(), trace(&parts));
        let context = Context { caller: caller.clone(), request_id: request_id.clone(), host, source_ip, trace };
        let prepared = room.prepare(context, operation, decoded)?;
        self.authorise(&caller, &prepared.access).await?;
        let mut done = prepared.run.await?;
        let events = done.events.take();
        let reply = wire::encode(service, spoken, operation, done, &request_id);
        Ok(match events {
            Some(events) if reply.status() != StatusCode::NO_CONTENT => reply.map(|_| frames(events)),
            _ => reply.map(room::full),
        })
    }

    /// What can be said before the body is read: which operation (`None` if its form says so), and signed with a key
    /// that exists. So strangers cannot make the node hold large bodies.
    async fn recognise(
        &self,
        service: &Service,
        spoken: Protocol,
        parts: &Parts,
    ) -> Result<(Option<(&'static Operation, Labels)>, Parsed, Credential), Fault> {
        let routed = if spoken == Protocol::Query { None } else { Some(self.route(service, parts)?) };
        let signature = parse_signature(parts, service.name)?;
        let credential = self.credential(&signature).await?;
        Ok((routed, signature, credential))
    }

    fn route(&self, service: &Service, parts: &Parts) -> Result<(&'static Operation, Labels), Fault> {
        let path = parts.uri.path();
        let routed = service.route(parts.method.as_str(), path, parts.uri.query(), target(parts));
        let (operation, labels) =
            routed.map_err(|unknown| match self.meant(parts).map(|room| room.service().name) {
                Some(other) if other != service.name => wrong_service(other),
                _ => unknown.into(),
            })?;
        Ok((known(service, operation)?, labels))
    }

    /// The key that the request says it was signed with.
    async fn credential(&self, signature: &Parsed) -> Result<Credential, Fault> {
        let found = self.identity.credential(&signature.access_key, signature.session_token.as_deref()).await;
        found.ok_or_else(|| {
            Fault::new("UnrecognizedClientException", 403, "The security token included in the request is invalid.")
        })
    }

    async fn read(
        &self,
        body: Paced<Incoming>,
        operation: &str,
        max: usize,
    ) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Fault> {
        let expected = body.size_hint().upper().map_or(max, |n| usize::try_from(n).unwrap_or(max)).min(max);
        let space = match expected {
            0..SMALL_BODY_BYTES => None,
            large => {
                let wanted = (large >> 10).min(BUFFERED_BYTES_MAX >> 10) as u32;
                Some(self.buffers.acquire_many(wanted).await.expect("the semaphore is never closed"))
            }
        };
        match body::read(body, max).await {
            Ok(bytes) => Ok((bytes, space)),
            Err(failure) => Err(refused(failure, operation)),
        }
    }

    fn authenticate(
        &self,
        signature: &Parsed,
        credential: Credential,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Caller, Fault> {
        sigv4::verify(signature, &credential.secret_key, parts, &sigv4::hash(body), self.clock.now())?;
        let region = Region::parse(&signature.region).ok_or_else(|| {
            Fault::new("InvalidSignatureException", 403, "Credential should be scoped to a valid region.")
        })?;
        Ok(Caller {
            scope: Scope::new(credential.account, region),
            access_key: signature.access_key.clone(),
            principal: credential.principal,
        })
    }

    async fn authorise(&self, caller: &Caller, access: &[Access]) -> Result<(), Fault> {
        for access in access {
            let allowed = self.identity.authorise(caller, access).await;
            allowed.map_err(|denied| Fault::new("AccessDeniedException", 403, denied.0))?;
        }
        Ok(())
    }
}

/// The trace header as its sender meant it: SDKs percent-encode what they send on.
fn trace(parts: &Parts) -> Option<String> {
    let given = parts.headers.get("x-amzn-trace-id")?.to_str().ok()?;
    Some(percent_encoding::percent_decode_str(given).decode_utf8().ok()?.into_owned())
}

fn known(service: &Service, operation: &'static Operation) -> Result<&'static Operation, Fault> {
    if operation.implemented { Ok(operation) } else { Err(wire::codec::not_implemented(service, operation)) }
}

/// The largest body of any operation: which one a form asks for shows when it has been read.
fn largest(room: &dyn Room) -> usize {
    let operations = room.service().operations.iter().filter(|o| o.implemented);
    operations.map(|o| room.body_bytes_max(o)).max().unwrap_or(0)
}

/// An event stream as a body.
fn frames(events: EventStream) -> Body {
    let frames = events.into_stream().map(|event| Ok(Frame::data(event.frame())));
    StreamBody::new(frames).boxed_unsync()
}

/// The signature, which must be for the service that answers.
fn parse_signature(parts: &Parts, service: &str) -> Result<Parsed, Fault> {
    let signature = sigv4::parse(parts)?;
    if signature.service != service {
        return Err(wrong_service(service));
    }
    Ok(signature)
}

fn wrong_service(right: &str) -> Fault {
    let text = format!("Credential should be scoped to correct service: '{right}'.");
    Fault::new("InvalidSignatureException", 403, text)
}

/// A body that did not come whole, in the words of AWS where it has them.
fn refused(failure: BodyFailure, operation: &str) -> Fault {
    let text = failure.to_string();
    match failure {
        BodyFailure::TooLarge { max } => {
            let text = format!("Request must be smaller than {max} bytes for the {operation} operation");
            Fault::new("RequestEntityTooLargeException", 413, text)
        }
        BodyFailure::TooSlow => Fault::new("RequestTimeout", 408, text),
        BodyFailure::Broken(cause) => {
            Fault::new("SerializationException", 400, "The request body ended before it was complete.").because(cause)
        }
    }
}
