//! Runtimes that take several calls at once: each asks on a connection of its own.

use super::{End, Runtime};
use parking_lot::Mutex;
use sandbox::Status;
use std::time::Duration;
use tokio::task::JoinSet;

impl Runtime {
    /// The payload says what a call does: `exit` ends the runtime, `hang` waits for the word, a number is milliseconds.
    pub(super) async fn several(&self, calls: usize) -> End {
        let mut workers = JoinSet::new();
        for _ in 0..calls {
            let copy = |file: &Mutex<std::fs::File>| Mutex::new(file.lock().try_clone().expect("copies"));
            workers.spawn(
                Self {
                    nth: self.nth,
                    api: self.api,
                    handler: self.handler.clone(),
                    out: copy(&self.out),
                    framed: copy(&self.framed),
                    stream: None,
                    last: "none".into(),
                    word: self.word.clone(),
                }
                .work(),
            );
        }
        workers.join_next().await.expect("one at least").expect("does not panic")
    }

    async fn work(mut self) -> End {
        loop {
            let (id, payload) = self.next().await;
            match payload.as_str() {
                "exit" => return (Status::Exited(1), false),
                "hang" => self.word.notified().await,
                ms => tokio::time::sleep(Duration::from_millis(ms.parse().expect("a number"))).await,
            }
            let (status, body) = self.request("POST", &format!("runtime/invocation/{id}/response"), &payload).await;
            assert_eq!(status, 202, "{body}");
        }
    }
}
