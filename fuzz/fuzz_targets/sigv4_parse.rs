//! Fuzz target: any `Authorization` header or presigned query.

#![no_main]

#[allow(unused)]
#[path = "../bodies/wire.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::sigv4_parse(data));
