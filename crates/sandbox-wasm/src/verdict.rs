//! What is not taken and why, and how a run that went wrong is called. The texts are for the function's owner.

use sandbox::{ComponentError, Fault, Output, World};
use wasmtime::component::Component;
use wasmtime::{Engine, Error, PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

const MAGIC: &[u8] = b"\0asm";
/// Version 1, layer 0: a core module.
const CORE: [u8; 4] = [1, 0, 0, 0];
const BUILD: &str = "build it for wasm32-wasip2, or another target that makes components of the wasi:http/proxy or \
                     wasi:cli/command world of WASI 0.2";

fn refused(text: String) -> ComponentError {
    ComponentError::Refused(text)
}

/// Is it small enough to be compiled?
pub fn check_size(bytes: u64, bytes_max: u64) -> Result<(), ComponentError> {
    if bytes > bytes_max {
        let (size, max) = (bytes >> 20, bytes_max >> 20);
        return Err(refused(format!(
            "it has {size} MB, and {max} MB is the most that is compiled: leave out debug information (strip it) and \
             what the function does not need"
        )));
    }
    Ok(())
}

/// By its first bytes: is it a component at all?
pub fn check_form(bytes: &[u8]) -> Result<(), ComponentError> {
    if bytes.len() < 8 || !bytes.starts_with(MAGIC) {
        return Err(refused(format!("it is not WebAssembly: {BUILD}")));
    }
    if bytes[4..8] == CORE {
        return Err(refused(format!(
            "it is a core WebAssembly module, not a component: {BUILD}; a module made for WASI preview 1 becomes one \
             by `wasm-tools component new` with its adapter"
        )));
    }
    Ok(())
}

/// Is what was compiled small enough to be kept?
pub fn check_code(bytes: u64, bytes_max: u64) -> Result<(), ComponentError> {
    if bytes > bytes_max {
        let (size, max) = (bytes >> 20, bytes_max >> 20);
        return Err(refused(format!("it has {size} MB once compiled, and {max} MB is the most that is kept")));
    }
    Ok(())
}

/// The compiler's word on what it does not take.
pub fn uncompilable(error: &Error) -> ComponentError {
    refused(format!("it is not a valid component: {}", reasons(error)))
}

pub fn unlinkable(error: &Error) -> ComponentError {
    refused(format!(
        "it wants something that functions do not have: {}. They have WASI 0.2 (wasi:cli, wasi:http and what these name) \
         and nothing else",
        reasons(error)
    ))
}

/// What it is made for, by what it exports.
pub fn world(engine: &Engine, component: &Component) -> Result<World, ComponentError> {
    let kind = component.component_type();
    let exports: Vec<&str> = kind.exports(engine).map(|(name, _)| name).collect();
    let has = |interface: &str| exports.iter().any(|name| name.starts_with(interface));
    if has("wasi:http/incoming-handler@0.2.") {
        return Ok(World::Http);
    }
    if has("wasi:cli/run@0.2.") {
        return Ok(World::Command);
    }
    let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
    Err(refused(format!(
        "it is a component of another world: it exports {exports}, and a function exports \
         wasi:http/incoming-handler@0.2 (wasi:http/proxy) or wasi:cli/run@0.2 (wasi:cli/command)"
    )))
}

/// What became of a run that did not end well; where the engine knows where in the guest that was, `output` gets it.
pub fn fault(error: &Error, memory_refused: bool, output: &dyn Output) -> Fault {
    if let Some(I32Exit(status)) = error.downcast_ref() {
        return Fault::Exit(*status);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Fault::Full;
    }
    if let Some(trace) = error.downcast_ref::<WasmBacktrace>() {
        output.write(format!("{trace}\n").as_bytes());
    }
    // A guest that was refused memory and goes on is well; one that ends over it is out of memory, however it ends.
    if memory_refused {
        return Fault::OutOfMemory;
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => Fault::Trap(trap.to_string()),
        None => Fault::Trap(error.root_cause().to_string()),
    }
}

/// An error with its causes, on one line.
fn reasons(error: &Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}
