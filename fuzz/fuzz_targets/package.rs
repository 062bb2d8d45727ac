//! Fuzz target: any bytes as a deployment package.

#![no_main]

#[path = "../bodies/package.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::package(data));
