//! Blobs: large immutable bytes under unique names, in a directory (or, for many nodes, a bucket).

use crate::{Error, Result};
use bytes::Bytes;
use futures::Stream;
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

/// A blob's name: `<space>/<uuid>`, chosen by the writer before it writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlobId(String);

/// A stream of a blob's bytes.
pub type BlobStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Where blobs live. Cheap to clone. A record that names a blob commits after the blob is whole and synced.
#[derive(Clone)]
pub struct Blobs {
    #[allow(dead_code)]
    store: Arc<dyn ObjectStore>,
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl BlobId {
    /// `space` is a room's word (`objects`, `code`); `id` a UUID.
    pub fn new(space: &str, id: &str) -> Self {
        Self(format!("{space}/{id}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Blobs {
    /// Blobs in a directory, created if it is not there; synced to disk before a write is acknowledged.
    pub fn directory(root: &Path) -> Result<Self> {
        let failed = |e: &dyn fmt::Display| Error::Unavailable(e.to_string());
        std::fs::create_dir_all(root).map_err(|e| failed(&e))?;
        let fs = object_store::local::LocalFileSystem::new_with_prefix(root).map_err(|e| failed(&e))?;
        Ok(Self { store: Arc::new(fs.with_fsync(true)) })
    }
}
