//! For fuzz targets: a Runtime API with one call on offer, and one connection to it that brings whatever bytes.

use crate::desk::Desk;
use crate::log::Log;
use crate::runtime_api;
use crate::session::{Delivery, Init};
use base::port::Clock;
use base::{AccountId, Region, Scope};
use bytes::Bytes;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The id of the call.
pub const CALL: &str = "4f6c1d1e-7b1a-4a57-9d31-0c5f0a6b2e11";
const BUFFER_BYTES: usize = 64 << 10;
/// More than a connection needs for what it has read.
const TURNS: u32 = 64;

/// What came of it.
#[derive(Debug)]
pub struct Heard {
    /// All that the connection was answered.
    pub replies: Vec<u8>,
    /// The call's answer, if it has one: the response's bytes, or the error's type.
    pub answer: Option<Result<Bytes, String>>,
}

/// Sends `bytes` as a runtime would, closes its side, and reads until the other is closed, or does nothing more: it may wait
/// to answer one request while others stand behind it, and does not see then that nobody is there.
pub async fn runtime_api(bytes: &[u8], clock: Arc<dyn Clock>) -> Heard {
    let scope = Scope::new(AccountId::development(), Region::parse("us-east-1").expect("a region"));
    let log = Log::new(scope, "group".into(), "stream".into(), clock);
    let (desk, init) = Desk::new(&Arc::new(log), Some(Bytes::from_static(b"{}")), 1);
    let (ours, its) = tokio::io::duplex(BUFFER_BYTES);
    let (mut from, mut to) = tokio::io::split(ours);
    let (mut answered, mut replies) = (None, Vec::new());
    let offered = async {
        if let Ok(Init::Ready) = init.await {
            answered = Some(desk.first().offer(delivery(), None));
        }
        std::future::pending::<()>().await;
    };
    let sent = async {
        // Whoever is not listened to any more has said enough.
        let _ = to.write_all(bytes).await;
        // Who hangs up is served no further, so what was sent has its turns first.
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let _ = to.shutdown().await;
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    };
    let talk = async {
        let _ = tokio::join!(from.read_to_end(&mut replies), runtime_api::converse(its, desk.clone()));
    };
    tokio::select! {
        biased;
        () = offered => {}
        () = talk => {}
        () = sent => {}
    }
    let answer = answered.and_then(|mut answered| answered.try_recv().ok());
    let answer = answer.map(|answer| answer.map_err(|failure| failure.error_type().to_owned()));
    Heard { replies, answer }
}

fn delivery() -> Delivery {
    Delivery {
        request_id: CALL.into(),
        payload: Bytes::from_static(b"{}"),
        invoked_arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
        deadline_ms: 1_000,
        trace_id: "Root=1".into(),
        client_context: None,
        streams: false,
        start_line: "START\n".into(),
    }
}
