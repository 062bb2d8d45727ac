//! The engine: how code is compiled, the pool that instances come from, and the ticks by which a guest that computes
//! without end lets others run.

use crate::carried;
use crate::state::State;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result};

/// How long a guest computes before it lets others run.
const TICK: Duration = Duration::from_millis(1);
/// Ticks without a run after which the ticker sleeps until there is one.
const IDLE_TICKS: u32 = 200;
/// Core modules, memories and tables that there are for each instance on average. Components of interpreters have dozens
/// of core modules and one memory.
const CORE_INSTANCES_EACH: u32 = 16;
const MEMORIES_EACH: u32 = 2;
const TABLES_EACH: u32 = 8;
const TABLE_ELEMENTS_MAX: usize = 50_000;
/// What stays in memory of an instance that has gone, to be used by the next: its dirty pages up to this, which are
/// written over instead of given back and faulted in again.
const MEMORY_KEPT: usize = 1 << 20;
const TABLE_KEPT: usize = 64 << 10;
/// Places whose kept memory is worth keeping.
const WARM_MAX: u32 = 100;

pub struct Machine {
    pub engine: Engine,
    pub linker: Linker<State>,
    ticker: Arc<Ticker>,
}

impl Machine {
    pub fn new(instances_max: u32) -> Result<Arc<Self>> {
        let engine = Engine::new(&config(instances_max))?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        carried::count(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        let ticker = Arc::<Ticker>::default();
        let (ticking, ticked) = (ticker.clone(), engine.clone());
        let thread = std::thread::Builder::new().name("wasm-ticks".into()).spawn(move || ticking.tick(&ticked))?;
        let _ = ticker.thread.set(thread.thread().clone());
        Ok(Arc::new(Self { engine, linker, ticker }))
    }

    /// Time ticks for guests as long as this is held.
    pub fn ticking(&self) -> Ticking {
        self.ticker.begin();
        Ticking(self.ticker.clone())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.ticker.over.store(true, Ordering::SeqCst);
        self.ticker.wake();
    }
}

fn config(instances_max: u32) -> Config {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances_max)
        .total_stacks(instances_max)
        .total_core_instances(instances_max.saturating_mul(CORE_INSTANCES_EACH))
        .total_memories(instances_max.saturating_mul(MEMORIES_EACH))
        .total_tables(instances_max.saturating_mul(TABLES_EACH))
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(MEMORY_KEPT)
        .table_keep_resident(TABLE_KEPT)
        .max_unused_warm_slots(WARM_MAX.min(instances_max))
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .memory_init_cow(true);
    config
}

#[derive(Default)]
struct Ticker {
    running: AtomicUsize,
    over: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Ticker {
    fn begin(&self) {
        if self.running.fetch_add(1, Ordering::SeqCst) == 0 {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn tick(&self, engine: &Engine) {
        let mut idle = 0;
        while !self.over.load(Ordering::SeqCst) {
            idle = if self.running.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
            if idle > IDLE_TICKS {
                std::thread::park();
                idle = 0;
            } else {
                std::thread::sleep(TICK);
            }
            engine.increment_epoch();
        }
    }
}

/// A run, as far as the ticker is concerned.
pub struct Ticking(Arc<Ticker>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}
