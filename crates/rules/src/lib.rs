//! Pure little languages: for now access policies. No IO, no clock; every input is bounded.

pub mod policy;
