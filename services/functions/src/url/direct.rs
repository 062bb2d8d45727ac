//! Functions that take HTTP requests themselves (WebAssembly components): request and response pass as they come.

use super::{Found, UrlDoor, bad_gateway, not_run, read_body};
use crate::records::UrlOwner;
use base::FunctionRef;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response};
use room::Body;
use std::net::IpAddr;

impl UrlDoor {
    /// The function's own response; the request again, if the function takes events. Where the URL asks for a signature
    /// the body is read first, because that covers it; else it streams in.
    pub(super) async fn direct(
        &self,
        found: &Found,
        mut parts: Parts,
        body: Body,
        request_id: &str,
        source_ip: IpAddr,
    ) -> Result<Response<Body>, (Parts, Body)> {
        let UrlOwner { scope, name, qualifier } = &found.owner;
        let function = FunctionRef { scope: scope.clone(), name: name.clone(), qualifier: qualifier.clone() };
        let entrance = match self.functions.runner.entrance(&function).await {
            Ok(Some(entrance)) => entrance,
            // Also where it cannot be called: who may not know that is told so first.
            Ok(None) | Err(_) => return Err((parts, body)),
        };
        let body = if found.url.auth == "NONE" {
            if let Err(refused) = self.authorise(found, &parts, &Bytes::new()).await {
                return Ok(*refused);
            }
            body
        } else {
            let whole = match read_body(body).await {
                Ok(whole) => whole,
                Err(refused) => return Ok(refused),
            };
            if let Err(refused) = self.authorise(found, &parts, &whole).await {
                return Ok(*refused);
            }
            room::full(whole)
        };
        told(&mut parts, source_ip, request_id);
        match entrance.serve(Request::from_parts(parts, body), request_id).await {
            Ok(Ok(response)) if response.status().is_informational() => Ok(bad_gateway()),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_)) => Ok(bad_gateway()),
            Err(error) => Ok(not_run(&error)),
        }
    }
}

/// Tells the function what an event would tell it: who asks, how, and the request's id.
fn told(parts: &mut Parts, source_ip: IpAddr, request_id: &str) {
    let port = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()?.rsplit_once(':'));
    let port = port.map_or_else(|| "80".to_owned(), |(_, port)| port.to_owned());
    let told = [
        ("x-forwarded-for", source_ip.to_string()),
        ("x-forwarded-port", port),
        ("x-forwarded-proto", "http".to_owned()),
        ("lambda-runtime-aws-request-id", request_id.to_owned()),
    ];
    for (name, value) in told {
        if let Ok(value) = HeaderValue::try_from(value) {
            parts.headers.insert(HeaderName::from_static(name), value);
        }
    }
}
