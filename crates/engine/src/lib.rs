//! The engine: admit → route → pool → run → meter → settle. It knows no HTTP door and no AWS API.
//!
//! `heart` is the path of one call. `admit` holds tickets, `pool` lends instances, `forge` makes them from templates
//! (`template`, over `cache`, `package`, `python`, `nodejs`, `environment`), by copying `bases` and `zygote`s, of `cells`, or
//! from nothing. An `instance` holds a `live` sandbox, or a seat at one whose calls `share` it: its `session`, at the
//! sandbox's `desk`, is the state machine between a `run` and the `runtime_api`; what is streamed leaves by the call's
//! `outlet`; `relay` leads from inside to the platform; `pipes` and `log` carry what it writes. `wasm` runs components, in this
//! process or in workers of its own. `stats` counts the last minute for `wadi top`. `failure` knows how AWS words what goes wrong.

#[cfg(test)]
extern crate self as engine;

mod admit;
mod bases;
mod cache;
mod cells;
mod desk;
mod environment;
mod failure;
mod forge;
mod heart;
mod instance;
mod interpreters;
pub mod keep;
mod live;
mod log;
mod nodejs;
mod outlet;
pub mod package;
mod pipes;
mod pool;
#[doc(hidden)]
pub mod probe;
mod python;
mod relay;
mod run;
mod runner;
mod runtime_api;
mod session;
mod share;
mod stats;
mod template;
mod templates;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod testing;
#[cfg(test)]
mod tests;
mod tiers;
pub mod version;
mod wasm;
mod way;
mod zygote;

pub use heart::{Config, Engine, Parts};
pub use images::{Error as ImageError, Image, SPACE as IMAGE_SPACE};
pub use runner::{Entrance, PrepareError, Provisioned, Runner, RuntimeReport, Served};
pub use sandbox::HttpBody;
pub use tiers::Tiers;
pub use version::{Catalog, Code, ImageConfig, Isolation, Package, Routed, Runtime, Version};
pub use wasm::worker;
