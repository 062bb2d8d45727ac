//! The one way objects change: checked, written and told of in a single transaction.

use crate::Objects;
use crate::error::{Error, Result, no_such_key, not_implemented, precondition_failed};
use crate::events::{self, Change, Kind};
use crate::model::{Bucket, Object};
use crate::store::Space;
use crate::vault::Stored;
use crate::visit::Visit;
use base::Timestamp;
use s3s::dto::{ETag, ETagCondition};
use store::{BlobId, Tx};

/// What a write demands of the object that is there (`If-Match`, `If-None-Match`).
#[derive(Clone, Debug, Default)]
pub struct Demand {
    if_match: Option<ETagCondition>,
    must_be_new: bool,
}

impl Demand {
    /// S3 takes `If-None-Match: *` only.
    pub fn of(if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> Result<Self> {
        match if_none_match {
            Some(ETagCondition::ETag(_)) => Err(not_implemented("If-None-Match with an ETag on writes (nor has S3)")),
            any => Ok(Self { if_match, must_be_new: any.is_some() }),
        }
    }

    pub fn check(&self, old: Option<&Object>) -> Result<()> {
        match (&self.if_match, old) {
            (Some(_), None) => return Err(no_such_key()),
            (Some(wanted), Some(old)) if !matches(wanted, &old.etag) => return Err(precondition_failed()),
            _ => {}
        }
        if self.must_be_new && old.is_some() {
            return Err(precondition_failed());
        }
        Ok(())
    }
}

/// Does the condition hold for an object with this ETag?
pub fn matches(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(ETag::Strong(wanted) | ETag::Weak(wanted)) => wanted == etag,
    }
}

/// A change about to be made: to which key, by whom, when.
pub struct Site<'a> {
    pub visit: &'a Visit,
    pub bucket: &'a Bucket,
    pub key: &'a str,
    pub at: Timestamp,
}

/// Blobs to let go once the transaction has committed, with the data id they belonged to.
pub type Freed = Option<(crate::model::Data, Vec<BlobId>)>;

impl Site<'_> {
    fn objects(&self) -> &Objects {
        self.visit.objects()
    }

    fn record(&self) -> store::Key {
        Space::Object { bucket: &self.bucket.name, key: self.key }.key()
    }

    pub async fn current(&self, tx: &Tx) -> Result<Option<Object>> {
        Ok(tx.get(&self.record()).await?)
    }

    /// Puts `object` in the place of `old` and tells of it.
    pub async fn replace(
        &self,
        tx: &Tx,
        old: Option<Object>,
        mut object: Object,
        kind: Kind,
    ) -> Result<(Object, Freed)> {
        object.sequencer = self.objects().sequence(old.as_ref().map_or(0, |o| o.sequencer));
        object.modified = self.at;
        let freed = self.free(tx, old).await?;
        tx.put(&self.record(), &object)?;
        self.tell(tx, kind, Some(&object), object.sequencer)?;
        Ok((object, freed))
    }

    /// Removes `old` and tells of it.
    pub async fn remove(&self, tx: &Tx, old: Object) -> Result<Freed> {
        let sequencer = self.objects().sequence(old.sequencer);
        let freed = self.free(tx, Some(old)).await?;
        tx.delete(&self.record());
        self.tell(tx, Kind::Deleted, None, sequencer)?;
        Ok(freed)
    }

    /// Writes `object` over itself with other tags, keeping its bytes, and tells of it.
    pub fn retag(&self, tx: &Tx, object: &Object, kind: Kind) -> Result<()> {
        tx.put(&self.record(), object)?;
        self.tell(tx, kind, Some(object), object.sequencer)
    }

    async fn free(&self, tx: &Tx, old: Option<Object>) -> Result<Freed> {
        let Some(old) = old else { return Ok(None) };
        let blobs = self.objects().vault.forget(tx, &old.data).await?;
        Ok((!blobs.is_empty()).then_some((old.data, blobs)))
    }

    fn tell(&self, tx: &Tx, kind: Kind, object: Option<&Object>, sequencer: u64) -> Result<()> {
        let change = Change { kind, key: self.key, object, sequencer };
        events::emit(tx, self.bucket, &change, &self.visit.cause(self.at), || self.objects().entropy.uuid())
    }
}

impl Objects {
    /// After a commit: lets go of the bytes it freed.
    pub(crate) fn release(&self, freed: Freed) {
        if let Some((data, blobs)) = freed {
            self.vault.discard(&data, blobs);
        }
    }

    /// After a transaction that refused `stored`: lets go of its bytes. If storage failed, the commit may have
    /// happened all the same, so they are left to the sweep.
    pub(crate) fn abandon(&self, stored: &Stored, why: &Error) {
        if !matches!(why, Error::Store(_)) {
            self.vault.discard(&stored.data, self.vault.blobs_of(&stored.data));
        }
    }
}
