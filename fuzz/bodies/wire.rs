//! The bodies of the fuzz targets for `wire`: plain functions that panic where an invariant does not hold.

use base::Timestamp;
use bytes::Bytes;
use http::Request;
use http::request::Parts;
use wire::sigv4;
use wire::table::{Protocol, Service};

/// A request from raw bytes in the form of HTTP/1.1: request line, headers, empty line, body. `None` where `http` itself,
/// and so the listener, would refuse it.
fn request(data: &[u8]) -> Option<(Parts, Bytes)> {
    let split = data.windows(2).position(|w| w == b"\n\n").unwrap_or(data.len());
    let (head, body) = data.split_at(split);
    let mut lines = head.split(|b| *b == b'\n');
    let mut line = lines.next()?.split(|b| *b == b' ');
    let mut request = Request::builder().method(line.next()?).uri(line.next()?);
    for line in lines.take(32) {
        let colon = line.iter().position(|b| *b == b':')?;
        request = request.header(&line[..colon], &line[colon + 1..]);
    }
    let body = Bytes::copy_from_slice(body.get(2..).unwrap_or_default());
    Some((request.body(()).ok()?.into_parts().0, body))
}

/// Whatever comes in: decoding answers, a decoded input is an object, and an error can be sent.
pub fn wire_decode(services: &[&'static Service], data: &[u8]) {
    let Some((parts, body)) = request(data) else { return };
    let target = parts.headers.get("x-amz-target").and_then(|t| t.to_str().ok());
    for service in services {
        let spoken = service.spoken(&parts);
        let routed = match spoken {
            Protocol::Query => service.route_query(&parts, &body).map(|operation| (operation, Default::default())),
            _ => {
                let found = service.route(parts.method.as_str(), parts.uri.path(), parts.uri.query(), target);
                found.map_err(wire::Fault::from)
            }
        };
        let decoded = routed.and_then(|(operation, labels)| wire::decode(service, operation, &labels, &parts, &body));
        match decoded {
            Ok(decoded) => assert!(decoded.input.is_object()),
            Err(fault) => {
                assert!((400..500).contains(&fault.status), "{fault}");
                assert!(fault.message.len() < 1 << 20);
                let reply = wire::encode_fault(service, spoken, fault, "id");
                match spoken {
                    Protocol::Query => assert!(reply.body().ends_with(b"</ErrorResponse>")),
                    _ => assert!(serde_json::from_slice::<serde_json::Value>(reply.body()).is_ok()),
                }
            }
        }
    }
}

/// Whatever it says of its signature, nobody without the secret gets through.
pub fn sigv4_parse(data: &[u8]) {
    let Some((parts, body)) = request(data) else { return };
    if let Ok(parsed) = sigv4::parse(&parts) {
        let hash = sigv4::hash(&body);
        let secret = "a secret that no input can know";
        assert!(sigv4::verify(&parsed, secret, &parts, &hash, parsed.time).is_err());
        let _ = sigv4::verify(&parsed, secret, &parts, &hash, Timestamp(0));
    }
}
