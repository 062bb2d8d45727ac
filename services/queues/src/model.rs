//! SQS's rules, whatever the API or the disk looks like. No IO.

pub mod attributes;
pub mod batch;
pub mod digest;
pub mod handle;
pub mod message;
pub mod name;
pub mod policy;
pub mod queue;
pub mod redrive;
pub mod tags;
