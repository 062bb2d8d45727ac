//! WebAssembly components, in the node's process or a worker's: the driver for [`sandbox::Components`]. wasmtime is known here
//! and nowhere else.
//!
//! `machine` is the engine: the pool that instances come from and the ticks that interrupt them. `cache` keeps compiled
//! components on disk. `program` is one of them, ready to run: a fresh instance for each request, with the `state` it
//! has and the `limits` it is held to; `stdio` carries what it writes, `outward` the requests it makes, and `carried` counts what its
//! sockets carry. `verdict` words what is refused and what went wrong.

mod cache;
mod carried;
mod dial;
mod limits;
mod machine;
mod outward;
mod program;
mod reach;
mod state;
mod stdio;
mod verdict;

use cache::Cache;
use machine::Machine;
use program::Program;
use sandbox::{Component, ComponentError, Components};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A component larger than this is not compiled: it would take minutes and gigabytes.
const COMPONENT_BYTES_MAX: usize = 64 << 20;
/// A worker runs one instance at a time. The bounds on what an engine's instances have together are averages, and here one has
/// all of it.
const WORKER_INSTANCES: u32 = 8;

#[derive(Clone, Debug)]
pub struct Config {
    /// Where compiled components are kept; this process's alone.
    pub cache_dir: PathBuf,
    /// Bytes of compiled components kept on disk.
    pub cache_bytes_max: u64,
    /// Instances at once.
    pub instances_max: u32,
}

impl Config {
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self { cache_dir: cache_dir.into(), cache_bytes_max: 4 << 30, instances_max: 1000 }
    }
}

/// The driver. The engine is made when the first component comes: a node without any pays nothing.
pub struct Wasm {
    config: Config,
    made: OnceLock<Result<(Arc<Machine>, Cache), String>>,
}

impl Wasm {
    pub fn new(config: Config) -> Self {
        Self { config, made: OnceLock::new() }
    }

    fn made(&self) -> Result<&(Arc<Machine>, Cache), ComponentError> {
        let make = || {
            let machine = Machine::new(self.config.instances_max).map_err(|e| format!("{e:#}"))?;
            let Config { cache_dir, cache_bytes_max, .. } = &self.config;
            let cache = Cache::open(cache_dir, *cache_bytes_max, &machine.engine).map_err(|e| e.to_string())?;
            Ok((machine, cache))
        };
        let failed = |why: &String| ComponentError::Internal(format!("this node cannot run WebAssembly: {why}"));
        self.made.get_or_init(make).as_ref().map_err(failed)
    }
}

impl Wasm {
    fn program(&self, bytes: &[u8]) -> Result<Program, ComponentError> {
        verdict::check_form(bytes, COMPONENT_BYTES_MAX)?;
        let (machine, cache) = self.made()?;
        let component = cache.component(&machine.engine, bytes)?;
        Program::new(machine.clone(), &component)
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

impl Components for Wasm {
    fn load(&self, bytes: &[u8]) -> Result<Arc<dyn Component>, ComponentError> {
        Ok(Arc::new(self.program(bytes)?))
    }

    fn compiled(&self, bytes: &[u8]) -> Result<Vec<u8>, ComponentError> {
        // Made ready, so that what cannot run is refused here; nothing of it runs.
        self.program(bytes)?;
        self.made()?.1.compiled(bytes)
    }

    fn engine(&self) -> &str {
        "wasmtime:48"
    }

    fn instances_max(&self) -> usize {
        self.config.instances_max as usize
    }
}
