//! `cargo xtask bench aws | engine | chaos`: builds in release and runs the benchmarks of `tests/bench`.

use anyhow::{Context, Result, bail};
use std::process::Command;

#[derive(clap::Args)]
pub struct Args {
    /// Which benchmark, and its options: `aws [--seconds 3]`, `engine [--only warm,burst]`, `keep-alive [--seed 1]`,
    /// `chaos [--seed 7]`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, default_value = "--help")]
    bench: Vec<String>,
}

pub fn run(args: Args) -> Result<()> {
    let root = crate::root();
    let cargo = |args: &[&str]| Command::new("cargo").args(args).current_dir(root).status().context("cannot run cargo");
    if !cargo(&["build", "--release", "-p", "wadi", "-p", "wadi-bench"])?.success() {
        bail!("the build failed");
    }
    let status = Command::new(root.join("target/release/wadi-bench")).args(args.bench).current_dir(root).status()?;
    if !status.success() {
        bail!("the benchmark failed ({status})");
    }
    Ok(())
}
