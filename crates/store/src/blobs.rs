//! Blobs: large immutable bytes under unique names, in a directory (or, for many nodes, a bucket).

mod reader;
mod sweep;
mod writer;

pub use reader::BlobStream;
pub use sweep::BlobInfo;
pub use writer::BlobWriter;

use crate::{Error, Result};
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The longest `<space>/<uuid>`.
const ID_BYTES_MAX: usize = 128;

/// A blob's name: `<space>/<uuid>`, chosen by the writer before it writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlobId(String);

/// Where blobs live. Cheap to clone. A record that names a blob commits after the blob is whole and synced.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// The same store, when it is a directory of this machine.
    directory: Option<Arc<Directory>>,
}

/// A directory of blobs: `<root>/<space>/<first two hex digits>/<uuid>`, so that no directory grows past thousands.
struct Directory {
    root: PathBuf,
    files: LocalFileSystem,
    /// Spaces whose 256 sub-directories are known to be on disk. As many entries as rooms have words for spaces.
    prepared: Mutex<HashMap<String, Arc<OnceCell<()>>>>,
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

    /// The space and the UUID; refuses anything else, so that no damaged record can name a path outside.
    fn parts(&self) -> Result<(&str, &str)> {
        let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        match self.0.split_once('/') {
            Some((space, id)) if word(space) && is_uuid(id) && self.0.len() <= ID_BYTES_MAX => Ok((space, id)),
            _ => {
                Err(Error::Damaged(format!("{:?} is not a blob's name", self.0.chars().take(200).collect::<String>())))
            }
        }
    }

    fn location(&self) -> Result<Location> {
        let (space, id) = self.parts()?;
        Ok(Location::from(format!("{space}/{}/{id}", &id[..2])))
    }
}

fn is_uuid(id: &str) -> bool {
    let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    id.len() == 36
        && id.bytes().enumerate().all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { digit(b) })
}

impl Blobs {
    /// Blobs in a directory, created (for its owner alone) if it is not there. Writes are synced to disk, the
    /// directories they stand in included, before they are acknowledged.
    pub fn directory(root: &Path) -> Result<Self> {
        create_private(root).map_err(|e| io_failed(&e))?;
        let files = LocalFileSystem::new_with_prefix(root).map_err(|e| failed("", &e))?.with_fsync(true);
        let root = root.canonicalize().map_err(|e| io_failed(&e))?;
        let directory = Directory { root, files: files.clone(), prepared: Mutex::default() };
        Ok(Self { store: Arc::new(files), directory: Some(Arc::new(directory)) })
    }

    /// Writes a blob whole: durable and visible when it returns, else not there.
    pub async fn put(&self, id: &BlobId, bytes: Bytes) -> Result<()> {
        let location = self.prepare(id).await?;
        self.store.put(&location, PutPayload::from(bytes)).await.map_err(|e| failed(id.as_str(), &e))?;
        Ok(())
    }

    /// Starts writing a blob piece by piece in flat memory.
    pub fn writer(&self, id: &BlobId) -> BlobWriter {
        BlobWriter::new(self.clone(), id.clone())
    }

    /// Removes a blob; one that is not there is no error.
    pub async fn delete(&self, id: &BlobId) -> Result<()> {
        match self.store.delete(&id.location()?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(failed(id.as_str(), &e)),
        }
    }

    /// How many bytes a blob has; `None` when it is not there.
    pub async fn size(&self, id: &BlobId) -> Result<Option<u64>> {
        match self.store.head(&id.location()?).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(failed(id.as_str(), &e)),
        }
    }

    /// The file a blob is in, where blobs live in a directory of this machine. Read it, never write it.
    pub fn local_path(&self, id: &BlobId) -> Option<PathBuf> {
        self.directory.as_ref()?.files.path_to_filesystem(&id.location().ok()?).ok()
    }

    /// The blob's location, in a directory that is already safely on disk.
    async fn prepare(&self, id: &BlobId) -> Result<Location> {
        let location = id.location()?;
        if let Some(directory) = &self.directory {
            directory.clone().prepare(id.parts()?.0).await?;
        }
        Ok(location)
    }
}

impl Directory {
    /// Makes a space's sub-directories once, all synced before the first blob. Were each made by its first blob, a
    /// second one could be acknowledged in a directory whose own entry is not yet on disk.
    async fn prepare(self: Arc<Self>, space: &str) -> Result<()> {
        let cell = self.prepared.lock().entry(space.to_owned()).or_default().clone();
        let made = cell.get_or_try_init(|| async {
            let (root, space) = (self.root.clone(), self.root.join(space));
            blocking(move || make_fan_out(&root, &space).map_err(|e| io_failed(&e))).await
        });
        made.await.copied()
    }
}

fn make_fan_out(root: &Path, space: &Path) -> std::io::Result<()> {
    let make = |dir: &Path| match std::fs::create_dir(dir) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    };
    make(space)?;
    for i in 0..=255u8 {
        make(&space.join(format!("{i:02x}")))?;
    }
    std::fs::File::open(space)?.sync_all()?;
    std::fs::File::open(root)?.sync_all()
}

fn create_private(root: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
    match root.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(Error::Unavailable(e.to_string())))
}

fn io_failed(e: &std::io::Error) -> Error {
    match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::Full,
        _ => Error::Unavailable(e.to_string()),
    }
}

/// What an error of the object store means. A full disk is an `io::Error` somewhere down its chain of causes.
fn failed(id: &str, e: &object_store::Error) -> Error {
    if matches!(e, object_store::Error::NotFound { .. }) {
        return Error::NoSuchBlob(id.to_owned());
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(e);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return io_failed(io);
        }
        cause = inner.source();
    }
    Error::Unavailable(e.to_string())
}

#[cfg(test)]
mod tests;
