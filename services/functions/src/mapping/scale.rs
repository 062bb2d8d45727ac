//! How many batches of a mapping are processed at once: five at first, more as long as there is more to do, fewer when
//! the function is throttled.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// "Lambda scaling with SQS standard queues": 5 at first, 300 more a minute, 1,250 at most.
const FIRST: u32 = 5;
const MORE_PER_MINUTE: u32 = 300;
const MOST: u32 = 1250;

/// A bound on batches that moves.
pub struct Scale {
    state: Mutex<State>,
    freed: Notify,
    most: u32,
}

struct State {
    busy: u32,
    limit: u32,
    /// When the limit last grew, or began to be too small.
    grown: Option<Duration>,
}

/// The right to process one batch.
pub struct Slot(Arc<Scale>);

impl Scale {
    /// `most` is the mapping's own bound, or the account's.
    pub fn new(most: u32) -> Arc<Self> {
        let most = most.clamp(1, MOST);
        let state = State { busy: 0, limit: FIRST.min(most), grown: None };
        Arc::new(Self { state: Mutex::new(state), freed: Notify::new(), most })
    }

    /// Waits for a slot; `now` is time elapsed.
    pub async fn slot(self: &Arc<Self>, now: impl Fn() -> Duration) -> Slot {
        loop {
            let freed = self.freed.notified();
            if self.enter(now()) {
                return Slot(self.clone());
            }
            freed.await;
        }
    }

    /// Takes a slot if there is one. While all are taken the limit grows with time.
    fn enter(&self, now: Duration) -> bool {
        let mut state = self.state.lock();
        if state.busy < state.limit {
            state.busy += 1;
            if state.busy < state.limit {
                state.grown = None;
            }
            return true;
        }
        let since = *state.grown.get_or_insert(now);
        let step = Duration::from_secs(60) / MORE_PER_MINUTE;
        let more = now.saturating_sub(since).as_millis() / step.as_millis();
        let more = u32::try_from(more).unwrap_or(u32::MAX).min(self.most - state.limit.min(self.most));
        if more == 0 {
            return false;
        }
        state.limit += more;
        state.grown = Some(now);
        state.busy += 1;
        true
    }

    /// The function was throttled: half as many from now on.
    pub fn throttled(&self) {
        let mut state = self.state.lock();
        state.limit = (state.limit / 2).max(1);
        state.grown = None;
    }

    /// Nothing was there to do: begin again at the first limit.
    pub fn idle(&self) {
        let mut state = self.state.lock();
        if state.busy == 0 {
            state.limit = FIRST.min(self.most);
            state.grown = None;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.state.lock().busy -= 1;
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_grows_while_it_is_too_small() {
        let scale = Scale::new(12);
        for _ in 0..5 {
            assert!(scale.enter(SECOND));
        }
        assert!(!scale.enter(SECOND), "five at first");
        assert!(scale.enter(2 * SECOND), "five more a second");
        for _ in 0..4 {
            assert!(scale.enter(2 * SECOND));
        }
        assert!(!scale.enter(2 * SECOND));
        assert!(scale.enter(60 * SECOND) && scale.enter(60 * SECOND));
        assert!(!scale.enter(600 * SECOND), "never more than its bound");
        scale.throttled();
        assert!(!scale.enter(601 * SECOND));
        assert_eq!(scale.state.lock().limit, 6);
    }

    #[tokio::test]
    async fn a_slot_is_waited_for() {
        let scale = Scale::new(1);
        let first = scale.slot(|| Duration::ZERO).await;
        let second = scale.slot(|| Duration::ZERO);
        tokio::pin!(second);
        assert!(futures::poll!(second.as_mut()).is_pending());
        drop(first);
        drop(second.await);
        assert_eq!(scale.state.lock().busy, 0);
    }
}
