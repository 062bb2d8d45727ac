//! The bytes of objects and parts: small ones in the store, large ones in blobs, taken in and given out as streams.

use crate::digest::{Algorithm, Claims, Digest, Digester};
use crate::error::{Error, Result, refused};
use crate::hashing::Hashing;
use crate::lease::{Lease, Leases};
use crate::model::{Data, INLINE_BYTES_MAX, PUT_BYTES_MAX};
use crate::store::{BLOBS, PartList, Space};
use base::port::{Clock, Entropy};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use s3s::TrailingHeaders;
use s3s::dto::StreamingBlob;
use s3s::stream::ByteStream as _;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use store::{BlobId, Blobs, Store, Tx};

/// How long a client may send nothing while we wait for its bytes.
const STALL_MAX: Duration = Duration::from_secs(60);

/// A stream of an object's bytes.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Where bytes are kept. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    pub store: Store,
    blobs: Blobs,
    leases: Arc<Leases>,
}

/// A body on its way in.
pub struct Incoming {
    pub body: Option<StreamingBlob>,
    /// How many bytes the client said it sends.
    pub length: Option<u64>,
    pub claims: Claims,
    pub trailers: Option<TrailingHeaders>,
}

/// Bytes that are safe but belong to nothing yet: [`Stored::keep`] gives them to a record in its transaction.
pub struct Stored {
    pub data: Data,
    inline: Option<Bytes>,
    pub size: u64,
    pub digest: Digest,
}

impl Stored {
    pub fn md5(&self) -> String {
        hex::encode(self.digest.md5)
    }

    /// Writes what makes the bytes belong to the record that commits with them.
    pub fn keep(&self, tx: &Tx) -> Result<()> {
        match (&self.data, &self.inline) {
            (Data::Inline(id), Some(bytes)) => tx.put_bytes(&Space::Inline(id).key(), bytes.clone())?,
            (Data::Blob(id), _) => tx.put_bytes(&Space::Blob(id).key(), Bytes::new())?,
            _ => {}
        }
        Ok(())
    }
}

impl Vault {
    pub fn new(store: Store, blobs: Blobs) -> Self {
        Self { store, blobs, leases: Arc::default() }
    }

    /// Takes a client's body in, whole and checked, or nothing of it.
    pub async fn take(&self, incoming: Incoming, algorithms: &[Algorithm], fresh: &Fresh<'_>) -> Result<Stored> {
        // No header says it where there is no body at all, or (HTTP/2) the frames do.
        let known = || incoming.body.as_ref().and_then(|b| b.remaining_length().exact()).map(|n| n as u64);
        let length = incoming
            .length
            .or_else(known)
            .ok_or_else(|| refused("MissingContentLength", "You must provide the Content-Length HTTP header."))?;
        if length > PUT_BYTES_MAX {
            return Err(too_large());
        }
        let body = stalling(incoming.body);
        let stored = self.write(body, length, algorithms, fresh).await?;
        let trailers = incoming.trailers.and_then(|t| t.take());
        match stored.digest.verify(&incoming.claims, trailers.as_ref()) {
            Ok(()) => Ok(stored),
            Err(e) => {
                self.discard(&stored.data, self.blobs_of(&stored.data));
                Err(e)
            }
        }
    }

