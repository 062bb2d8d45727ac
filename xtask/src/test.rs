//! `cargo xtask test`: the whole suite, on a machine that has a Rust toolchain, a C compiler and Python 3.9 or newer.
//!
//! Brings its own Python packages (`.venv`, from `tests/requirements.txt`) and the Rust target of WebAssembly functions,
//! builds the binary once, then runs the style rules, the Rust tests and the black-box tests with real clients, all in the
//! dev profile: one build serves them all, with debug assertions on.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs everything, or with `quick` only what needs no network and no node.
pub fn run(root: &Path, quick: bool) -> Result<()> {
    let missing = missing();
    if !missing.is_empty() {
        bail!("the tests need {}; install {} and run this again", missing.join(", "), missing.join(" and "));
    }
    crate::tidy::run(root)?;
    build(root)?;
    step(root, "rust tests", "cargo", &["test", "--workspace", "--quiet"])?;
    if quick {
        return Ok(());
    }
    let python = venv(root)?;
    step(
        root,
        "generated files are current",
        "cargo",
        &["xtask", "codegen", "--check", "--python", python.to_str().context("a path in UTF-8")?],
    )?;
    step(
        root,
        "black-box tests",
        python.to_str().context("a path in UTF-8")?,
        &["-m", "pytest", "tests/blackbox", "-q", "--durations=10", "-p", "no:cacheprovider"],
    )?;
    attacks(root, &python, &[])
}

/// A suite that can be run alone.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Suite {
    /// What functions try to break out, and what stops them (`tests/attacks`).
    Attacks,
    /// Sandboxes, attacks and nodes on another kernel, with control groups of version 2 alone (`tests/machine`). Not part of the
    /// whole: it needs qemu, KVM and a kernel package of Debian's, or is slow.
    Machine,
}

/// Builds and runs one suite, with more arguments for its program: of pytest's for the attacks, of `tests/machine/run.py`'s for
/// the machine.
pub fn only(root: &Path, suite: Suite, more: &[String]) -> Result<()> {
    build(root)?;
    let python = venv(root)?;
    match suite {
        Suite::Attacks => attacks(root, &python, more),
        Suite::Machine => machine(root, &python, more),
    }
}

/// Everything that the tests need, and with the features that they have: each dependency is compiled once.
fn build(root: &Path) -> Result<()> {
    step(root, "the target of WebAssembly functions", "rustup", &["target", "add", "wasm32-wasip2"])?;
    step(root, "build", "cargo", &["build", "--workspace", "--bins", "--tests"])
}

/// The attacks, inside their guard: its own namespaces and control groups, so that what gets through does no harm.
fn attacks(root: &Path, python: &Path, more: &[String]) -> Result<()> {
    let python = python.to_str().context("a path in UTF-8")?;
    let pytest = ["-m", "pytest", "tests/attacks", "-q", "--durations=5", "-p", "no:cacheprovider"];
    let args = ["tests/attacks/guard.py", python].into_iter().chain(pytest).chain(more.iter().map(String::as_str));
    step(root, "attacks", python, &args.collect::<Vec<_>>())
}

/// What a kernel decides, in a virtual machine that has another.
fn machine(root: &Path, python: &Path, more: &[String]) -> Result<()> {
    let args = std::iter::once("tests/machine/run.py").chain(more.iter().map(String::as_str));
    step(root, "machine", python.to_str().context("a path in UTF-8")?, &args.collect::<Vec<_>>())
}

/// Programs that must be there, in words a person can act on.
fn missing() -> Vec<&'static str> {
    let runs = |program: &str, arg: &str| Command::new(program).arg(arg).output().is_ok_and(|o| o.status.success());
    let mut out = Vec::new();
    if !runs("python3", "--version") {
        out.push("Python 3.9 or newer (python3)");
    } else if !Command::new("python3").args(["-c", "import venv, ensurepip"]).output().is_ok_and(|o| o.status.success())
    {
        out.push("Python's venv module (Debian: python3-venv)");
    }
    if !runs("cc", "--version") {
        out.push("a C compiler (cc)");
    }
    if !runs("ip", "-Version") {
        out.push("the ip command (Debian: iproute2)");
    }
    if !runs("rustup", "--version") {
        out.push("rustup (it brings the target wasm32-wasip2)");
    }
    out
}

/// The tests' own Python, with the packages of `tests/requirements.txt`; made anew when that file changes.
pub fn venv(root: &Path) -> Result<PathBuf> {
    let requirements = root.join("tests/requirements.txt");
    let dir = root.join("target/test-venv");
    let python = dir.join("bin/python");
    let wanted = std::fs::read_to_string(&requirements).with_context(|| requirements.display().to_string())?;
    let stamp = dir.join("requirements.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(python);
    }
    println!("xtask: installing the tests' Python packages");
    let _ = std::fs::remove_dir_all(&dir);
    step(root, "venv", "python3", &["-m", "venv", dir.to_str().context("a path in UTF-8")?])?;
    let requirements = requirements.to_str().context("a path in UTF-8")?.to_owned();
    step(
        root,
        "pip install",
        python.to_str().context("a path in UTF-8")?,
        &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", &requirements],
    )?;
    std::fs::write(&stamp, wanted)?;
    Ok(python)
}

fn step(root: &Path, what: &str, program: &str, args: &[&str]) -> Result<()> {
    println!("xtask: {what}");
    let status = crate::program(program)
        .args(args)
        .current_dir(root)
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{what} failed ({status})");
    }
    Ok(())
}
