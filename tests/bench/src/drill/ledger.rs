//! What was sent, acknowledged and received.

use anyhow::{Result, ensure};
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub struct Ledger(Mutex<Books>);

struct Books {
    acknowledged: Vec<bool>,
    /// Messages that came for each number.
    came: Vec<u16>,
    /// By id: one that is received twice because it could not be deleted is one message.
    ids: HashSet<String>,
    last: Instant,
    failures: u64,
}

impl Ledger {
    pub fn new(messages: usize) -> Self {
        Self(Mutex::new(Books {
            acknowledged: vec![false; messages],
            came: vec![0; messages],
            ids: HashSet::new(),
            last: Instant::now(),
            failures: 0,
        }))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn messages(&self) -> usize {
        self.books().came.len()
    }

    pub fn acknowledge(&self, number: usize) {
        self.books().acknowledged[number] = true;
    }

    pub fn receive(&self, number: usize, id: &str) {
        let mut books = self.books();
        if books.ids.insert(id.to_owned()) {
            books.came[number] += 1;
            books.last = Instant::now();
        }
    }

    /// A send was refused, or got no answer.
    pub fn fail(&self) {
        self.books().failures += 1;
    }

    pub fn acknowledged(&self) -> usize {
        self.books().acknowledged.iter().filter(|is| **is).count()
    }

    pub fn seen(&self) -> usize {
        self.books().came.iter().filter(|n| **n > 0).count()
    }

    pub fn silence(&self) -> Duration {
        self.books().last.elapsed()
    }

    pub fn is_complete(&self) -> bool {
        self.seen() == self.messages()
    }

    pub fn told(&self) -> String {
        let (acknowledged, seen) = (self.acknowledged(), self.seen());
        let books = self.books();
        let more = books.ids.len() - seen;
        format!(
            "{acknowledged} acknowledged, {seen} came, {more} of them more than once; {} sends were tried again",
            books.failures
        )
    }

    pub fn verdict(&self) -> Result<()> {
        let books = self.books();
        let lost = (0..books.came.len()).filter(|n| books.acknowledged[*n] && books.came[*n] == 0).collect::<Vec<_>>();
        ensure!(lost.is_empty(), "{} messages are lost: {:?} …", lost.len(), &lost[..lost.len().min(10)]);
        Ok(())
    }
}