    /// Writes `length` bytes from `body`, hashing them on the way. Fails if they are more or fewer.
    pub async fn write(
        &self,
        mut body: ByteStream,
        length: u64,
        algorithms: &[Algorithm],
        fresh: &Fresh<'_>,
    ) -> Result<Stored> {
        if length <= INLINE_BYTES_MAX {
            let mut digester = Digester::new(algorithms);
            let bytes = gather(&mut body, length).await?;
            digester.update(&bytes);
            let data = if bytes.is_empty() { Data::Empty } else { Data::Inline(fresh.data_id()) };
            return Ok(Stored { data, inline: Some(bytes), size: length, digest: digester.finish() });
        }
        let id = fresh.entropy.uuid();
        // Dropped unfinished, the writer leaves nothing behind.
        let mut writer = self.blobs.writer(&BlobId::new(BLOBS, &id));
        let mut hashing = Hashing::new(algorithms);
        let mut size = 0;
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            size += chunk.len() as u64;
            if size > length {
                break;
            }
            hashing = hashing.update(chunk.clone()).await?;
            writer.write(chunk).await?;
        }
        if size != length {
            return Err(incomplete());
        }
        let (written, digest) = tokio::join!(writer.finish(), hashing.finish());
        written?;
        Ok(Stored { data: Data::Blob(id), inline: None, size, digest: digest? })
    }

    /// Opens `range` of what `data` holds. [`Error::Vanished`] if it is gone: the record has changed meanwhile.
    pub async fn open(&self, data: &Data, range: Range<u64>) -> Result<ByteStream> {
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let lease = data.id().map(|id| self.leases.take(id));
        let bytes = match (data, &lease) {
            (Data::Parts { id, .. }, Some(lease)) => self.open_parts(id, lease, range).await?,
            _ => self.open_simple(data, range).await?,
        };
        Ok(Held { bytes, _lease: lease }.boxed())
    }

    async fn open_simple(&self, data: &Data, range: Range<u64>) -> Result<ByteStream> {
        match data {
            Data::Inline(id) => {
                let bytes = self.store.get_bytes(&Space::Inline(id).key()).await?.ok_or(Error::Vanished)?;
                let (from, to) = (range.start as usize, range.end as usize);
                if to > bytes.len() {
                    return Err(Error::Internal(format!("inline value {id} is shorter than its record says")));
                }
                Ok(stream::iter([Ok(bytes.slice(from..to))]).boxed())
            }
            Data::Blob(id) => match self.blobs.read(&BlobId::new(BLOBS, id), range).await {
                Ok(bytes) => Ok(bytes.map_err(Error::from).boxed()),
                Err(store::Error::NoSuchBlob(_)) => Err(Error::Vanished),
                Err(e) => Err(e.into()),
            },
            Data::Empty => Ok(stream::empty().boxed()),
            Data::Parts { .. } => Err(Error::Internal("a part made of parts".into())),
        }
    }

    /// Opens one part after the other, each when the one before it has been read. Nothing can take them away meanwhile:
    /// blobs are held, and the one part that may be small enough to be inline is read at once.
    async fn open_parts(&self, list: &str, lease: &Lease, range: Range<u64>) -> Result<ByteStream> {
        let key = Space::List(list).key();
        let PartList(parts) = self.store.get(&key).await?.ok_or(Error::Vanished)?;
        let mut start = 0;
        let mut wanted = Vec::new();
        for part in parts {
            let end = start + part.size;
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                wanted.push((part.data, from - start..to - start));
            }
            start = end;
        }
        lease.cover(wanted.iter().flat_map(|(data, _)| self.blobs_of(data)).collect());
        let mut pieces = Vec::with_capacity(wanted.len());
        for (data, range) in wanted {
            let read = match &data {
                Data::Inline(_) => Some(self.open_simple(&data, range.clone()).await?),
                _ => None,
            };
            pieces.push((data, range, read));
        }
        // Still there, so whatever removes them from now on finds the lease and what it covers.
        self.store.get_bytes(&key).await?.ok_or(Error::Vanished)?;
        let vault = self.clone();
        let open = move |(data, range, read): (Data, Range<u64>, Option<ByteStream>)| {
            let vault = vault.clone();
            async move {
                match read {
                    Some(bytes) => Ok(bytes),
                    None => vault.open_simple(&data, range).await,
                }
            }
        };
        Ok(stream::iter(pieces).then(open).try_flatten().boxed())
    }

    /// In a transaction that removes or replaces a record: removes its data too, and says which blobs may go once it
    /// has committed.
    pub async fn forget(&self, tx: &Tx, data: &Data) -> Result<Vec<BlobId>> {
        let mut blobs = Vec::new();
        if let Data::Parts { id, .. } = data {
            let key = Space::List(id).key();
            let PartList(parts) = tx.get(&key).await?.unwrap_or(PartList(Vec::new()));
            tx.delete(&key);
            parts.iter().for_each(|part| forget_simple(tx, &part.data, &mut blobs));
        }
        forget_simple(tx, data, &mut blobs);
        Ok(blobs)
    }

    /// Lets blobs go whose record has gone: as soon as nobody reads `data` any more.
    pub fn discard(&self, data: &Data, blobs: Vec<BlobId>) {
        self.leases.doom(data.id().unwrap_or_default(), blobs);
    }

    /// The blob behind a simple piece of data.
    pub fn blobs_of(&self, data: &Data) -> Vec<BlobId> {
        match data {
            Data::Blob(id) => vec![BlobId::new(BLOBS, id)],
            _ => Vec::new(),
        }
    }

    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }
}

