//! The way of one request through the gate.

use crate::destination::{Destination, normal_host, signed_for};
use crate::{Gate, body, reply};
use futures::FutureExt;
use http::request::Parts;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use room::{Body, Head};
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;

/// A request as the gate found it, before anyone has read its body.
pub struct Asked {
    pub parts: Parts,
    pub body: body::Paced<Incoming>,
    /// The host the client spoke to, lower case, port included.
    pub host: String,
    pub request_id: String,
    pub source_ip: IpAddr,
}

impl Gate {
    /// parse → find the room or door → let it answer → stamp the reply with the request's id. A room's operation is
    /// authenticated, authorised and run by `call`; a door does that itself. A panic becomes a 500.
    pub(crate) async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let request_id = self.entropy.uuid();
        let reply = match self.parse(request, request_id.clone(), peer) {
            Some(asked) => AssertUnwindSafe(self.dispatch(asked)).catch_unwind().await,
            None => Ok(reply::no_host()),
        };
        let reply = reply.unwrap_or_else(|panic| reply::panicked(panic.as_ref(), &request_id));
        reply::stamp(reply, &request_id)
    }

    async fn dispatch(&self, asked: Asked) -> Response<Body> {
        let service = signed_for(&asked.parts).map(|s| s.into_owned());
        let head = Head { parts: &asked.parts, host: &asked.host, signed_for: service.as_deref() };
        match self.destination(head) {
            Destination::Room(room) => self.call(room, asked).await,
            Destination::Door(door) => {
                let Asked { parts, body, request_id, source_ip, .. } = asked;
                let request = Request::from_parts(parts, http_body_util::BodyExt::boxed_unsync(body));
                door.serve(request, &request_id, source_ip).await
            }
            Destination::UnknownService(name) => {
                let reply = reply::unknown_service(&asked, &name, &self.services);
                body::drain(asked.body).await;
                reply
            }
            Destination::Nowhere => reply::nowhere(&asked),
        }
    }

    /// Finds the host, in the `Host` header or (HTTP/2) in `:authority`, and makes sure that it is in the header, where
    /// signatures cover it. `None` if there is no host.
    fn parse(&self, request: Request<Incoming>, request_id: String, peer: SocketAddr) -> Option<Asked> {
        let (mut parts, body) = request.into_parts();
        if let (None, Some(authority)) = (parts.headers.get(header::HOST), parts.uri.authority())
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            parts.headers.insert(header::HOST, host);
        }
        let host = parts.headers.get(header::HOST).and_then(|h| h.to_str().ok()).map(normal_host);
        let host = host.filter(|h| !h.is_empty())?;
        let body = body::Paced::new(body, self.clock.clone(), self.config.body_stall_timeout);
        Some(Asked { parts, body, host, request_id, source_ip: peer.ip().to_canonical() })
    }
}
