//! What tests put in the place of the ports: clocks, seeded entropy, free memory, keys, a courier; and what
//! runs lives under seeds. Only ever a dev-dependency.

mod clock;
mod courier;
mod entropy;
mod headroom;
mod keys;
pub mod seeds;

pub use clock::{ManualClock, RunningClock};
pub use courier::Pigeonhole;
pub use entropy::Seeded;
pub use headroom::Free;
pub use keys::Keys;

use base::{AccountId, Caller, Region, Scope};

/// The development account in `us-east-1`.
pub fn scope() -> Scope {
    Scope::new(AccountId::development(), Region::parse("us-east-1").expect("a region"))
}

/// The root of [`scope`]'s account, by the key `test`.
pub fn caller() -> Caller {
    Caller { scope: scope(), access_key: "test".into(), principal: "arn:aws:iam::000000000000:root".into() }
}
