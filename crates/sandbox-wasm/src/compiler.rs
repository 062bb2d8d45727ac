//! The process that compiles: it reads one component, checks it and makes machine code of it, and can do nothing else.
//!
//! Parsing and compiling what strangers made is an [errand](sandbox::errands). It gives the whole verdict, so that nobody
//! else has to look into the component: is it one, is its world a function's, is what it imports there, does it fit into an instance?

use crate::machine::Machine;
use crate::program::Program;
use crate::verdict;
use sandbox::ComponentError;
use sandbox::errands::{self, Bounds};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;
use wasmtime::OutOfMemory;
use wasmtime::component::Component;

/// The first argument that makes our binary this process.
pub const COMPILER_ARG: &str = "component-compiler";
/// A component larger than this is not compiled.
pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;
pub const COMPILE_MAX: Duration = Duration::from_secs(120);
pub const MEMORY_BYTES_MAX: u64 = 2 << 30;
/// The engine reserves addresses for an instance's memories, which are only compared with what the component asks for.
const RESERVED_BYTES_MAX: u64 = 12 << 30;
const CODE_BYTES_MAX: u64 = 512 << 20;
const THREADS_MAX: usize = 4;
/// The next after those of sandboxes and containers.
const USER: u32 = 2_032_768;

#[derive(Serialize, Deserialize)]
pub struct Order {
    pub component: PathBuf,
    /// A file that is not there yet.
    pub code: PathBuf,
}

/// The process's entry: the order on standard input, the verdict on standard output. Called before any thread exists.
pub fn compiler_main() -> ! {
    errands::carry_out(|order: Order| {
        let mut bytes = Vec::new();
        File::open(&order.component)?.take(COMPONENT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        let mut code = File::options().write(true).create_new(true).mode(0o600).open(&order.code)?;
        let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS_MAX));
        // From here on no file is opened.
        errands::confine(&Bounds {
            memory_bytes: MEMORY_BYTES_MAX,
            address_bytes: MEMORY_BYTES_MAX + RESERVED_BYTES_MAX,
            file_bytes: CODE_BYTES_MAX,
            // There is more than one thread.
            processor: 2 * COMPILE_MAX,
            reads: &[],
            writes: &[],
            user: Some(USER),
        })?;
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().map_err(io::Error::other)?;
        code.write_all(&compiled(&bytes).map_err(told)?)
    })
}

/// Machine code for any engine with our settings, however large its pool.
fn compiled(bytes: &[u8]) -> Result<Vec<u8>, ComponentError> {
    verdict::check_size(bytes.len() as u64, COMPONENT_BYTES_MAX)?;
    verdict::check_form(bytes)?;
    let ours = |error: wasmtime::Error| ComponentError::Internal(format!("{error:#}"));
    let machine = Machine::new(1).map_err(ours)?;
    let component = Component::new(&machine.engine, bytes).map_err(|error| match error.is::<OutOfMemory>() {
        // As where an allocation cannot fail.
        true => std::process::abort(),
        false => verdict::uncompilable(&error),
    })?;
    Program::new(machine, &component)?;
    let code = component.serialize().map_err(ours)?;
    verdict::check_code(code.len() as u64, CODE_BYTES_MAX)?;
    Ok(code)
}

fn told(error: ComponentError) -> io::Error {
    match error {
        ComponentError::Refused(why) => io::Error::new(io::ErrorKind::InvalidData, why),
        ComponentError::Internal(why) => io::Error::other(why),
    }
}
