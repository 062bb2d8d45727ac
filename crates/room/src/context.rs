//! What an operation knows of the request besides its input.

use base::{Caller, Scope};
use std::net::IpAddr;

/// The request around an operation's input.
#[derive(Clone, Debug)]
pub struct Context {
    pub caller: Caller,
    /// The id in `x-amzn-RequestId`.
    pub request_id: String,
    /// The `Host` the client spoke to, port included: where URLs in replies should point.
    pub host: String,
    pub source_ip: IpAddr,
    /// `X-Amzn-Trace-Id`, decoded: which functions the request has come through.
    pub trace: Option<String>,
}

impl Context {
    pub fn scope(&self) -> &Scope {
        &self.caller.scope
    }

    /// The trace, if it says which functions the request has come through: what is caused hands it on.
    pub fn lineage(&self) -> Option<&str> {
        self.trace.as_deref().filter(|trace| trace.contains("Lineage="))
    }

    pub fn account(&self) -> &str {
        self.caller.scope.account.as_str()
    }

    pub fn region(&self) -> &str {
        self.caller.scope.region.as_str()
    }
}
