//! How much memory there is for more instances: read from the machine now and then, reckoned in between.

use base::port::Headroom;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// How old a reading may be. What is granted or freed meanwhile is reckoned.
pub(super) const READING_LASTS: Duration = Duration::from_millis(100);

pub(super) struct Gauge {
    headroom: Arc<dyn Headroom>,
    reading: Mutex<Option<Reading>>,
}

struct Reading {
    at: Duration,
    /// Bytes; below zero when more was granted than there was. `None` is no bound that can be seen.
    free: Option<i128>,
}

impl Gauge {
    pub(super) fn new(headroom: Arc<dyn Headroom>) -> Self {
        Self { headroom, reading: Mutex::new(None) }
    }

    /// Whether an instance of so many bytes fits.
    pub(super) fn fits(&self, bytes: u64, now: Duration) -> bool {
        let mut reading = self.reading.lock();
        if reading.as_ref().is_none_or(|r| now.saturating_sub(r.at) >= READING_LASTS) {
            *reading = Some(Reading { at: now, free: self.headroom.bytes().map(i128::from) });
        }
        reading.as_ref().and_then(|r| r.free).is_none_or(|free| free >= i128::from(bytes))
    }

    pub(super) fn spent(&self, bytes: u64) {
        self.change(-i128::from(bytes));
    }

    pub(super) fn freed(&self, bytes: u64) {
        self.change(i128::from(bytes));
    }

    fn change(&self, by: i128) {
        if let Some(free) = self.reading.lock().as_mut().and_then(|r| r.free.as_mut()) {
            *free += by;
        }
    }
}
