//! Fuzz target: SNS's filter policies.

#![no_main]

#[path = "../bodies/topics.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::filter_policy(data));
