//! Fuzz target: input transformers.

#![no_main]

#[allow(unused)]
#[path = "../bodies/rules.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::transform(data));
