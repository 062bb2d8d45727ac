//! Writing a blob piece by piece: nothing is visible before `finish`, nothing remains after `abort` or a drop.

use super::{BlobId, Blobs, failed};
use crate::{Error, Result};
use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use tokio::task::JoinSet;

/// Pieces are gathered to this size before they are written: 1 MiB. At most two such parts are in memory: one being
/// written, one being gathered (plus the piece that completes it).
const PART_BYTES: usize = 1 << 20;

/// Writes one blob. Dropped before [`BlobWriter::finish`] has returned, it leaves nothing visible.
pub struct BlobWriter {
    blobs: Blobs,
    id: BlobId,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    written: u64,
    upload: Option<Box<dyn MultipartUpload>>,
    /// The part being written, so that receiving and writing overlap; never more than one.
    part: JoinSet<object_store::Result<()>>,
    failed: Option<Error>,
}

impl BlobWriter {
    pub(super) fn new(blobs: Blobs, id: BlobId) -> Self {
        Self {
            blobs,
            id,
            gathered: Vec::new(),
            gathered_bytes: 0,
            written: 0,
            upload: None,
            part: JoinSet::new(),
            failed: None,
        }
    }

    /// Takes the next bytes; waits for the disk when it is behind. After an error every later call gives that error.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.check()?;
        self.written += bytes.len() as u64;
        self.gathered_bytes += bytes.len();
        if !bytes.is_empty() {
            self.gathered.push(bytes);
        }
        if self.gathered_bytes >= PART_BYTES {
            self.send_part().await.map_err(|e| self.fail(e))?;
        }
        Ok(())
    }

    /// Makes the blob whole, durable and visible; gives its size. On an error nothing is visible.
    pub async fn finish(mut self) -> Result<u64> {
        self.check()?;
        if self.upload.is_none() {
            let location = self.blobs.prepare(&self.id).await?;
            let payload: PutPayload = std::mem::take(&mut self.gathered).into_iter().collect();
            let put = self.blobs.store.put(&location, payload).await;
            put.map_err(|e| failed(self.id.as_str(), &e))?;
            return Ok(self.written);
        }
        if self.gathered_bytes > 0 {
            self.send_part().await?;
        }
        self.wait_part().await?;
        if let Some(mut upload) = self.upload.take() {
            upload.complete().await.map_err(|e| failed(self.id.as_str(), &e))?;
        }
        Ok(self.written)
    }

    /// Gives up and removes what was written so far. A plain drop does the same in the background.
    pub async fn abort(mut self) {
        let _ = self.wait_part().await;
        if let Some(mut upload) = self.upload.take() {
            // What cannot be removed now is an orphan, which the sweep removes.
            let _ = upload.abort().await;
        }
    }

    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, e: Error) -> Error {
        self.failed = Some(e.clone());
        e
    }

    async fn send_part(&mut self) -> Result<()> {
        self.wait_part().await?;
        let payload: PutPayload = std::mem::take(&mut self.gathered).into_iter().collect();
        self.gathered_bytes = 0;
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let location = self.blobs.prepare(&self.id).await?;
                let started = self.blobs.store.put_multipart(&location).await;
                none.insert(started.map_err(|e| failed(self.id.as_str(), &e))?)
            }
        };
        self.part.spawn(upload.put_part(payload));
        Ok(())
    }

    async fn wait_part(&mut self) -> Result<()> {
        match self.part.join_next().await {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(e))) => Err(failed(self.id.as_str(), &e)),
            Some(Err(e)) => Err(Error::Unavailable(e.to_string())),
        }
    }
}
