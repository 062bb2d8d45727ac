//! Leases on bytes: what somebody reads is deleted when the last reader is done, not under their hands.

use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use store::BlobId;
use tokio::sync::Notify;

/// How many blobs wait for deletion at most; more are left to the sweep.
const DOOMED_MAX: usize = 100_000;

/// Who reads what, and what waits to be deleted.
#[derive(Default)]
pub struct Leases {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    free: Notify,
}

#[derive(Default)]
struct State {
    /// By data id.
    read: HashMap<String, Reading>,
    doomed: Vec<BlobId>,
}

/// Readers of one data id.
#[derive(Default)]
struct Reading {
    readers: usize,
    /// The blobs of all its parts that somebody opens later than now.
    covered: HashSet<BlobId>,
    /// The blobs to delete when the readers are done.
    waiting: Vec<BlobId>,
}

/// A reader's hold on a data id; ends when dropped.
pub struct Lease {
    inner: Arc<Inner>,
    id: String,
}

impl Leases {
    pub fn take(&self, id: &str) -> Lease {
        self.inner.state.lock().read.entry(id.to_owned()).or_default().readers += 1;
        Lease { inner: self.inner.clone(), id: id.to_owned() }
    }

    /// The blobs of data `id` belong to nothing any more.
    pub fn doom(&self, id: &str, blobs: Vec<BlobId>) {
        if blobs.is_empty() {
            return;
        }
        let mut state = self.inner.state.lock();
        match state.read.get_mut(id) {
            Some(reading) => reading.waiting.extend(blobs),
            None => {
                state.add(blobs);
                self.inner.free.notify_one();
            }
        }
    }

    /// Waits for blobs that can be deleted.
    pub async fn doomed(&self) -> Vec<BlobId> {
        loop {
            let some = std::mem::take(&mut self.inner.state.lock().doomed);
            if !some.is_empty() {
                return some;
            }
            self.inner.free.notified().await;
        }
    }

    /// Is somebody reading the blob, or will be?
    pub fn holds(&self, blob: &BlobId) -> bool {
        let state = self.inner.state.lock();
        state.read.values().any(|r| r.covered.contains(blob) || r.waiting.contains(blob))
    }
}

impl Lease {
    /// The reader will open these blobs. The sweep leaves them alone even if whoever removed their record (and was cut
    /// off, or is about to say so) has not doomed them.
    pub fn cover(&self, blobs: Vec<BlobId>) {
        if let Some(reading) = self.inner.state.lock().read.get_mut(&self.id) {
            reading.covered.extend(blobs);
        }
    }
}

impl State {
    fn add(&mut self, blobs: Vec<BlobId>) {
        let room = DOOMED_MAX.saturating_sub(self.doomed.len());
        self.doomed.extend(blobs.into_iter().take(room));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.inner.state.lock();
        let Some(reading) = state.read.get_mut(&self.id) else { return };
        reading.readers -= 1;
        if reading.readers == 0
            && let Some(Reading { waiting, .. }) = state.read.remove(&self.id)
            && !waiting.is_empty()
        {
            state.add(waiting);
            self.inner.free.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_reader_lets_go() {
        let leases = Leases::default();
        let blob = BlobId::new("objects", "x");
        let (one, two) = (leases.take("x"), leases.take("x"));
        leases.doom("x", vec![blob.clone()]);
        drop(one);
        assert!(leases.holds(&blob));
        drop(two);
        assert!(!leases.holds(&blob));
        assert_eq!(leases.doomed().await, std::slice::from_ref(&blob));
        leases.doom("y", vec![blob.clone()]);
        assert_eq!(leases.doomed().await, [blob]);
    }
}
