//! The only wiring: one struct, one field per part, and the order in which they start and stop.

mod pythons;
mod settings;
mod system;

pub use settings::{Credentials, Fallback, Flags, Network, Settings};
