//! The rules of functions, whatever the API or the disk looks like. No IO.

pub mod alias;
pub mod environment;
pub mod managed;
pub mod name;
pub mod provisioned;
pub mod runtime;
pub mod settings;
pub mod statement;

/// The largest zip sent inline, and the largest unpacked package (a function's code with its layers), in bytes.
pub const INLINE_ZIP_BYTES_MAX: u64 = 52_428_800;
pub const UNPACKED_BYTES_MAX: u64 = 262_144_000;
/// The largest request of an operation that carries code: 50 MB in base64 and the rest of the request.
pub const CODE_REQUEST_BYTES_MAX: usize = 70_167_211;
/// The largest payload of a synchronous and of an asynchronous invocation, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 6_291_456;
pub const EVENT_BYTES_MAX: usize = 1_048_576;
/// Concurrent executions that reservations must leave to the other functions of an account.
pub const UNRESERVED_MIN: u32 = 100;
pub const LAYERS_MAX: usize = 5;
pub const TAGS_MAX: usize = 50;
/// The longest resource policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 20_480;
/// The version that is not published.
pub const LATEST: &str = "$LATEST";
/// The published version that has no number and is published anew in its place: what a call without a qualifier runs of a
/// function on a capacity provider.
pub const LATEST_PUBLISHED: &str = "$LATEST.PUBLISHED";
