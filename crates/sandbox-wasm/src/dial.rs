//! Sends a request as the default of wasmtime-wasi-http does, but to an address that the policy was asked of: who looks a
//! name up once to check it and again to connect may be led elsewhere in between.

use crate::reach;
use base::network::{Policy, Protocol};
use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use http_body::{Body, Frame};
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::io::{InspectReader, InspectWriter};
use wasmtime_wasi_http::{Error, RequestOptions};

/// Where the guest sets no time of its own; a run is over sooner.
const PATIENCE: Duration = Duration::from_secs(600);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

static TLS: LazyLock<TlsConnector> = LazyLock::new(|| {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    TlsConnector::from(Arc::new(config))
});

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The response, and the rest of the connection's work, which goes on while the body is read.
pub async fn send<B>(
    mut request: Request<B>,
    options: Option<RequestOptions>,
    policy: &Policy,
    carried: &Arc<AtomicU64>,
) -> Result<(Response<Incoming>, impl Future<Output = Result<(), Error>> + Send + use<B>), Error>
where
    B: Body<Data = Bytes, Error = Error> + Send + Unpin + 'static,
{
    let patience = |of: fn(&RequestOptions) -> Option<Duration>| options.as_ref().and_then(of).unwrap_or(PATIENCE);
    let to_connect = patience(|options| options.connect_timeout);
    let to_first_byte = patience(|options| options.first_byte_timeout);
    let between_bytes = patience(|options| options.between_bytes_timeout);

    let authority = request.uri().authority().ok_or(Error::HttpRequestUriInvalid)?.clone();
    let is_tls = request.uri().scheme() == Some(&Scheme::HTTPS);
    let stream = timeout(to_connect, connect(&authority, is_tls, policy, carried))
        .await
        .map_err(|_| Error::ConnectionTimeout)??;
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = timeout(to_connect, shaken).await.map_err(|_| Error::ConnectionTimeout)??;

    // A server is asked for the path alone.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)?;

    let mut connection = Box::pin(connection);
    let mut is_over = false;
    let response = {
        let mut answered = std::pin::pin!(timeout(to_first_byte, sender.send_request(request)));
        loop {
            tokio::select! {
                biased;
                answered = &mut answered => break answered.map_err(|_| Error::ConnectionReadTimeout)??,
                ended = &mut connection, if !is_over => {
                    ended?;
                    is_over = true;
                }
            }
        }
    };
    let response = response.map(|body| Incoming { body, between_bytes, timer: Box::pin(sleep(between_bytes)) });
    Ok((response, async move { if is_over { Ok(()) } else { Ok(connection.await?) } }))
}

async fn connect(
    authority: &Authority,
    is_tls: bool,
    policy: &Policy,
    carried: &Arc<AtomicU64>,
) -> Result<Box<dyn Stream>, Error> {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let (name, addresses) = match host.parse::<IpAddr>() {
        Ok(address) => (None, vec![SocketAddr::new(address, port)]),
        Err(_) if !policy.resolver && policy.naming(host).next().is_none() => return Err(Error::HttpRequestDenied),
        Err(_) => {
            let found = tokio::net::lookup_host((host, port)).await;
            let found = found.map_err(|_| Error::DnsError { rcode: None, info_code: None })?;
            (Some(host), found.take(ADDRESSES_MAX).collect())
        }
    };
    let mut failure = Error::HttpRequestDenied;
    for address in addresses.into_iter().filter(|to| reach::may_reach(policy, Protocol::Tcp, name, *to)) {
        let connected = TcpStream::connect(address).await.map(|stream| counted(stream, carried.clone()));
        match connected {
            Ok(stream) if is_tls => {
                let name = ServerName::try_from(host.to_owned())?;
                return Ok(Box::new(TLS.connect(name, stream).await.map_err(Error::Tls)?));
            }
            Ok(stream) => return Ok(Box::new(stream)),
            Err(error) => failure = Error::Connect(error),
        }
    }
    Err(failure)
}

/// Its bytes count, both ways, as a process's do at the devices of its network.
fn counted(stream: TcpStream, bytes: Arc<AtomicU64>) -> impl Stream + use<> {
    let read = bytes.clone();
    let written = move |some: &[u8]| _ = bytes.fetch_add(some.len() as u64, Ordering::Relaxed);
    let read = move |some: &[u8]| _ = read.fetch_add(some.len() as u64, Ordering::Relaxed);
    InspectReader::new(InspectWriter::new(stream, written), read)
}

/// A body that may not pause for longer than the guest has said.
pub struct Incoming {
    body: hyper::body::Incoming,
    between_bytes: Duration,
    timer: Pin<Box<Sleep>>,
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                let again = sleep(self.between_bytes);
                self.timer.as_mut().set(again);
                Poll::Ready(frame.map(|frame| frame.map_err(Error::from)))
            }
            Poll::Pending => {
                ready!(self.timer.as_mut().poll(cx));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
