//! Fuzz target: any bytes as an image's manifest.

#![no_main]

#[path = "../bodies/images.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::manifest(data));
