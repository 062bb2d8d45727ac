//! Finding and removing blobs that no record names: what a crash between blob and record leaves behind.

use super::{BlobId, Blobs, blocking, failed, io_failed};
use crate::Result;
use base::Timestamp;
use futures::{Stream, StreamExt};
use object_store::ObjectStore;
use object_store::path::Path as Location;
use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// A blob in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    pub id: BlobId,
    pub bytes: u64,
    pub modified: Timestamp,
}

impl Blobs {
    /// All blobs of a space, in no particular order, read from the directory as the stream is taken.
    pub fn list(&self, space: &str) -> impl Stream<Item = Result<BlobInfo>> + Send + use<> {
        let space = space.to_owned();
        let listed = self.store.list(Some(&Location::from(space.as_str())));
        listed.filter_map(move |found| {
            let info = match found {
                Ok(meta) => meta.location.filename().map(|name| {
                    let modified = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0);
                    Ok(BlobInfo { id: BlobId::new(&space, name), bytes: meta.size, modified: Timestamp(modified) })
                }),
                // Removed while the listing ran.
                Err(object_store::Error::NotFound { .. }) => None,
                Err(e) => Some(Err(failed(&space, &e))),
            };
            // A file that somebody else put there is not a blob and stays.
            std::future::ready(info.filter(|i| i.as_ref().map_or(true, |i| i.id.parts().is_ok())))
        })
    }

    /// Removes the blobs of `space` that were last modified more than `older_than` before `now` and that `is_live` says
    /// no record names, and unfinished writes of that age. Gives how many blobs it removed. `older_than` must be longer
    /// than any time between writing a blob and committing its record.
    pub async fn sweep<F, Fut>(&self, space: &str, older_than: Duration, now: Timestamp, is_live: F) -> Result<usize>
    where
        F: Fn(BlobId) -> Fut,
        Fut: Future<Output = Result<bool>>,
    {
        let mut removed = 0;
        let mut listed = std::pin::pin!(self.list(space));
        while let Some(info) = listed.next().await {
            let info = info?;
            if now.since(info.modified) > older_than && !is_live(info.id.clone()).await? {
                self.delete(&info.id).await?;
                removed += 1;
            }
        }
        if let Some(directory) = &self.directory {
            let space = directory.root.join(space);
            let before = Timestamp(now.millis().saturating_sub(older_than.as_millis() as u64));
            blocking(move || sweep_unfinished(&space, before).map_err(|e| io_failed(&e))).await?;
        }
        Ok(removed)
    }
}

/// The object store writes to `<name>#<n>` and renames; a crash leaves such files, which its listing does not show.
fn sweep_unfinished(space: &Path, before: Timestamp) -> std::io::Result<()> {
    let fan_out = match std::fs::read_dir(space) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    for dir in fan_out {
        let dir = dir?;
        if !dir.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(dir.path())? {
            let file = file?;
            if !file.file_name().to_string_lossy().contains('#') {
                continue;
            }
            // Gone meanwhile: its writer finished or gave up.
            let Ok(modified) = file.metadata().and_then(|m| m.modified()) else { continue };
            let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
            if modified < before.millis() {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
    Ok(())
}
