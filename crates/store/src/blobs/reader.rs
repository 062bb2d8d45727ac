//! Reading blobs: whole when small, as a stream of bounded pieces otherwise.

use super::{BlobId, Blobs, blocking, failed, io_failed};
use crate::{Error, Result};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload, ObjectStore};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;

/// The largest piece a stream gives.
const PIECE_BYTES_MAX: u64 = 256 << 10;

/// A stream of a blob's bytes, in pieces of at most 256 KiB; the next is read when the last has been taken.
pub type BlobStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

impl Blobs {
    /// A whole blob in memory. The caller knows that it is small enough.
    pub async fn get(&self, id: &BlobId) -> Result<Bytes> {
        let result = self.open(id, None).await?;
        result.bytes().await.map_err(|e| failed(id.as_str(), &e))
    }

    /// The bytes `range` of a blob. A blob that ends before the range does is an error at once, not a short stream.
    pub async fn read(&self, id: &BlobId, range: Range<u64>) -> Result<BlobStream> {
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let result = self.open(id, Some(GetRange::Bounded(range.clone()))).await?;
        if result.range != range {
            return Err(Error::Damaged(format!("blob {id} has {} bytes, read to {}", result.meta.size, range.end)));
        }
        let name = id.to_string();
        match result.payload {
            GetResultPayload::File(file, _) => Ok(pieces(Arc::new(file), range, name)),
            GetResultPayload::Stream(s) => Ok(s.map_err(move |e| failed(&name, &e)).boxed()),
        }
    }

    async fn open(&self, id: &BlobId, range: Option<GetRange>) -> Result<GetResult> {
        let options = GetOptions { range, ..GetOptions::default() };
        self.store.get_opts(&id.location()?, options).await.map_err(|e| failed(id.as_str(), &e))
    }
}

/// Reads an open file in large pieces (the object store's own stream takes 8 KiB and a thread hop for each).
fn pieces(file: Arc<File>, range: Range<u64>, name: String) -> BlobStream {
    stream::try_unfold(range, move |left| {
        let (file, name) = (file.clone(), name.clone());
        async move {
            if left.is_empty() {
                return Ok(None);
            }
            let end = left.end.min(left.start + PIECE_BYTES_MAX);
            // Made here and not in the closure: an allocator that keeps memory for each thread would keep some for every
            // one of the many threads that do file work.
            let mut buffer = vec![0; (end - left.start) as usize];
            let piece = blocking(move || match file.read_exact_at(&mut buffer, left.start) {
                Ok(()) => Ok(Bytes::from(buffer)),
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                    Err(Error::Damaged(format!("blob {name} became shorter")))
                }
                Err(e) => Err(io_failed(&e)),
            });
            Ok(Some((piece.await?, end..left.end)))
        }
    })
    .boxed()
}