/// As [`Vault::forget`], for data that is not made of parts.
pub fn forget_simple(tx: &Tx, data: &Data, blobs: &mut Vec<BlobId>) {
    match data {
        Data::Inline(id) => tx.delete(&Space::Inline(id).key()),
        Data::Blob(id) => {
            tx.delete(&Space::Blob(id).key());
            blobs.push(BlobId::new(BLOBS, id));
        }
        Data::Empty | Data::Parts { .. } => {}
    }
}

/// Makes new names.
pub struct Fresh<'a> {
    pub clock: &'a dyn Clock,
    pub entropy: &'a dyn Entropy,
}

impl Fresh<'_> {
    /// A UUID that begins with the time (version 7), so that names sort by age. Not for blobs: their directories fan
    /// out by the first digits.
    pub fn data_id(&self) -> String {
        let mut b = [0; 16];
        self.entropy.fill(&mut b);
        b[..6].copy_from_slice(&self.clock.now().millis().to_be_bytes()[2..]);
        b[6] = b[6] & 0x0f | 0x70;
        b[8] = b[8] & 0x3f | 0x80;
        let h = hex::encode(b);
        format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
    }
}

/// A stream that keeps what it reads from being deleted.
struct Held {
    bytes: ByteStream,
    _lease: Option<Lease>,
}

impl Stream for Held {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Self::Item>> {
        self.bytes.as_mut().poll_next(cx)
    }
}

/// The client's body, with an error instead of waiting for ever.
fn stalling(body: Option<StreamingBlob>) -> ByteStream {
    let Some(body) = body else { return stream::empty().boxed() };
    stream::unfold(body, |mut body| async move {
        let chunk = match tokio::time::timeout(STALL_MAX, body.next()).await {
            Ok(None) => return None,
            Ok(Some(Ok(chunk))) => Ok(chunk),
            Ok(Some(Err(e))) => Err(broken_off(&e)),
            Err(_) => Err(refused(
                "RequestTimeout",
                "Your socket connection to the server was not read from or written to within the timeout period.",
            )),
        };
        Some((chunk, body))
    })
    .boxed()
}

/// Why a body broke off. The reasons of `s3s`'s own body streams are known by their text alone.
fn broken_off(cause: &s3s::StdError) -> Error {
    let text = cause.to_string();
    if text.contains("Sha256Mismatch") {
        let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
        return refused("XAmzContentSHA256Mismatch", message);
    }
    if text.contains("SignatureMismatch") {
        let message = "The request signature we calculated does not match the signature you provided. Check your key \
                       and signing method.";
        return refused("SignatureDoesNotMatch", message);
    }
    if text.contains("ChunkTooLarge") {
        return refused("InvalidChunkSizeError", "A signed chunk may have at most 16 MiB here.");
    }
    if text.contains("FormatError") || text.contains("TooLarge") || text.contains("TooManyTrailer") {
        return invalid_body();
    }
    incomplete()
}

fn invalid_body() -> Error {
    refused("InvalidRequest", "The body is not well-formed aws-chunked data.")
}

fn incomplete() -> Error {
    refused("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
}

pub fn too_large() -> Error {
    refused("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
}

/// Reads exactly `length` bytes, without copying if they come in one piece.
async fn gather(body: &mut ByteStream, length: u64) -> Result<Bytes> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if (first.len() + all.len() + chunk.len()) as u64 > length {
            return Err(incomplete());
        }
        if first.is_empty() && all.is_empty() {
            first = chunk;
            continue;
        }
        if all.is_empty() {
            all.reserve(length as usize);
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&chunk);
    }
    let bytes = if all.is_empty() { first } else { all.freeze() };
    if bytes.len() as u64 != length {
        return Err(incomplete());
    }
    Ok(bytes)
}
