//! The engine: admit → route → pool → run → meter → settle. It knows no HTTP door and no AWS API.

pub mod version;

pub use version::{Catalog, Package, Routed, Runtime, Version};
