//! Clocks: one that a test moves by hand, one that runs with tokio's time.

use async_trait::async_trait;
use base::Timestamp;
use base::port::Clock;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Stands still until a test moves it; who sleeps wakes when it has been moved far enough.
pub struct ManualClock(Mutex<State>);

struct State {
    now: Timestamp,
    elapsed: Duration,
    /// Who sleeps, by when (in `elapsed`) they wake and in the order they came.
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
    slept: u64,
}

/// How often others may run before somebody sleeps.
const YIELDS_MAX: usize = 100_000;

impl ManualClock {
    pub fn at(now: Timestamp) -> Arc<Self> {
        let state = State { now, elapsed: Duration::ZERO, sleepers: BTreeMap::new(), slept: 0 };
        Arc::new(Self(Mutex::new(state)))
    }

    /// Lets time pass, and wakes who has slept long enough, the earliest first.
    pub fn advance(&self, by: Duration) {
        let mut state = self.0.lock();
        state.now = state.now.plus(by);
        state.pass(by);
    }

    /// Sets what the clock shows. Forward, time has passed; backward, the clock was put right and no time has passed.
    pub fn set(&self, now: Timestamp) {
        let mut state = self.0.lock();
        let passed = now.since(state.now);
        state.now = now;
        state.pass(passed);
    }

    /// Waits, while other tasks of this runtime run, until somebody sleeps; then lets time pass until the first of them
    /// wakes. Panics if nobody does for a long time.
    pub async fn pass_one_sleep(&self) {
        for _ in 0..YIELDS_MAX {
            {
                let mut state = self.0.lock();
                state.sleepers.retain(|_, sleeper| !sleeper.is_closed());
                if let Some((&(until, _), _)) = state.sleepers.first_key_value() {
                    let by = until.saturating_sub(state.elapsed);
                    state.now = state.now.plus(by);
                    state.pass(by);
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
        panic!("nobody sleeps");
    }
}

impl State {
    fn pass(&mut self, by: Duration) {
        self.elapsed += by;
        while let Some(first) = self.sleepers.first_entry().filter(|first| first.key().0 <= self.elapsed) {
            // Who no longer sleeps need not be woken.
            let _ = first.remove().send(());
        }
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.0.lock().now
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().elapsed
    }

    async fn sleep(&self, for_: Duration) {
        let (wake, woken) = oneshot::channel();
        {
            let mut state = self.0.lock();
            let place = (state.elapsed + for_, state.slept);
            state.slept += 1;
            state.sleepers.insert(place, wake);
            state.pass(Duration::ZERO);
        }
        let _ = woken.await;
    }
}

/// Runs with tokio's time: the machine's, or virtual where a test has paused it.
pub struct RunningClock {
    start: Instant,
    epoch: Timestamp,
    scale: u32,
    /// Milliseconds that it goes wrong by.
    wrong: AtomicI64,
}

impl RunningClock {
    /// Shows the machine's time.
    pub fn real() -> Arc<Self> {
        Self::scaled(1)
    }

    /// Shows the machine's time; sleeps are over, and time elapses, `scale` times as fast.
    pub fn scaled(scale: u32) -> Arc<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        Arc::new(Self { scale, ..Self::new(Timestamp(since.as_millis() as u64)) })
    }

    /// Begins at `epoch`.
    pub fn at(epoch: Timestamp) -> Arc<Self> {
        Arc::new(Self::new(epoch))
    }

    fn new(epoch: Timestamp) -> Self {
        Self { start: Instant::now(), epoch, scale: 1, wrong: AtomicI64::new(0) }
    }

    /// Is set to another time, later or earlier; none passes by it.
    pub fn jump(&self, ms: i64) {
        self.wrong.fetch_add(ms, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for RunningClock {
    fn now(&self) -> Timestamp {
        let right = self.epoch.plus(self.start.elapsed());
        Timestamp(right.0.saturating_add_signed(self.wrong.load(Ordering::Relaxed)))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed() * self.scale
    }

    async fn sleep(&self, for_: Duration) {
        tokio::time::sleep(for_ / self.scale).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_when_their_time_has_come() {
        let clock = ManualClock::at(Timestamp(1_000));
        let sleep = |seconds| {
            let clock = clock.clone();
            tokio::spawn(async move { clock.sleep(Duration::from_secs(seconds)).await })
        };
        let (short, long) = (sleep(1), sleep(10));
        clock.sleep(Duration::ZERO).await;
        clock.pass_one_sleep().await;
        short.await.expect("wakes");
        assert_eq!((clock.now(), clock.elapsed()), (Timestamp(2_000), Duration::from_secs(1)));
        clock.advance(Duration::from_millis(8_999));
        tokio::task::yield_now().await;
        assert!(!long.is_finished());
        clock.set(Timestamp(500));
        clock.advance(Duration::from_millis(1));
        long.await.expect("wakes");
        assert_eq!((clock.now(), clock.elapsed()), (Timestamp(501), Duration::from_secs(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_clock_follows_paused_time() {
        let clock = RunningClock::at(Timestamp(7));
        clock.sleep(Duration::from_secs(3_600)).await;
        assert_eq!(clock.now(), Timestamp(3_600_007));
        clock.jump(-7);
        assert_eq!((clock.now(), clock.elapsed()), (Timestamp(3_600_000), Duration::from_secs(3_600)));
    }
}
