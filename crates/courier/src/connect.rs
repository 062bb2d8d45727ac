//! Makes connections: a name is looked up once, and the address that is connected to is the one that was checked.

use crate::Reach;
use base::network::{Protocol, Verdict};
use base::port::SendError;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls_platform_verifier::Verifier;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// What hyper's client asks for connections.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Inner>);

struct Inner {
    reach: Reach,
    /// Made when first needed: reading the machine's certificates takes milliseconds.
    tls: OnceLock<TlsConnector>,
}

impl Connector {
    pub(crate) fn new(reach: Reach) -> Self {
        Self(Arc::new(Inner { reach, tls: OnceLock::new() }))
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = SendError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, SendError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move { inner.connect(&uri).await })
    }
}

impl Inner {
    async fn connect(&self, uri: &Uri) -> Result<Stream, SendError> {
        let host = uri.host().ok_or_else(|| SendError::Failed(format!("{uri} names no host")))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = self.dial(host, port).await?;
        if !is_tls {
            return Ok(Stream::Plain(TokioIo::new(stream)));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|error| SendError::Failed(error.to_string()))?;
        let stream = self.tls.get_or_init(tls).connect(name, stream).await;
        let stream = stream.map_err(|error| SendError::Failed(format!("TLS with {host}: {error}")))?;
        Ok(Stream::Tls(Box::new(TokioIo::new(stream))))
    }

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
        match &self.reach {
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
fn tls() -> TlsConnector {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.expect("ring speaks TLS 1.2 and 1.3");
    let config = match Verifier::new(provider) {
        Ok(verifier) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)),
        Err(error) => {
            tracing::warn!("this machine's certificates cannot be read, Mozilla's are trusted instead: {error}");
            builder.with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() })
        }
    };
    TlsConnector::from(Arc::new(config.with_no_client_auth()))
}

/// A connection as hyper wants it.
pub(crate) enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
