//! Builds the guest for wasm32-wasip2, once a process; and what compiles its components.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The process that compiles.
pub const COMPILER: &str = env!("CARGO_BIN_EXE_component-compiler");

/// Where a component of the guest is: `http` or `command`.
pub fn built(name: &str) -> PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(build).join(format!("{name}.wasm"))
}

pub fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(built(name)).expect("is built")
}

fn build() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = here.join("tests/guest/Cargo.toml");
    let target = here.join("../../target/guest");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--target", "wasm32-wasip2", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        // What cargo sets for this test is not meant for another package.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status();
    assert!(
        status.is_ok_and(|s| s.success()),
        "the guest does not build: `rustup target add wasm32-wasip2` brings the target"
    );
    target.join("wasm32-wasip2/release")
}
