//! Fuzz target: any bytes as what the launcher is asked to raise.

#![no_main]

#[path = "../bodies/launcher.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::launcher(data));
