//! The engine: admit → route → pool → run → meter → settle. It knows no HTTP door and no AWS API.

pub mod package;
mod runner;
pub mod version;

pub use runner::{PrepareError, Runner, RuntimeReport};
pub use version::{Catalog, Package, Routed, Runtime, Version};
