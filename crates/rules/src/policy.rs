//! Access policies in AWS's JSON language: parse a document once, ask it many times.
//!
//! Rules after "Policy evaluation logic" and "IAM JSON policy elements" in the IAM User Guide. An explicit Deny wins
//! over any Allow; what no statement matches is [`Decision::None`]. Whatever this module cannot evaluate (an unknown
//! condition operator, a policy variable, a set operator) makes the document invalid, so that nothing is allowed by
//! something that was not understood.

mod condition;
mod document;
mod pattern;
mod resource;

pub use document::Policy;
pub use pattern::{arn_like, like};
pub use resource::{lets, statement, statements};

/// The longest document, in bytes. AWS's own bounds are lower (20 KB for a function, 20 KB for a bucket).
pub const DOCUMENT_BYTES_MAX: usize = 64 << 10;
/// The most statements in one document.
pub const STATEMENTS_MAX: usize = 1000;

/// Why a document is not a policy that can be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid policy: {0}")]
pub struct Invalid(pub String);

/// What a document says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    Deny,
    /// No statement speaks of it.
    None,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal<'a> {
    /// Nobody signed the request.
    Anonymous,
    /// An AWS service, `s3.amazonaws.com`.
    Service(&'a str),
    /// An identity of an account.
    Identity { arn: &'a str, account: &'a str },
}

/// One question to a policy. `context` holds condition keys (`aws:SourceArn`, compared without case) and their values.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub principal: Principal<'a>,
    pub action: &'a str,
    pub resource: &'a str,
    pub context: &'a [(&'a str, &'a str)],
}

#[cfg(test)]
mod tests;
