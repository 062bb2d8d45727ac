//! Receive attempts of a FIFO queue: a receive that is repeated under its id gets what the first one got.

use crate::store::Place;
use std::collections::HashMap;

/// How long an id is known, and how many are.
const KNOWN_MS: u64 = 300_000;
const ATTEMPTS_MAX: usize = 10_000;

/// What an attempt got: places and the receipts under which they were received.
pub type Got = Vec<(Place, u64)>;

#[derive(Default)]
pub struct Attempts(HashMap<String, (u64, Got)>);

impl Attempts {
    pub fn find(&mut self, id: &str, now: u64) -> Option<Got> {
        let (until, got) = self.0.get(id)?;
        (*until > now).then(|| got.clone())
    }

    pub fn note(&mut self, id: String, got: Got, now: u64) {
        if self.0.len() >= ATTEMPTS_MAX {
            self.0.retain(|_, (until, _)| *until > now);
        }
        if self.0.len() < ATTEMPTS_MAX {
            self.0.insert(id, (now + KNOWN_MS, got));
        }
    }

    pub fn forget_old(&mut self, now: u64) {
        self.0.retain(|_, (until, _)| *until > now);
    }
}
