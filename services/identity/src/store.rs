//! What the room keeps: the node's secret and its root access key, each made once and sealed with the node's master key.

use crate::Error;
use crate::session;
use ::store::record::Record;
use ::store::seal::{AtRest, Seal};
use ::store::{Key, Store};
use base::port::Entropy;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

type Result<T> = std::result::Result<T, Error>;

/// The keys this room owns.
enum Space {
    /// `identity/secret` → [`Kept`] of [`Secret`]
    Secret,
    /// `identity/root` → [`Kept`] of [`RootKey`]
    Root,
}

impl Space {
    /// Of the record, and what it is sealed for.
    fn name(&self) -> &'static str {
        match self {
            Space::Secret => "identity/secret",
            Space::Root => "identity/root",
        }
    }

    fn key(&self) -> Key {
        Key::of(self.name())
    }
}

/// A secret of this room's as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Kept<T>(AtRest<T>);

impl<T: Clone + Serialize + DeserializeOwned> Record for Kept<T> {
    const VERSION: u8 = 1;
}

/// The node's secret, 32 bytes in hex: what temporary keys are derived from.
#[derive(Clone, Serialize, Deserialize)]
struct Secret {
    hex: String,
}

/// The root access key of a node that is not in development.
#[derive(Clone, Serialize, Deserialize)]
pub struct RootKey {
    pub access_key: String,
    pub secret_key: String,
}

/// The node's secret, made and kept at the first call.
pub async fn node_secret(store: &Store, seal: &Seal, entropy: &dyn Entropy) -> Result<[u8; 32]> {
    let mut fresh = [0; 32];
    entropy.fill(&mut fresh);
    let kept = keep(store, seal, &Space::Secret, Some(&Secret { hex: hex::encode(fresh) })).await?;
    let mut secret = [0; 32];
    let hex = kept.map(|kept| kept.hex).unwrap_or_default();
    let damaged = |e| ::store::Error::Damaged(format!("the node's secret: {e}"));
    hex::decode_to_slice(&hex, &mut secret).map_err(damaged)?;
    Ok(secret)
}

/// The root access key; made with `make`, where there is none.
pub async fn root_key(store: &Store, seal: &Seal, entropy: &dyn Entropy, make: bool) -> Result<Option<RootKey>> {
    let fresh = RootKey { access_key: session::access_key("AKIA", entropy), secret_key: session::secret_key(entropy) };
    keep(store, seal, &Space::Root, make.then_some(&fresh)).await
}

/// What is there, else `fresh`, durably. What older nodes left plain, or sealed with an older master key, is sealed with the
/// current one: before the functions room says that the older one is needed no more.
async fn keep<T>(store: &Store, seal: &Seal, space: &Space, fresh: Option<&T>) -> Result<Option<T>>
where
    T: Clone + Serialize + DeserializeOwned + Send + Sync,
{
    let (key, context) = (space.key(), space.name());
    store
        .transact(async |tx: ::store::Tx| {
            let Some(Kept(kept)) = tx.get::<Kept<T>>(&key).await? else {
                if let Some(fresh) = fresh {
                    tx.put(&key, &Kept(AtRest::seal(seal, context, fresh)))?;
                }
                return Ok::<_, Error>(fresh.cloned());
            };
            if let Some(renewed) = kept.renew(seal, context)? {
                tx.put(&key, &Kept(renewed))?;
            }
            Ok(Some(kept.open(seal, context)?))
        })
        .await
}
