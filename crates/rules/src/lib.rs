//! Pure little languages: access policies and event patterns. No IO, no clock; every input is bounded.

pub mod pattern;
pub mod policy;
