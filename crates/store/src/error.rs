//! What can go wrong with storage, as a room sees it.

/// A room maps `Full` and `Unavailable` to its retryable error; `TooLarge` is a bug in the room's own bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something read has changed since; `transact` runs the closure again, and gives this only after many tries.
    #[error("the transaction conflicted with others too many times")]
    Conflict,
    /// No space is left for writing; nothing was written; reads go on.
    #[error("storage is full")]
    Full,
    /// The engine failed. When a commit did, its writes may or may not be there; none stands without the others.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// A key or value is over its bound.
    #[error("{what} of {bytes} bytes is larger than {max}")]
    TooLarge { what: &'static str, bytes: usize, max: usize },
    /// A record on disk cannot be read by this version.
    #[error("damaged record: {0}")]
    Damaged(String),
    /// No blob has this id.
    #[error("no such blob: {0}")]
    NoSuchBlob(String),
}

impl Error {
    /// What a client is told, who may try again: that the disk is full, or else the service's own words. The cause goes to the
    /// node's log.
    pub fn told(&self, otherwise: &'static str) -> &'static str {
        match self {
            Self::Full => "No space is left on the node's disk, so nothing was written. Try again when there is.",
            _ => otherwise,
        }
    }
}
