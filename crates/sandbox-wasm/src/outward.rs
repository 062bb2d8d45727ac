//! The requests that guests make: to the platform, and elsewhere as their network lets them.

use crate::dial;
use bytes::Bytes;
use http::uri::{Authority, Scheme, Uri};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use sandbox::{Beyond, Inside};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use wasmtime_wasi_http::{Error, RequestOptions, WasiHttpHooks, default_send_request};

type Body = UnsyncBoxBody<Bytes, Error>;
type Later<T> = Box<dyn Future<Output = Result<T, Error>> + Send>;

pub struct Outward {
    pub platform: Option<Inside>,
    pub beyond: Beyond,
    /// Bytes that went beyond the platform.
    pub carried: Arc<AtomicU64>,
}

impl WasiHttpHooks for Outward {
    fn send_request(
        &mut self,
        mut request: http::Request<Body>,
        options: Option<RequestOptions>,
        _sent: Later<()>,
    ) -> Later<(http::Response<Body>, Later<()>)> {
        let led = self.platform.map_or(Ok(false), |inside| to_platform(request.uri_mut(), inside));
        let (beyond, carried) = (self.beyond.clone(), self.carried.clone());
        Box::new(async move {
            match (led?, beyond) {
                (true, _) | (_, Beyond::Host) => {
                    let (response, rest) = default_send_request(request, options).await?;
                    Ok((response.map(BodyExt::boxed_unsync), Box::new(rest) as Later<()>))
                }
                (false, Beyond::Policy(policy)) => {
                    let (response, rest) = dial::send(request, options, &policy, &carried).await?;
                    Ok((response.map(BodyExt::boxed_unsync), Box::new(rest) as Later<()>))
                }
            }
        })
    }

    fn p2_error_from_hyper(
        &mut self,
        error: &hyper::Error,
    ) -> wasmtime_wasi_http::p2::bindings::http::types::ErrorCode {
        // What a guest's peer does wrong is the guest's affair, not a warning of the node.
        tracing::debug!(%error, "a component's request broke off");
        wasmtime_wasi_http::p2::bindings::http::types::ErrorCode::HttpProtocolError
    }
}

/// Leads a request for the platform, as it is seen from inside, to the gate; `false` if it is for somebody else. The `Host`
/// header stays as the guest has it.
fn to_platform(uri: &mut Uri, platform: Inside) -> Result<bool, Error> {
    let name = uri.host().unwrap_or_default().to_ascii_lowercase();
    let inside = name == "127.0.0.1" || name == "localhost" || name.ends_with(".localhost");
    if !inside || uri.port_u16() != Some(platform.port) || uri.scheme() != Some(&Scheme::HTTP) {
        return Ok(false);
    }
    let gate = platform.gate.ok_or(Error::DestinationUnavailable)?;
    let mut parts = std::mem::take(uri).into_parts();
    parts.authority = Some(Authority::try_from(gate.to_string()).map_err(|_| Error::HttpRequestUriInvalid)?);
    *uri = Uri::from_parts(parts).map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_platform() {
        let platform = Inside { port: 4566, gate: Some("127.0.0.1:33333".parse().expect("an address")) };
        let lead = |text: &str| {
            let mut uri: Uri = text.parse().expect("a URI");
            to_platform(&mut uri, platform).expect("it can be led").then(|| uri.to_string())
        };
        let led = Some("http://127.0.0.1:33333/a?b=c".to_owned());
        assert_eq!(lead("http://127.0.0.1:4566/a?b=c"), led);
        assert_eq!(lead("http://LOCALHOST:4566/a?b=c"), led);
        assert_eq!(lead("http://bucket.s3.localhost:4566/a?b=c"), led);
        for elsewhere in [
            "http://127.0.0.1:4567/",
            "http://127.0.0.1/",
            "https://127.0.0.1:4566/",
            "http://example.com:4566/",
            "http://notlocalhost:4566/",
            "http://127.0.0.2:4566/",
        ] {
            assert_eq!(lead(elsewhere), None, "{elsewhere}");
        }
    }
}
