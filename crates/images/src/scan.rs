//! A layer is read once before it is unpacked: whether it is what its digest says, how much it holds, and nothing odd.
//!
//! The unpacking itself is ocirender's, on the tar crate; both keep within their directory. What they do not bound is
//! bounded here, and kinds of entries that only few programs agree on are refused.

use crate::manifest::Packing;
use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path};

/// Entries of all layers together.
pub(crate) const ENTRIES_MAX: u64 = 500_000;
const NAME_BYTES_MAX: usize = 4096;

/// What all layers of an image have used up so far.
pub(crate) struct Budget {
    pub bytes: u64,
    pub entries: u64,
}

/// A failure that tells what is wrong with the layer.
pub(crate) fn odd(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

/// Reads a layer to its end.
///
/// # Errors
/// `InvalidData` for what is refused, with the reason.
pub(crate) fn layer(path: &Path, packing: Packing, diff_sha256: &str, budget: &mut Budget) -> io::Result<()> {
    let file = BufReader::new(File::open(path)?);
    let unpacked: Box<dyn Read> = match packing {
        Packing::Plain => Box::new(file),
        Packing::Gzip => Box::new(MultiGzDecoder::new(file)),
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::new(file)?),
    };
    // What the system says is its own; all else is said of the layer.
    let digest = contents(unpacked, budget).map_err(|error| match error.raw_os_error() {
        Some(_) => error,
        None => odd(error.to_string()),
    })?;
    if digest == diff_sha256 {
        return Ok(());
    }
    Err(odd("a layer is not what the image's configuration says"))
}

/// Checks an unpacked tar; its digest.
pub(crate) fn contents(unpacked: impl Read, budget: &mut Budget) -> io::Result<String> {
    let mut counted = Counted { inner: unpacked, left: budget.bytes, digest: Sha256::new() };
    let mut archive = tar::Archive::new(&mut counted);
    for entry in archive.entries()? {
        let mut entry = entry?;
        budget.entries = budget.entries.checked_sub(1).ok_or_else(|| odd("it has too many entries"))?;
        let kind = entry.header().entry_type();
        let sparse = match entry.pax_extensions()? {
            Some(mut extensions) => {
                extensions.any(|one| one.is_ok_and(|one| one.key_bytes().starts_with(b"GNU.sparse")))
            }
            None => false,
        };
        let path = entry.path()?.into_owned();
        let shown = path.display();
        if sparse || kind.is_gnu_sparse() {
            return Err(odd(format!("{shown:.200} is a sparse file, which is not taken")));
        }
        if path.as_os_str().len() > NAME_BYTES_MAX || path.components().any(|part| part == Component::ParentDir) {
            return Err(odd(format!("{shown:.200} leads out of the image")));
        }
        if path.to_str().is_none() {
            return Err(odd(format!("{shown:.200} has a name that is no UTF-8")));
        }
        let removes = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(".wh."));
        if removes.is_some_and(|name| matches!(name, "" | "." | "..")) {
            return Err(odd(format!("{shown:.200} removes what has no name")));
        }
        if kind.is_hard_link() {
            let target = entry.link_name()?.ok_or_else(|| odd(format!("the link {shown:.200} leads nowhere")))?;
            if target.components().any(|part| part == Component::ParentDir) {
                return Err(odd(format!("the link {shown:.200} leads out of the image")));
            }
        }
        let known = kind.is_file() || kind.is_dir() || kind.is_symlink() || kind.is_hard_link() || kind.is_contiguous();
        if !known && !kind.is_pax_global_extensions() {
            return Err(odd(format!("{shown:.200} is a device or a pipe, and images have none here")));
        }
    }
    // What follows the archive's end is part of the layer.
    io::copy(&mut counted, &mut io::sink())?;
    budget.bytes = counted.left;
    Ok(hex::encode(counted.digest.finalize()))
}

struct Counted<R> {
    inner: R,
    left: u64,
    digest: Sha256,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| odd("it is too large"))?;
        self.digest.update(&into[..read]);
        Ok(read)
    }
}
