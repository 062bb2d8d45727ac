//! Accepting connections, each in a task of its own, and draining them when the node stops.

use crate::Gate;
use crate::transport::Transport;
use base::port::Clock;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A request head larger than this is refused by hyper with 431.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Requests of one HTTP/2 connection that run at once.
const STREAMS_MAX: u32 = 256;
/// After `accept` failed (out of file descriptors, say): how long until it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// An HTTP/2 peer that does not answer a ping within this time is gone.
const PING: Duration = Duration::from_secs(20);

impl Gate {
    /// Serves HTTP/1.1 and cleartext HTTP/2 on `listener` until `stop`: then takes no more connections, lets requests
    /// in flight finish for at most [`crate::Config::drain_timeout`], closes the rest and returns.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.config.connections_max));
        let mut connections = JoinSet::new();
        loop {
            let (stream, peer, place) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                next = accept(&listener, &places, self.clock.as_ref()) => next,
            };
            connections.spawn(self.clone().connection(stream, peer, place, stop.clone()));
        }
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.config.drain_timeout, drained).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "requests were still running when the time to stop was over"
            );
            connections.shutdown().await;
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
        stop: CancellationToken,
    ) {
        // Replies are written whole; waiting to fill a packet would only add latency.
        let _ = stream.set_nodelay(true);
        let transport = Transport::new(stream, self.config.header_timeout, self.config.body_stall_timeout);
        let builder = self.protocols();
        let service = service_fn(move |request| {
            let gate = self.clone();
            async move { Ok::<_, Infallible>(gate.answer(request, peer).await) }
        });
        let connection = builder.serve_connection(TokioIo::new(transport), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        // Clients that hang up, time out or speak something else are ordinary; they are not the node's errors.
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended");
        }
        drop(place);
    }

    fn protocols(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.header_timeout)
            // Never `pipeline_flush`: it lifts the bound on what is buffered for a client that reads slowly.
            .max_buf_size(HEAD_BYTES_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        builder
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    clock: &dyn Clock,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                clock.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
