//! The way from inside an instance to the platform: bytes, forwarded to the gate.

use base::port::Clock;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections an instance may hold to the platform at once; more wait in the listener's queue.
const CONNECTIONS_MAX: usize = 64;

/// The gate's address, known once it listens.
#[derive(Clone, Default)]
pub(crate) struct Platform(Arc<OnceLock<SocketAddr>>);

impl Platform {
    /// Tells where the gate listens; the first word counts.
    pub(crate) fn set(&self, mut address: SocketAddr) {
        if address.ip().is_unspecified() {
            let v6 = address.is_ipv6();
            address.set_ip(if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() });
        }
        let _ = self.0.set(address);
    }

    pub(crate) fn get(&self) -> Option<SocketAddr> {
        self.0.get().copied()
    }
}

/// Forwards until the task that runs it is aborted; its connections go with it.
pub(crate) async fn serve(listener: TcpListener, platform: Platform, clock: Arc<dyn Clock>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let Ok((mut inside, _)) = listener.accept().await else {
            // Out of descriptors, most likely: the connection stays in the queue.
            clock.sleep(Duration::from_millis(50)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let Some(address) = platform.get() else { continue };
        connections.spawn(async move {
            if let Ok(mut outside) = TcpStream::connect(address).await {
                let _ = (inside.set_nodelay(true), outside.set_nodelay(true));
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
            }
            drop(slot);
        });
    }
}
