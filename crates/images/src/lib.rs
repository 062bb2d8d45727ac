//! Container images: found by reference, checked, pulled into the blob store by digest, and unpacked to a directory.
//!
//! An image is resolved once, when a function is made of it: [`Image`] holds the digests of all that is pulled later, so
//! what runs is what was resolved, wherever a tag moves. Layers are blobs named by their digest, shared by all images that
//! have them. Unpacking happens in a process of its own that can write nowhere but where it is to ([`unpacker_main`]).
//!
//! `reference` where images are looked for; `registry` and `layout` the two kinds of places; `credentials`, `keeper` and
//! `challenge` what registries are shown; `manifest` what is taken from their documents, and refused; `pull` and `unpack` what is
//! done with it.

mod challenge;
mod credentials;
mod keeper;
mod layout;
mod manifest;
mod pull;
mod reference;
mod registry;
mod scan;
mod source;
mod unpack;
mod unpacker;

pub use manifest::{Image, Layer, Process};
pub use pull::{Config, Images, SPACE};
pub use reference::Allowed;
pub use registry::authorities;
pub use unpacker::{UNPACKER_ARG, unpacker_main};

/// Bytes of an image's layers, packed and unpacked, at most: AWS's bound on container images.
pub const IMAGE_BYTES_MAX: u64 = 10 << 30;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Whoever named it is to change something.
    #[error("{0}")]
    Refused(String),
    /// The registry lets this node not have it: whoever runs the node, or the registry, is to change something.
    #[error("{0}")]
    Denied(String),
    /// It cannot be had now, for no reason of its own.
    #[error("{0}")]
    Unavailable(String),
}

/// The image that two documents make, as if they had been found somewhere: what no other part needs but tests of what comes in.
pub fn read(manifest: &[u8], config: &[u8]) -> Result<Image> {
    manifest::image_of(manifest, config)
}

/// Looks through an unpacked layer within bounds, as the unpacker does: for tests of what comes in.
pub fn look_through(layer: &[u8], bytes_max: u64, entries_max: u64) -> std::io::Result<()> {
    scan::contents(layer, &mut scan::Budget { bytes: bytes_max, entries: entries_max }).map(drop)
}

impl Error {
    fn refused(text: impl Into<String>) -> Self {
        Self::Refused(text.into())
    }

    fn unavailable(text: impl std::fmt::Display) -> Self {
        Self::Unavailable(text.to_string())
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
