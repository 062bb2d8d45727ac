//! Names, ARNs and URLs of queues.

use crate::error::{Error, Result};
use base::{AccountId, Arn, Region, Scope};
use serde::{Deserialize, Serialize};

pub const FIFO_SUFFIX: &str = ".fifo";
const NAME_CHARS_MAX: usize = 80;

/// A queue's whereabouts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Named {
    pub scope: Scope,
    pub name: String,
}

impl Named {
    pub fn arn(&self) -> Arn {
        Arn::new("sqs", self.scope.region.as_str(), self.scope.account.as_str(), self.name.as_str())
    }

    /// The queue's URL for a client that spoke to `host`.
    pub fn url(&self, host: &str) -> String {
        format!("http://{host}/{}/{}", self.scope.account, self.name)
    }

    pub fn of_arn(arn: &Arn) -> Option<Self> {
        let scope = Scope::new(AccountId::parse(&arn.account)?, Region::parse(&arn.region)?);
        let queue = arn.service == "sqs" && is_name(&arn.resource);
        queue.then(|| Self { scope, name: arn.resource.clone() })
    }

    /// The queue that a URL, or its path alone, means: its last two segments are account and name. The region is where
    /// the caller asks.
    pub fn of_url(caller: &Scope, url: &str) -> Result<Self> {
        let invalid = || Error::Invalid(format!("The address {} is not valid for this endpoint.", shown(url)));
        let path = url.split_once("://").map_or(url, |(_, rest)| rest);
        let mut segments = path.trim_end_matches('/').rsplit('/');
        let name = segments.next().filter(|n| !n.is_empty()).ok_or_else(invalid)?;
        let account = segments.next().ok_or_else(invalid)?;
        let account = AccountId::parse(account).ok_or_else(invalid)?;
        if !is_name(name) {
            return Err(Error::NoSuchQueue);
        }
        Ok(Self { scope: Scope::new(account, caller.region.clone()), name: name.to_owned() })
    }
}

/// The start of a text that an error repeats.
pub fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

pub fn is_fifo(name: &str) -> bool {
    name.ends_with(FIFO_SUFFIX)
}

fn is_name(name: &str) -> bool {
    let base = name.strip_suffix(FIFO_SUFFIX).unwrap_or(name);
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !base.is_empty() && name.len() <= NAME_CHARS_MAX && base.bytes().all(legal)
}

/// A name for a new queue.
pub fn check(name: &str, fifo: bool) -> Result<()> {
    match (is_name(name), fifo, is_fifo(name)) {
        (true, true, true) | (true, false, false) => Ok(()),
        (_, true, _) => Err(Error::Invalid(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with \
             .fifo suffix and be 1 to 80 in length."
                .into(),
        )),
        _ => Err(Error::Invalid(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "A-b_9"] {
            assert!(check(good, false).is_ok() && check(&format!("{good}.fifo"), true).is_ok());
        }
        for (bad, fifo) in [("", false), ("a.b", false), ("é", false), ("a.fifo", false), ("a", true), (".fifo", true)]
        {
            assert!(check(bad, fifo).is_err(), "{bad}");
        }
        assert!(check(&"a".repeat(80), false).is_ok() && check(&"a".repeat(81), false).is_err());
    }

    #[test]
    fn urls_and_arns() {
        let scope = kit::scope();
        let named = Named { scope: scope.clone(), name: "q.fifo".into() };
        for url in
            ["http://localhost:4566/000000000000/q.fifo", "/000000000000/q.fifo", "https://h/000000000000/q.fifo/"]
        {
            assert_eq!(Named::of_url(&scope, url).expect("a queue"), named);
        }
        for url in ["", "q.fifo", "http://h/q.fifo", "http://h/123/q"] {
            assert!(matches!(Named::of_url(&scope, url), Err(Error::Invalid(_))), "{url}");
        }
        assert_eq!(Named::of_arn(&named.arn()), Some(named));
        assert_eq!(Named::of_arn(&"arn:aws:sns:us-east-1:000000000000:q".parse().expect("an ARN")), None);
    }
}
