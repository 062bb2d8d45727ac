//! Our binary as the worker of a component: the engine's part of it, the compiled code, and what a process has.

use crate::system::SystemClock;
use engine::worker;
pub use engine::worker::WORKER_ARG;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The process's entry, in a sandbox. Returns by exiting: with 0 never, for whoever runs it ends it.
pub fn worker_main() -> ! {
    let Err(error) = work();
    eprintln!("the component's worker ends: {error}");
    std::process::exit(1)
}

fn work() -> io::Result<std::convert::Infallible> {
    let order = std::env::var(worker::ORDER).map_err(io::Error::other)?;
    // A guest that computes lets others run every millisecond, so one thread does for it and its connections.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let component = sandbox_wasm::of_worker(Path::new(worker::CODE));
    let clock = Arc::new(SystemClock::new());
    runtime.block_on(worker::work(&order, component, clock, Box::new(io::stdout())))
}
