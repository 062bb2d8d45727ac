//! WebAssembly components, in the node's process or a worker's: the driver for [`sandbox::Components`]. wasmtime is known here
//! and nowhere else.
//!
//! `compiler` is the process that compiles, and `compile` how the node has that done; `cache` keeps what came of it on disk.
//! `machine` is the engine: the pool that instances come from and the ticks that interrupt them. `program` is a component,
//! ready to run: a fresh instance for each request, with the `state` it has and the `limits` it is held to; `stdio` carries
//! what it writes, `outward` the requests it makes, and `carried` counts what its sockets carry. `verdict` words what is refused
//! and what went wrong.

mod cache;
mod carried;
mod compile;
mod compiler;
mod dial;
mod limits;
mod machine;
mod outward;
mod program;
mod reach;
mod state;
mod stdio;
mod verdict;

use async_trait::async_trait;
use cache::Cache;
pub use compiler::{COMPILER_ARG, compiler_main};
use machine::Machine;
use program::Program;
use sandbox::{Component, ComponentError, Components, MachineCode};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Semaphore;

/// A worker runs one instance at a time. The bounds on what an engine's instances have together are averages, and here one has
/// all of it.
const WORKER_INSTANCES: u32 = 8;

#[derive(Clone, Debug)]
pub struct Config {
    /// Our own binary, which calls [`compiler_main`] when its first argument is [`COMPILER_ARG`].
    pub compiler: PathBuf,
    /// How long compiling one may take.
    pub compile_max: Duration,
    /// Where compiled components are kept; this process's alone.
    pub cache_dir: PathBuf,
    /// Bytes of compiled components kept on disk.
    pub cache_bytes_max: u64,
    /// Instances at once.
    pub instances_max: u32,
}

impl Config {
    pub fn new(compiler: impl Into<PathBuf>, cache_dir: impl Into<PathBuf>) -> Self {
        let (compiler, cache_dir) = (compiler.into(), cache_dir.into());
        let compile_max = compiler::COMPILE_MAX;
        Self { compiler, compile_max, cache_dir, cache_bytes_max: 4 << 30, instances_max: 1000 }
    }
}

/// The driver. The engine is made when the first component comes: a node without any pays nothing.
pub struct Wasm {
    config: Arc<Config>,
    made: Arc<OnceLock<Result<Made, String>>>,
    compiling: Arc<Semaphore>,
}

#[derive(Clone)]
struct Made {
    machine: Arc<Machine>,
    cache: Arc<Cache>,
}

impl Made {
    fn new(config: &Config) -> Result<Self, String> {
        let machine = Machine::new(config.instances_max).map_err(|e| format!("{e:#}"))?;
        let cache = Cache::open(&config.cache_dir, config.cache_bytes_max, &machine.engine);
        Ok(Self { machine, cache: Arc::new(cache.map_err(|e| e.to_string())?) })
    }
}

impl Wasm {
    pub fn new(config: Config) -> Self {
        let compiling = Arc::new(Semaphore::new(compile::AT_ONCE));
        Self { config: Arc::new(config), made: Arc::default(), compiling }
    }

    async fn made(&self) -> Result<Made, ComponentError> {
        let (made, config) = (self.made.clone(), self.config.clone());
        let made = blocking(move || made.get_or_init(|| Made::new(&config)).clone()).await?;
        made.map_err(|why| ComponentError::Internal(format!("this node cannot run WebAssembly: {why}")))
    }
}

/// The component whose machine code is in this file, for a process that runs it and nothing else. To be called by a worker in
/// its sandbox, which holds whatever that code does.
///
/// # Errors
/// The file is not what this program's [`Components::compiled`] gave on this machine, or the engine cannot be made.
pub fn of_worker(code: &Path) -> Result<Arc<dyn Component>, ComponentError> {
    let machine = Machine::new(WORKER_INSTANCES).map_err(|e| ComponentError::Internal(format!("{e:#}")))?;
    Ok(Arc::new(Program::new(machine.clone(), &cache::of_worker(&machine.engine, code)?)?))
}

#[async_trait]
impl Components for Wasm {
    async fn load(&self, component: &Path) -> Result<Arc<dyn Component>, ComponentError> {
        let Made { machine, cache } = self.made().await?;
        let (name, _) = self.compiled_by(&cache, component).await?;
        let load = move || Program::new(machine.clone(), &cache.load(&machine.engine, &name)?);
        Ok(Arc::new(blocking(load).await??))
    }

    async fn compiled(&self, component: &Path) -> Result<MachineCode, ComponentError> {
        Ok(self.compiled_by(&self.made().await?.cache, component).await?.1)
    }

    fn engine(&self) -> &str {
        "wasmtime:48"
    }

    fn instances_max(&self) -> usize {
        self.config.instances_max as usize
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ComponentError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ComponentError::Internal(error.to_string()))
}
