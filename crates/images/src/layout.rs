//! Images in OCI layouts on this machine: a directory, or a tar of one, which is read where it is and not unpacked.

use crate::manifest::{DOCUMENT_BYTES_MAX, Index, hex_of};
use crate::source::Stream;
use crate::{Error, Result};
use bytes::Bytes;
use futures::StreamExt;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Files in an archive of a layout.
const FILES_MAX: usize = 100_000;
const CHUNK_BYTES: usize = 256 << 10;
const TAG: &str = "org.opencontainers.image.ref.name";

pub(crate) struct Layout {
    path: PathBuf,
    /// Where files lie in an archive: offset and length.
    files: Option<HashMap<String, (u64, u64)>>,
    tag: Option<String>,
}

impl Layout {
    pub(crate) fn directory(path: &Path, tag: Option<&str>) -> Self {
        Self { path: path.to_owned(), files: None, tag: tag.map(str::to_owned) }
    }

    pub(crate) async fn archive(path: &Path, tag: Option<&str>) -> Result<Self> {
        let (file, tag) = (path.to_owned(), tag.map(str::to_owned));
        let files = blocking(path, move || list(&file)).await?;
        Ok(Self { path: path.to_owned(), files: Some(files), tag })
    }

    /// The blob of the image that the tag names, or of the only one there is.
    pub(crate) async fn named(&self) -> Result<Bytes> {
        let index = self.whole("index.json").await?;
        let index: Index = serde_json::from_slice(&index)
            .map_err(|error| Error::refused(format!("{}: index.json cannot be read: {error}", self.path.display())))?;
        let named = |tag: &String| index.manifests.iter().find(|one| one.annotations.get(TAG) == Some(tag));
        let found = match &self.tag {
            Some(tag) => named(tag),
            None if index.manifests.len() == 1 => index.manifests.first(),
            None => named(&"latest".to_owned()),
        };
        let found = found.ok_or_else(|| {
            Error::refused(format!(
                "Source image {} has no image {}. Provide a valid source image.",
                self.path.display(),
                self.tag.as_deref().unwrap_or("latest")
            ))
        })?;
        let name = format!("blobs/sha256/{}", found.hex()?);
        crate::source::checked(&found.digest, self.whole(&name).await?)
    }

    pub(crate) async fn blob(&self, digest: &str) -> Result<Stream> {
        let hex = hex_of(digest).ok_or_else(|| Error::refused("A digest of the image is no sha256"))?;
        self.stream(&format!("blobs/sha256/{hex}")).await
    }

    async fn whole(&self, name: &str) -> Result<Bytes> {
        let (mut stream, mut whole) = (self.stream(name).await?, Vec::new());
        while let Some(chunk) = stream.next().await {
            whole.extend_from_slice(&chunk?);
            if whole.len() as u64 > DOCUMENT_BYTES_MAX {
                return Err(Error::refused(format!("{name} is larger than {DOCUMENT_BYTES_MAX} bytes")));
            }
        }
        Ok(whole.into())
    }

    async fn stream(&self, name: &str) -> Result<Stream> {
        let path = match &self.files {
            None => self.path.join(name),
            Some(_) => self.path.clone(),
        };
        let range = match &self.files {
            None => None,
            Some(files) => Some(*files.get(name).ok_or_else(|| self.missing(name))?),
        };
        let opened = blocking(&path, {
            let path = path.clone();
            move || open(&path, range)
        });
        let file = opened.await?;
        let next = |mut file: io::Take<File>| async move {
            let read = tokio::task::spawn_blocking(move || {
                let mut chunk = vec![0; CHUNK_BYTES];
                let length = file.read(&mut chunk)?;
                chunk.truncate(length);
                Ok::<_, io::Error>((Bytes::from(chunk), file))
            });
            match read.await.map_err(Error::unavailable).and_then(|read| read.map_err(Error::unavailable)) {
                Ok((chunk, _)) if chunk.is_empty() => Ok(None),
                Ok(both) => Ok(Some(both)),
                Err(error) => Err(error),
            }
        };
        Ok(futures::stream::try_unfold(file, next).boxed())
    }

    fn missing(&self, name: &str) -> Error {
        Error::refused(format!("Source image {} has no {name}. Provide a valid source image.", self.path.display()))
    }
}

fn open(path: &Path, range: Option<(u64, u64)>) -> io::Result<io::Take<File>> {
    let mut file = File::open(path)?;
    // A device or a pipe has no end.
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let (offset, length) = range.unwrap_or((0, u64::MAX));
    file.seek(SeekFrom::Start(offset))?;
    Ok(file.take(length))
}

/// Where the files of a layout lie in an archive of it.
fn list(path: &Path) -> io::Result<HashMap<String, (u64, u64)>> {
    let mut archive = tar::Archive::new(open(path, None)?.into_inner());
    let mut files = HashMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        if entry.header().entry_type() != tar::EntryType::Regular {
            continue;
        }
        if files.len() >= FILES_MAX {
            return Err(io::Error::other("it has too many files"));
        }
        let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        files.insert(name, (entry.raw_file_position(), entry.size()));
    }
    Ok(files)
}

async fn blocking<T: Send + 'static>(path: &Path, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.map_err(Error::unavailable)?;
    done.map_err(|error| {
        Error::refused(format!(
            "Source image {} cannot be read: {error}. Provide a valid source image.",
            path.display()
        ))
    })
}
