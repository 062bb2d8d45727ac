//! Pure little languages: access policies, event patterns, input transformers, schedules, CloudEvents. No IO, no clock;
//! every input is bounded.

pub mod cloudevent;
pub mod pattern;
pub mod policy;
pub mod schedule;
pub mod transform;
