//! The one binary: `wadi up` runs a node; every other verb is a client of the public API.

mod args;
mod client;
mod error;
mod package;
mod prices;
mod show;
mod values;
mod verbs;

use clap::Parser;
use error::{Error, Result};
use std::process::ExitCode;

fn main() -> ExitCode {
    // The sandbox launcher is this binary again, and so are what unpacks images, what compiles components and what runs one in a
    // sandbox: they come before any runtime or thread.
    match std::env::args_os().nth(1).as_deref().and_then(std::ffi::OsStr::to_str) {
        Some(node::LAUNCHER_ARG) => node::launcher_main(),
        Some(node::UNPACKER_ARG) => node::unpacker_main(),
        Some(node::COMPILER_ARG) => node::compiler_main(),
        Some(node::WORKER_ARG) => node::worker_main(),
        _ => {}
    }
    let cli = args::Cli::parse();
    show::log_to_stderr(matches!(cli.verb, args::Verb::Up(_)));
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            if !matches!(error, Error::Shown) {
                eprintln!("{:?}", miette::Report::new(error));
            }
            ExitCode::from(code)
        }
    }
}

fn run(cli: args::Cli) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::told(format!("no async runtime: {e}"), "is the machine out of threads or descriptors?"))?;
    let result = runtime.block_on(cli.run());
    // A node has been stopped by now; what is left (a poll of standard input) must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}
