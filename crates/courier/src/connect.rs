//! Makes connections: a name is looked up once, and the address that is connected to is the one that was checked.

use crate::Reach;
use base::network::{Protocol, Verdict};
use base::port::SendError;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls_platform_verifier::Verifier;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// What hyper's client asks for connections; [`tls`] goes around it.
#[derive(Clone)]
pub(crate) struct Dialer(pub(crate) Arc<Reach>);

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = SendError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, SendError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move {
            let host = uri.host().ok_or_else(|| SendError::Failed(format!("{uri} names no host")))?;
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
            dialer.dial(host.trim_start_matches('[').trim_end_matches(']'), port).await.map(TokioIo::new)
        })
    }
}

impl Dialer {
    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, SendError> {
        let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => {
                let found = tokio::net::lookup_host((host, port)).await;
                let found = found.map_err(|error| SendError::Failed(format!("{host} is not known: {error}")))?;
                found.take(ADDRESSES_MAX).collect()
            }
        };
        let mut failure = SendError::Forbidden(format!("{host}:{port}"));
        for address in addresses.into_iter().filter(|to| self.may_reach(*to)) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => failure = SendError::Failed(format!("{host}:{port}: {error}")),
            }
        }
        Err(failure)
    }

    fn may_reach(&self, to: SocketAddr) -> bool {
        match &*self.0 {
            Reach::Anywhere => true,
            Reach::Within(policy) => match policy.verdict(Protocol::Tcp, to) {
                Verdict::Allowed => true,
                Verdict::AllowedUnlessOwn => !is_own(to.ip()),
                Verdict::Refused => false,
            },
        }
    }
}

/// Whether it is an address of this host: those can be bound, and no others.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address.to_canonical(), 0)).is_ok()
}

/// Trusts what this machine trusts; one that has no certificates at all, what Mozilla trusts.
pub(crate) fn tls() -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.expect("ring speaks TLS 1.2 and 1.3");
    match Verifier::new(provider) {
        Ok(verifier) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)),
        Err(error) => {
            tracing::warn!("this machine's certificates cannot be read, Mozilla's are trusted instead: {error}");
            builder.with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() })
        }
    }
    .with_no_client_auth()
}
