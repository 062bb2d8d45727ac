//! What the room keeps: the node's secret and its root access key, each made once.

use crate::session;
use ::store::record::Record;
use ::store::{Error, Key, Result, Store};
use base::port::Entropy;
use serde::{Deserialize, Serialize};

/// The keys this room owns.
enum Space {
    /// `identity/secret` → [`Secret`]
    Secret,
    /// `identity/root` → [`RootKey`]
    Root,
}

impl Space {
    fn key(&self) -> Key {
        match self {
            Space::Secret => Key::of("identity/secret"),
            Space::Root => Key::of("identity/root"),
        }
    }
}

/// The node's secret, 32 bytes in hex: what temporary keys are derived from.
#[derive(Serialize, Deserialize)]
struct Secret {
    hex: String,
}

impl Record for Secret {
    const VERSION: u8 = 1;
}

/// The root access key of a node that is not in development.
#[derive(Clone, Serialize, Deserialize)]
pub struct RootKey {
    pub access_key: String,
    pub secret_key: String,
}

impl Record for RootKey {
    const VERSION: u8 = 1;
}

/// The node's secret, made and kept at the first call.
pub async fn node_secret(store: &Store, entropy: &dyn Entropy) -> Result<[u8; 32]> {
    let mut fresh = [0; 32];
    entropy.fill(&mut fresh);
    let kept = keep(store, &Space::Secret.key(), &Secret { hex: hex::encode(fresh) }).await?;
    let mut secret = [0; 32];
    hex::decode_to_slice(&kept.hex, &mut secret).map_err(|e| Error::Damaged(format!("the node's secret: {e}")))?;
    Ok(secret)
}

pub async fn root_key(store: &Store) -> Result<Option<RootKey>> {
    store.get(&Space::Root.key()).await
}

pub async fn make_root_key(store: &Store, entropy: &dyn Entropy) -> Result<RootKey> {
    let fresh = RootKey { access_key: session::access_key("AKIA", entropy), secret_key: session::secret_key(entropy) };
    keep(store, &Space::Root.key(), &fresh).await
}

/// The record that is there, else `fresh`, durably.
async fn keep<R: Record + Sync>(store: &Store, key: &Key, fresh: &R) -> Result<R> {
    let raw = store
        .transact(async |tx: ::store::Tx| match tx.get_bytes(key).await? {
            Some(kept) => Ok::<_, Error>(kept),
            None => {
                let bytes = ::store::record::encode(fresh);
                tx.put_bytes(key, bytes.clone())?;
                Ok(bytes.into())
            }
        })
        .await?;
    ::store::record::decode(&raw)
}
