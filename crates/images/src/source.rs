//! What both kinds of places have: documents and layers, by digest.

use crate::layout::Layout;
use crate::manifest::{DOCUMENT_BYTES_MAX, Document, Image, document, hex_of};
use crate::reference::Place;
use crate::registry::Registry;
use crate::{Error, Result};
use bytes::Bytes;
use futures::stream::BoxStream;
use sha2::{Digest, Sha256};

pub(crate) enum Source {
    Registry(Box<Registry>),
    Layout(Layout),
}

/// Bytes as they come; nothing has been checked.
pub(crate) type Stream = BoxStream<'static, Result<Bytes>>;

impl Source {
    /// Finds the image that the place names, and reads and checks its documents: an index at most, its manifest, and its
    /// configuration.
    pub(crate) async fn image(&self, uri: &str, place: &Place) -> Result<Image> {
        let named = self.named().await?;
        let (manifest, found) = match document(&named)? {
            Document::Manifest(manifest) => (manifest, named),
            Document::Index(index) => {
                let chosen = index.choose()?;
                let bytes = self.document(&chosen.digest).await?;
                match document(&bytes)? {
                    Document::Manifest(manifest) => (manifest, bytes),
                    Document::Index(_) => return Err(Error::refused("The image's index names another index")),
                }
            }
        };
        let config_digest = manifest.config.digest.clone();
        manifest.config.hex()?;
        if manifest.config.size > DOCUMENT_BYTES_MAX {
            return Err(Error::refused(format!("The image's configuration is larger than {DOCUMENT_BYTES_MAX} bytes")));
        }
        let config = self.blob_whole(&config_digest).await?;
        let sha256 = hex::encode(Sha256::digest(&found));
        let resolved = place.resolved(&format!("sha256:{sha256}"));
        manifest.image(uri, resolved, sha256, &config)
    }

    /// The document that the place itself names.
    async fn named(&self) -> Result<Bytes> {
        match self {
            Self::Registry(registry) => registry.manifest(None).await,
            Self::Layout(layout) => layout.named().await,
        }
    }

    async fn document(&self, digest: &str) -> Result<Bytes> {
        match self {
            Self::Registry(registry) => checked(digest, registry.manifest(Some(digest)).await?),
            Self::Layout(_) => self.blob_whole(digest).await,
        }
    }

    /// A small blob, checked.
    async fn blob_whole(&self, digest: &str) -> Result<Bytes> {
        use futures::StreamExt;
        let (mut stream, mut whole) = (self.blob(digest).await?, Vec::new());
        while let Some(chunk) = stream.next().await {
            whole.extend_from_slice(&chunk?);
            if whole.len() as u64 > DOCUMENT_BYTES_MAX {
                return Err(Error::refused(format!(
                    "A document of the image is larger than {DOCUMENT_BYTES_MAX} bytes"
                )));
            }
        }
        checked(digest, whole.into())
    }

    pub(crate) async fn blob(&self, digest: &str) -> Result<Stream> {
        match self {
            Self::Registry(registry) => registry.blob(digest).await,
            Self::Layout(layout) => layout.blob(digest).await,
        }
    }
}

pub(crate) fn checked(digest: &str, bytes: Bytes) -> Result<Bytes> {
    match hex_of(digest) {
        Some(hex) if hex::encode(Sha256::digest(&bytes)) == hex => Ok(bytes),
        _ => Err(Error::refused(format!("A document of the image is not what its digest says ({digest:.100})"))),
    }
}
