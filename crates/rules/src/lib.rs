//! Pure little languages: access policies, event patterns, input transformers, schedules. No IO, no clock; every input is
//! bounded.

pub mod pattern;
pub mod policy;
pub mod schedule;
pub mod transform;
