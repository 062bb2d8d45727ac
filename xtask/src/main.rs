//! Development tasks: `cargo xtask codegen | tidy | test | bench`.

mod bench;
mod codegen;
mod test;
mod tidy;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks of Wadi")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Generate the services' tables and shapes from their models.
    Codegen(codegen::Args),
    /// Check the rules that would otherwise be review remarks.
    Tidy,
    /// Run all tests, or one suite.
    Test {
        /// Only what needs no network and no node.
        #[arg(long)]
        quick: bool,
        /// This suite alone.
        suite: Option<test::Suite>,
        /// After `--`: arguments for that suite's program.
        #[arg(last = true, requires = "suite")]
        more: Vec<String>,
    },
    /// Run the benchmarks.
    Bench(bench::Args),
}

fn main() -> std::process::ExitCode {
    let done = match Cli::parse().task {
        Task::Codegen(args) => codegen::run(args),
        Task::Tidy => tidy::run(root()),
        Task::Test { suite: Some(suite), more, .. } => test::only(root(), suite, &more),
        Task::Test { quick, suite: None, .. } => test::run(root(), quick),
        Task::Bench(args) => bench::run(args),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace that RUST_BACKTRACE would add: these are findings, not crashes.
            eprintln!("xtask: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// A program in the environment that the user has. What the cargo that runs us has added of this crate makes some build scripts
/// (ring's) believe that all has changed.
fn program(program: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    let ours = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of| name.starts_with(of));
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command
}

/// The root of the repository.
fn root() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root")
}
