//! What can fail in the identity room: only its storage. A wrong key is not an error but the answer `None`.

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's secrets cannot be read or kept.
    #[error("the identity room cannot use its storage: {0}")]
    Store(#[from] ::store::Error),
    /// They are not sealed with a master key that this node has.
    #[error("the node's own keys cannot be read: {0}")]
    Unreadable(#[from] ::store::seal::Unreadable),
}
