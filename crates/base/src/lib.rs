//! The words of the domain and the few traits by which the parts of Wadi meet. No IO happens here.
//!
//! Words live in small modules (`arn`, `time`, `event`, `call`, `stream`, `usage`, `activity`, `log`, `network`, `queue`);
//! the traits are all in [`port`].

pub mod activity;
pub mod arn;
pub mod call;
pub mod event;
pub mod log;
pub mod network;
pub mod port;
pub mod queue;
pub mod scope;
pub mod stream;
pub mod time;
pub mod usage;

pub use activity::{FunctionActivity, Percentiles};
pub use arn::Arn;
pub use call::{FunctionError, FunctionRef, Invocation, InvokeError, Mode, Outcome, Start};
pub use event::{Event, Fate, Receipt, Source, Terms, Verdict};
pub use queue::{QueueError, QueueFacts, QueuedMessage};
pub use scope::{AccountId, Caller, Region, Scope};
pub use stream::{Broken, Head, Streamed};
pub use time::Timestamp;
pub use usage::UsageRecord;
