//! `cargo xtask bench aws`: builds in release and runs the benchmarks of `tests/bench`.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

pub fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let cargo = |args: &[&str]| Command::new("cargo").args(args).current_dir(root).status().context("cannot run cargo");
    if !cargo(&["build", "--release", "-p", "wadi", "-p", "wadi-bench"])?.success() {
        bail!("the build failed");
    }
    let status = Command::new(root.join("target/release/wadi-bench")).args(arguments).current_dir(root).status()?;
    if !status.success() {
        bail!("the benchmark failed ({status})");
    }
    Ok(())
}
