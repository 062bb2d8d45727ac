//! What a service must be to live in Wadi: a [`Room`] of operations from a model, or a [`Door`] that speaks HTTP itself.
//!
//! A room declares each operation once, in a [`Table`]: its name, what it touches ([`Access`]), and the function that
//! does it. The gate decodes, asks the identity port, then runs it: an operation that is not in the table cannot run,
//! and one that is cannot run unauthorised.

mod context;
mod door;
mod table;

pub use base::port::Access;
pub use context::Context;
pub use door::{Body, BodyError, Door, Head, Unread, basic, empty, full, gather, handshake};
pub use table::{Prepared, Room, Table, TableRoom};
pub use wire::Fault;
