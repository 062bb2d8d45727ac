//! Builds the guest for wasm32-wasip2, once a process, and reads its components.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A component of the guest: `http` or `command`.
pub fn built(name: &str) -> Vec<u8> {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    let path = DIR.get_or_init(build).join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
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
