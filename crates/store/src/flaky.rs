//! The engine for simulations: another engine behind seeded failures. The same seed and calls give the same failures.

use crate::engine::{Batch, Committed, Engine, Item, Range};
use crate::{Error, Result};
use async_trait::async_trait;
use base::port::Clock;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often what fails, in thousandths; all 0 by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A read or scan fails.
    pub read: u32,
    /// A commit fails and has written nothing.
    pub commit_lost: u32,
    /// A commit says that it failed, and has written all: the caller cannot know.
    pub commit_unknown: u32,
    /// A commit finds no space and has written nothing.
    pub full: u32,
    /// Each call first waits up to this long.
    pub delay_max: Duration,
}

/// Fails as told, else does as the engine inside.
pub struct Flaky {
    inner: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// The node is down: nothing is answered any more.
    down: CancellationToken,
}

struct State {
    faults: Faults,
    random: u64,
    /// Calls that are answered before the node goes down, if it is to.
    left: Option<u64>,
}

/// What befalls one call.
enum Fate {
    Well,
    Lost,
    Unknown,
    Full,
    /// Nothing is answered any more; is what was to be written there?
    Down {
        written: bool,
    },
}

impl Flaky {
    /// `clock` is what delays wait by.
    pub fn new(inner: Arc<dyn Engine>, clock: Arc<dyn Clock>, seed: u64, faults: Faults) -> Self {
        let state = Mutex::new(State { faults, random: seed, left: None });
        Self { inner, clock, state, down: CancellationToken::new() }
    }

    /// Lets the node go down at the call after so many: that one and all after it are never answered, and nobody can know
    /// whether what that one was to commit was written.
    pub fn go_down_after(&self, calls: u64) {
        self.state.lock().left = Some(calls);
    }

    /// Waits until the node is down.
    pub async fn down(&self) {
        self.down.cancelled().await;
    }

    /// Changes what fails from now on; `Faults::default()` heals everything.
    pub fn set(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    async fn fate(&self, read: bool) -> Fate {
        let (delay, fate) = {
            let mut state = self.state.lock();
            if self.down.is_cancelled() || state.left == Some(0) {
                let written = !self.down.is_cancelled() && state.random().is_multiple_of(2);
                return Fate::Down { written };
            }
            state.left = state.left.map(|left| left - 1);
            let (faults, roll) = (state.faults, state.random() % 1000);
            let delay_ms = faults.delay_max.as_millis() as u64;
            let delay = if delay_ms == 0 { 0 } else { state.random() % (delay_ms + 1) };
            (delay, faults.fate(read, roll as u32))
        };
        if delay > 0 {
            self.clock.sleep(Duration::from_millis(delay)).await;
        }
        fate
    }

    async fn never<T>(&self) -> T {
        self.down.cancel();
        std::future::pending().await
    }
}

impl Faults {
    fn fate(&self, read: bool, roll: u32) -> Fate {
        if read {
            return if roll < self.read { Fate::Lost } else { Fate::Well };
        }
        let (lost, unknown) = (self.commit_lost, self.commit_lost + self.commit_unknown);
        match roll {
            r if r < lost => Fate::Lost,
            r if r < unknown => Fate::Unknown,
            r if r < unknown + self.full => Fate::Full,
            _ => Fate::Well,
        }
    }
}

impl State {
    /// SplitMix64: small, and good enough to choose who fails.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn injected() -> Error {
    Error::Unavailable("injected failure".into())
}

#[async_trait]
impl Engine for Flaky {
    async fn read(&self, key: &[u8]) -> Result<Option<Item>> {
        match self.fate(true).await {
            Fate::Well => self.inner.read(key).await,
            Fate::Down { .. } => self.never().await,
            _ => Err(injected()),
        }
    }

    async fn scan(&self, range: &Range) -> Result<Vec<Item>> {
        match self.fate(true).await {
            Fate::Well => self.inner.scan(range).await,
            Fate::Down { .. } => self.never().await,
            _ => Err(injected()),
        }
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        match self.fate(false).await {
            Fate::Well => self.inner.commit(batch).await,
            Fate::Unknown => {
                self.inner.commit(batch).await?;
                Err(injected())
            }
            Fate::Lost => Err(injected()),
            Fate::Full => Err(Error::Full),
            Fate::Down { written } => {
                if written {
                    self.inner.commit(batch).await?;
                }
                self.never().await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::{Key, Store, Tx};

    #[tokio::test]
    async fn a_node_that_is_down_answers_nothing_and_may_have_written() {
        let mut written = [0, 0];
        for seed in 0..40 {
            let memory = Arc::new(Memory::default());
            let clock = kit::ManualClock::at(base::Timestamp(0));
            let flaky = Arc::new(Flaky::new(memory.clone(), clock, seed, Faults::default()));
            let store = Store::new(flaky.clone());
            flaky.go_down_after(1);
            let put = async |key: &str| store.transact(async |tx: Tx| tx.put_bytes(&Key::of(key), vec![1])).await;
            put("a").await.expect("it is up");
            tokio::select! {
                answer = put("b") => panic!("{answer:?}"),
                () = flaky.down() => {}
            }
            let there = memory.read(Key::of("b").as_bytes()).await.expect("memory");
            written[usize::from(there.is_some())] += 1;
        }
        assert!(written.iter().all(|n| *n > 5), "{written:?}");
    }
}
