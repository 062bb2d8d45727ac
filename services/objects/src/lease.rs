//! Leases on bytes: what somebody reads is deleted when the last reader is done, not under their hands.

use parking_lot::Mutex;
use std::collections::HashMap;
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
    /// By data id: how many readers, and the blobs to delete when they are done.
    read: HashMap<String, (usize, Vec<BlobId>)>,
    doomed: Vec<BlobId>,
}

/// A reader's hold on a data id; ends when dropped.
pub struct Lease {
    inner: Arc<Inner>,
    id: String,
}

impl Leases {
    pub fn take(&self, id: &str) -> Lease {
        self.inner.state.lock().read.entry(id.to_owned()).or_default().0 += 1;
        Lease { inner: self.inner.clone(), id: id.to_owned() }
    }

    /// The blobs of data `id` belong to nothing any more.
    pub fn doom(&self, id: &str, blobs: Vec<BlobId>) {
        if blobs.is_empty() {
            return;
        }
        let mut state = self.inner.state.lock();
        match state.read.get_mut(id) {
            Some((_, waiting)) => waiting.extend(blobs),
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

    /// Is the blob without a record, but still being read?
    pub fn holds(&self, blob: &BlobId) -> bool {
        self.inner.state.lock().read.values().any(|(_, waiting)| waiting.contains(blob))
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
        let Some((readers, _)) = state.read.get_mut(&self.id) else { return };
        *readers -= 1;
        if *readers == 0
            && let Some((_, blobs)) = state.read.remove(&self.id)
            && !blobs.is_empty()
        {
            state.add(blobs);
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
