//! A courier that goes nowhere.

use async_trait::async_trait;
use base::port::{Courier, SendError};
use bytes::Bytes;
use http::{Request, Response};
use parking_lot::Mutex;
use std::time::Duration;

type Answer = Box<dyn FnMut(&Request<Bytes>) -> Result<Response<Bytes>, SendError> + Send>;

/// Keeps what was sent, and answers as the test says.
pub struct Pigeonhole {
    sent: Mutex<Vec<Request<Bytes>>>,
    answer: Mutex<Answer>,
}

impl Pigeonhole {
    pub fn new(answer: impl FnMut(&Request<Bytes>) -> Result<Response<Bytes>, SendError> + Send + 'static) -> Self {
        Self { sent: Mutex::default(), answer: Mutex::new(Box::new(answer)) }
    }

    /// Answers with this status and nothing more.
    pub fn always(status: u16) -> Self {
        Self::new(move |_| Ok(Response::builder().status(status).body(Bytes::new()).expect("a status")))
    }

    /// Takes out what was sent.
    pub fn sent(&self) -> Vec<Request<Bytes>> {
        std::mem::take(&mut self.sent.lock())
    }
}

#[async_trait]
impl Courier for Pigeonhole {
    async fn send(&self, request: Request<Bytes>, _: Duration) -> Result<Response<Bytes>, SendError> {
        let answer = (self.answer.lock())(&request);
        self.sent.lock().push(request);
        answer
    }
}
