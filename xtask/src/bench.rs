//! `cargo xtask bench aws | engine | isolation | events | chaos | drill`: builds in release and runs the benchmarks of `tests/bench`.

use crate::program;
use anyhow::{Context, Result, bail};
use std::path::Path;

#[derive(clap::Args)]
pub struct Args {
    /// Which benchmark, and its options: `aws [--seconds 3]`, `engine [--only warm,burst]`, `isolation [--only cold]`,
    /// `keep-alive [--seed 1]`, `events [--only bus]`, `chaos [--seed 7]`, `drill [--messages 200000]`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, default_value = "--help")]
    bench: Vec<String>,
}

pub fn run(args: Args) -> Result<()> {
    let root = crate::root();
    let build = ["build", "--release", "-p", "wadi", "-p", "wadi-bench"];
    if !program("cargo").args(build).current_dir(root).status().context("cannot run cargo")?.success() {
        bail!("the build failed");
    }
    let mut bench = args.bench;
    let with_component = bench.first().is_some_and(|name| name == "engine" || name == "isolation");
    if with_component && !bench.iter().any(|arg| arg.starts_with("--component")) {
        bench.extend(["--component".to_owned(), component(root)?]);
    }
    let status = program(root.join("target/release/wadi-bench")).args(bench).current_dir(root).status()?;
    if !status.success() {
        bail!("the benchmark failed ({status})");
    }
    Ok(())
}

/// The example's component, compiled.
fn component(root: &Path) -> Result<String> {
    let example = root.join("examples/wasm-hello");
    let built = root.join("target/wasm32-wasip2/release/bootstrap.wasm");
    let run = |program: &str, args: &[&str]| {
        let mut command = crate::program(program);
        command.args(args).env("CARGO_TARGET_DIR", root.join("target")).current_dir(&example);
        command.status().with_context(|| format!("cannot run {program}"))
    };
    let target = ["target", "add", "wasm32-wasip2"];
    if !run("rustup", &target)?.success() || !run("cargo", &["build", "--release", "--target", target[2]])?.success() {
        bail!("examples/wasm-hello could not be built (name a component with --component)");
    }
    Ok(built.to_str().context("a path in UTF-8")?.to_owned())
}
