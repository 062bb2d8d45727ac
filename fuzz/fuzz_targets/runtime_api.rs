//! Fuzz target: any bytes as what a runtime sends to its Runtime API.

#![no_main]

#[path = "../bodies/runtime_api.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::runtime_api(data));
