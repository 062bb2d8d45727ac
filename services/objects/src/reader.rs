//! Reads whole objects for other rooms.

use crate::error::Error;
use crate::model::{Bucket, Object};
use crate::store::Space;
use crate::vault::Vault;
use async_trait::async_trait;
use base::AccountId;
use base::port::{ObjectReader, ReadError};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use store::{Blobs, Store};

/// How often an object that changes while it is read is read again.
const TRIES_MAX: usize = 8;

/// Implements [`ObjectReader`] on what the room stores. Needs no running room.
#[derive(Clone)]
pub struct Reader {
    vault: Vault,
}

impl Reader {
    pub fn new(store: Store, blobs: Blobs) -> Self {
        Self { vault: Vault::new(store, blobs) }
    }

    async fn once(&self, object: &Object) -> Result<Bytes, Error> {
        let mut stream = self.vault.open(&object.data, 0..object.size).await?;
        let mut all = BytesMut::with_capacity(object.size as usize);
        while let Some(chunk) = stream.try_next().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}

fn unavailable(e: impl std::fmt::Display) -> ReadError {
    ReadError::Unavailable(e.to_string())
}

#[async_trait]
impl ObjectReader for Reader {
    async fn read(&self, account: &AccountId, bucket: &str, key: &str, limit: u64) -> Result<Bytes, ReadError> {
        let store = &self.vault.store;
        let owner: Option<Bucket> = store.get(&Space::Bucket(bucket).key()).await.map_err(unavailable)?;
        if owner.is_none_or(|b| b.account != account.as_str()) {
            return Err(ReadError::NoSuchBucket);
        }
        for _ in 0..TRIES_MAX {
            let record = store.get::<Object>(&Space::Object { bucket, key }.key()).await.map_err(unavailable)?;
            let object = record.ok_or(ReadError::NoSuchKey)?;
            if object.size > limit {
                return Err(ReadError::TooLarge { limit });
            }
            match self.once(&object).await {
                Err(Error::Vanished) => continue,
                bytes => return bytes.map_err(unavailable),
            }
        }
        Err(unavailable("the object keeps changing while it is read"))
    }
}
