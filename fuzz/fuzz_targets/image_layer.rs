//! Fuzz target: any bytes as an image's layer.

#![no_main]

#[path = "../bodies/images.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::layer(data));
