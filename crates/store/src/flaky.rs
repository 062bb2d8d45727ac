//! The engine for simulations: another engine behind seeded failures. The same seed and calls give the same failures.

use crate::engine::{Batch, Committed, Engine, Item, Range};
use crate::{Error, Result};
use async_trait::async_trait;
use base::port::Clock;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

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
}

struct State {
    faults: Faults,
    random: u64,
}

/// What befalls one call.
enum Fate {
    Well,
    Lost,
    Unknown,
    Full,
}

impl Flaky {
    /// `clock` is what delays wait by.
    pub fn new(inner: Arc<dyn Engine>, clock: Arc<dyn Clock>, seed: u64, faults: Faults) -> Self {
        Self { inner, clock, state: Mutex::new(State { faults, random: seed }) }
    }

    /// Changes what fails from now on; `Faults::default()` heals everything.
    pub fn set(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    async fn fate(&self, read: bool) -> Fate {
        let (delay, fate) = {
            let mut state = self.state.lock();
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
            _ => Err(injected()),
        }
    }

    async fn scan(&self, range: &Range) -> Result<Vec<Item>> {
        match self.fate(true).await {
            Fate::Well => self.inner.scan(range).await,
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
        }
    }
}
