//! What guests' own sockets carry, counted. Three calls hand out or take all their bytes: those are wrapped, and wasmtime's
//! otherwise, as all others are.

use crate::state::State;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::Result;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode;
use wasmtime_wasi::p2::bindings::sockets::tcp::{HostTcpSocket, TcpSocket};
use wasmtime_wasi::p2::bindings::sockets::udp::{
    HostIncomingDatagramStream, HostOutgoingDatagramStream, IncomingDatagram, IncomingDatagramStream, OutgoingDatagram,
    OutgoingDatagramStream,
};
use wasmtime_wasi::p2::pipe::{ClosedInputStream, ClosedOutputStream};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, SocketResult, StreamResult,
};
use wasmtime_wasi::sockets::WasiSocketsView;

/// As wasmtime names them.
const TCP: &str = "wasi:sockets/tcp@0.2.12";
const UDP: &str = "wasi:sockets/udp@0.2.12";

type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);
/// What a guest is answered.
type Answer<T> = (Result<T, ErrorCode>,);

/// Puts the counting calls in the place of those that the linker has.
pub fn count(linker: &mut Linker<State>) -> Result<()> {
    linker.allow_shadowing(true);
    let mut tcp = linker.instance(TCP)?;
    tcp.func_wrap("[method]tcp-socket.finish-connect", |mut store, (socket,): (Resource<TcpSocket>,)| {
        let state = store.data_mut();
        let connected = HostTcpSocket::finish_connect(&mut state.sockets(), socket);
        if let Ok(streams) = &connected {
            state.count_streams(streams)?;
        }
        answer(connected)
    })?;
    let mut udp = linker.instance(UDP)?;
    udp.func_wrap(
        "[method]incoming-datagram-stream.receive",
        |mut store, (stream, most): (Resource<IncomingDatagramStream>, u64)| {
            let state = store.data_mut();
            let received = HostIncomingDatagramStream::receive(&mut state.sockets(), stream, most);
            if let (Ok(datagrams), Some(carried)) = (&received, state.carried()) {
                add(carried, datagrams.iter().map(|datagram: &IncomingDatagram| datagram.data.len()).sum());
            }
            answer(received)
        },
    )?;
    udp.func_wrap(
        "[method]outgoing-datagram-stream.send",
        |mut store, (stream, datagrams): (Resource<OutgoingDatagramStream>, Vec<OutgoingDatagram>)| {
            let state = store.data_mut();
            let sizes: Vec<usize> = datagrams.iter().map(|datagram| datagram.data.len()).collect();
            let sent = HostOutgoingDatagramStream::send(&mut state.sockets(), stream, datagrams);
            if let (Ok(count), Some(carried)) = (&sent, state.carried()) {
                add(carried, sizes.iter().take(*count as usize).sum());
            }
            answer(sent)
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn answer<T>(result: SocketResult<T>) -> Result<Answer<T>> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

fn add(carried: &AtomicU64, bytes: usize) {
    carried.fetch_add(bytes as u64, Ordering::Relaxed);
}

impl State {
    /// Has a connection's streams count.
    fn count_streams(&mut self, (input, output): &Streams) -> Result<()> {
        let Some(carried) = self.carried().cloned() else { return Ok(()) };
        let table = self.sockets().table;
        let input = table.get_mut(input)?;
        let stream = std::mem::replace(input, Box::new(ClosedInputStream));
        *input = Box::new(Counted { stream, carried: carried.clone() });
        let output = table.get_mut(output)?;
        let stream = std::mem::replace(output, Box::new(ClosedOutputStream));
        *output = Box::new(Counted { stream, carried });
        Ok(())
    }
}

struct Counted<S> {
    stream: S,
    carried: Arc<AtomicU64>,
}

#[async_trait]
impl<S: Pollable> Pollable for Counted<S> {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}

#[async_trait]
impl InputStream for Counted<DynInputStream> {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let bytes = self.stream.read(size)?;
        add(&self.carried, bytes.len());
        Ok(bytes)
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

#[async_trait]
impl OutputStream for Counted<DynOutputStream> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let count = bytes.len();
        self.stream.write(bytes)?;
        add(&self.carried, count);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.stream.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.stream.check_write()
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}
