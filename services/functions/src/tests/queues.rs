//! A queue that tests fill by hand, as mappings see it.

use async_trait::async_trait;
use base::port::{Clock, QueueReader};
use base::{Arn, QueueError, QueueFacts, QueuedMessage};
use kit::ManualClock;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

pub struct FakeQueues {
    clock: Arc<ManualClock>,
    arrived: Notify,
    pub state: Mutex<State>,
}

pub struct State {
    /// `None`: there is no such queue.
    pub facts: Option<QueueFacts>,
    waiting: VecDeque<QueuedMessage>,
    pub received: usize,
    pub deleted: Vec<String>,
    /// Handles of what was made visible at once.
    pub given_back: Vec<String>,
}

impl FakeQueues {
    pub fn new(clock: Arc<ManualClock>) -> Self {
        let facts = Some(QueueFacts { fifo: false, visibility: Duration::from_secs(30), redrives: false });
        let state = State { facts, waiting: VecDeque::new(), received: 0, deleted: Vec::new(), given_back: Vec::new() };
        Self { clock, arrived: Notify::new(), state: Mutex::new(state) }
    }

    pub fn put(&self, ids: impl IntoIterator<Item = String>) {
        self.put_traced(ids, None);
    }

    /// Messages that carry this trace header.
    pub fn put_traced(&self, ids: impl IntoIterator<Item = String>, trace: Option<&str>) {
        let trace = trace.map(|trace| ("AWSTraceHeader".to_owned(), trace.to_owned()));
        let message = |id: String| QueuedMessage {
            handle: format!("handle-{id}"),
            body: format!("body of {id}"),
            id,
            body_md5: "m".into(),
            attributes: trace.clone().into_iter().collect(),
            message_attributes: serde_json::Map::new(),
            message_attributes_md5: None,
        };
        self.state.lock().waiting.extend(ids.into_iter().map(message));
        self.arrived.notify_one();
    }

    pub fn deleted(&self) -> Vec<String> {
        let mut deleted = self.state.lock().deleted.clone();
        deleted.sort();
        deleted
    }

    fn take(&self, max: usize) -> Vec<QueuedMessage> {
        let mut state = self.state.lock();
        let some = state.waiting.len().min(max);
        let taken: Vec<_> = state.waiting.drain(..some).collect();
        state.received += taken.len();
        taken
    }
}

#[async_trait]
impl QueueReader for FakeQueues {
    async fn facts(&self, _: &Arn) -> Result<QueueFacts, QueueError> {
        self.state.lock().facts.ok_or(QueueError::NoSuchQueue)
    }

    async fn receive(&self, _: &Arn, max: usize, wait: Option<Duration>) -> Result<Vec<QueuedMessage>, QueueError> {
        assert!((1..=10).contains(&max));
        let rest = async {
            match wait {
                Some(wait) => self.clock.sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(rest);
        loop {
            if self.state.lock().facts.is_none() {
                return Err(QueueError::NoSuchQueue);
            }
            let taken = self.take(max);
            if !taken.is_empty() {
                return Ok(taken);
            }
            tokio::select! {
                biased;
                () = &mut rest => return Ok(Vec::new()),
                () = self.arrived.notified() => {}
            }
        }
    }

    async fn delete(&self, _: &Arn, handles: Vec<String>) -> Result<(), QueueError> {
        let ids = handles.iter().filter_map(|h| h.strip_prefix("handle-")).map(str::to_owned);
        self.state.lock().deleted.extend(ids);
        Ok(())
    }

    async fn give_back(&self, _: &Arn, handles: Vec<String>, after: Duration) -> Result<(), QueueError> {
        if after.is_zero() {
            self.state.lock().given_back.extend(handles);
        }
        Ok(())
    }
}
