//! Whose and where: accounts, regions, and the caller of a request.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A twelve-digit AWS account number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AccountId(String);

impl AccountId {
    /// `None` unless `text` is exactly twelve ASCII digits.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())).then(|| Self(text.to_owned()))
    }

    /// The development account, `000000000000`.
    pub fn development() -> Self {
        Self("000000000000".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A region name such as `us-east-1`: 1 to 64 of `a-z`, `0-9`, `-`. A client may sign for any region.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Region(String);

impl Region {
    pub fn parse(text: &str) -> Option<Self> {
        let ok = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        ok.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An account in a region: the space in which most names are unique.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    pub account: AccountId,
    pub region: Region,
}

impl Scope {
    pub fn new(account: AccountId, region: Region) -> Self {
        Self { account, region }
    }
}

/// Who asks: the verified signer of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account whose resources the request means and the region it was signed for.
    pub scope: Scope,
    /// The access key id that signed the request.
    pub access_key: String,
    /// The ARN of the signing identity (`arn:aws:iam::000000000000:root`, a function's role session, …).
    pub principal: String,
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
