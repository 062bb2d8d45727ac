//! The way of a streamed response from a runtime to the caller. It holds a few pieces, so that a caller who reads slowly
//! makes the function wait; when the caller has gone, the function goes on and what it writes is dropped.

use base::{Broken, Head, InvokeError, Outcome, Streamed};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, ready};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Pieces on their way at once. A piece is what one read of the runtime's connection gave: 400 KB at most, mostly far
/// less.
const PIECES_MAX: usize = 4;

/// Where a caller waits for the response to begin.
pub(crate) type Opening = oneshot::Sender<Begun>;

/// A response that has begun.
pub(crate) struct Begun {
    executed_version: String,
    head: Head,
    pieces: mpsc::Receiver<Bytes>,
    whole: Arc<AtomicBool>,
}

impl Begun {
    pub(crate) fn streamed(self, outcome: BoxFuture<'static, Result<Outcome, InvokeError>>) -> Streamed {
        let Self { executed_version, head, mut pieces, whole } = self;
        let mut over = false;
        let next = move |cx: &mut std::task::Context<'_>| {
            let piece = ready!(pieces.poll_recv(cx)).map(Ok);
            let broken = piece.is_none() && !std::mem::replace(&mut over, true) && !whole.load(Ordering::Acquire);
            Poll::Ready(piece.or(broken.then_some(Err(Broken))))
        };
        let chunks = futures::stream::poll_fn(next).boxed();
        Streamed { executed_version, head: Some(head), chunks, outcome }
    }
}

/// Why no more is taken.
#[derive(Debug, PartialEq)]
pub(crate) enum Full {
    /// All that a response may have has been taken.
    TooLarge,
    /// The run is over, by its deadline or the runtime's end.
    Over,
}

/// One call's outlet: its run closes it, the Runtime API writes to it.
pub(crate) struct Outlet {
    executed_version: String,
    bytes_max: u64,
    way: Mutex<Way>,
    sent: AtomicU64,
    whole: Arc<AtomicBool>,
    over: CancellationToken,
}

enum Way {
    Unopened(Opening),
    Open(mpsc::Sender<Bytes>),
    Closed,
}

impl Outlet {
    pub(crate) fn new(opening: Opening, executed_version: String, bytes_max: u64) -> Self {
        let way = Mutex::new(Way::Unopened(opening));
        let (sent, whole, over) = (AtomicU64::new(0), Arc::default(), CancellationToken::new());
        Self { executed_version, bytes_max, way, sent, whole, over }
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes that the function has streamed, whoever read them.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Tells the caller how the response begins; the first word counts.
    pub(crate) fn begin(&self, head: &Head) -> Option<mpsc::Sender<Bytes>> {
        let mut way = self.way.lock();
        match std::mem::replace(&mut *way, Way::Closed) {
            Way::Unopened(opening) => {
                let (sender, pieces) = mpsc::channel(PIECES_MAX);
                let (executed_version, whole) = (self.executed_version.clone(), self.whole.clone());
                // A caller that has gone is found out when the first piece is sent.
                let _ = opening.send(Begun { executed_version, head: head.clone(), pieces, whole });
                *way = Way::Open(sender.clone());
                Some(sender)
            }
            Way::Open(sender) => {
                *way = Way::Open(sender.clone());
                Some(sender)
            }
            Way::Closed => None,
        }
    }

    /// Hands on a piece, and waits while the caller is behind. Of one that goes over the limit, what fits.
    pub(crate) async fn write(&self, head: &Head, mut piece: Bytes) -> Result<(), Full> {
        let left = self.bytes_max.saturating_sub(self.sent());
        let too_large = piece.len() as u64 > left;
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(sender) = self.begin(head) else { return Err(Full::Over) };
        self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        if !piece.is_empty() {
            tokio::select! {
                biased;
                // Fails when the caller has gone: the run goes on all the same.
                _ = sender.send(piece) => {}
                () = self.over.cancelled() => return Err(Full::Over),
            }
        }
        if too_large { Err(Full::TooLarge) } else { Ok(()) }
    }

    /// The response is whole: the caller's stream ends well after what is on its way.
    pub(crate) fn finish(&self, head: &Head) {
        if self.begin(head).is_some() {
            self.whole.store(true, Ordering::Release);
            *self.way.lock() = Way::Closed;
        }
    }

    /// The run is over: where the response is not whole, the caller's stream breaks off after what is on its way.
    pub(crate) fn close(&self) {
        *self.way.lock() = Way::Closed;
        self.over.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn outlet(bytes_max: u64) -> (Arc<Outlet>, oneshot::Receiver<Begun>) {
        let (opening, begun) = oneshot::channel();
        (Arc::new(Outlet::new(opening, "1".into(), bytes_max)), begun)
    }

    const HEAD: Head = Head::Payload { content_type: None };

    #[tokio::test]
    async fn a_slow_reader_makes_the_writer_wait_and_a_gone_one_does_not() {
        let (outlet, mut begun) = outlet(1000);
        for _ in 0..PIECES_MAX {
            outlet.write(&HEAD, Bytes::from_static(b"1234")).await.expect("there is room");
        }
        let blocked = outlet.write(&HEAD, Bytes::from_static(b"1234"));
        assert!(tokio::time::timeout(Duration::from_millis(20), blocked).await.is_err());
        let begun = begun.try_recv().expect("it has begun");
        drop(begun);
        for _ in 0..100 {
            outlet.write(&HEAD, Bytes::from_static(b"1")).await.expect("nobody reads, nobody waits");
        }
        assert_eq!(outlet.sent(), 4 * PIECES_MAX as u64 + 4 + 100);
    }

    #[tokio::test]
    async fn the_end_of_the_run_frees_a_waiting_writer() {
        let (outlet, mut begun) = outlet(1000);
        let writer = tokio::spawn({
            let outlet = outlet.clone();
            async move { while outlet.write(&HEAD, Bytes::from_static(b"1")).await.is_ok() {} }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        outlet.close();
        writer.await.expect("it stops");
        let mut pieces = begun.try_recv().expect("it has begun").pieces;
        let mut read = 0;
        while pieces.recv().await.is_some() {
            read += 1;
        }
        assert_eq!(read, PIECES_MAX, "what was on its way, then the end");
    }

    #[tokio::test]
    async fn a_stream_says_whether_it_is_whole() {
        for whole in [true, false] {
            let (outlet, mut begun) = outlet(1000);
            outlet.write(&HEAD, Bytes::from_static(b"1")).await.expect("there is room");
            if whole {
                outlet.finish(&HEAD);
            }
            outlet.close();
            let streamed = begun.try_recv().expect("it has begun").streamed(Box::pin(std::future::pending()));
            let seen: Vec<_> = streamed.chunks.collect().await;
            let end = (!whole).then_some(Err(Broken));
            assert_eq!(seen, [Ok(Bytes::from_static(b"1"))].into_iter().chain(end).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn what_fits_is_sent() {
        let (outlet, mut begun) = outlet(5);
        outlet.write(&HEAD, Bytes::from_static(b"123")).await.expect("fits");
        assert_eq!(outlet.write(&HEAD, Bytes::from_static(b"4567")).await, Err(Full::TooLarge));
        outlet.close();
        let mut pieces = begun.try_recv().expect("it has begun").pieces;
        assert_eq!(pieces.recv().await.as_deref(), Some(&b"123"[..]));
        assert_eq!(pieces.recv().await.as_deref(), Some(&b"45"[..]));
        assert_eq!(pieces.recv().await, None);
    }
}
