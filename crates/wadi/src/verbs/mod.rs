//! The verbs, one file each.

pub mod demo;
pub mod deploy;
pub mod doctor;
pub mod events;
pub mod functions;
pub mod invoke;
pub mod list;
pub mod logs;
pub mod top;
pub mod up;
pub mod usage;
