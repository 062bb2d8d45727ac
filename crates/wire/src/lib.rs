//! The AWS protocols, driven by tables that `cargo xtask codegen` makes from the public service models, and SigV4.
//!
//! A request becomes a JSON value plus raw payload bytes ([`Decoded`]), checked against the model's constraints; a reply
//! goes the other way ([`Encoded`]). No service is known here.

mod blob;
pub mod codec;
mod events;
mod message;
mod route;
pub mod sigv4;
pub mod table;
mod times;

pub use blob::Blob;
pub use codec::{decode, encode, encode_fault};
pub use events::{EVENT_STREAM_TYPE, Event, EventStream};
pub use message::{Decoded, Empty, Encoded, Fault, Input, Output};
pub use route::{Labels, RouteError};
pub use table::{Operation, Protocol, Service};
