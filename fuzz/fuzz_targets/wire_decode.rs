//! Fuzz target: any request, routed and decoded by the tables of the real services.

#![no_main]

#[allow(unused)]
#[path = "../bodies/wire.rs"]
mod bodies;
#[allow(unused)]
#[path = "../../crates/wire/tests/tables/mod.rs"]
mod tables;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::wire_decode(&tables::ALL, data));
