//! Secrets at rest: each is encrypted with a key of its own, and that key with the node's master key.
//!
//! So a new master key means that short keys are wrapped again and nothing else is read. AES-256-GCM both times. What is
//! sealed says by which master key; the first of a [`Seal`]'s keys seals, the others open what was sealed before.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base::port::Entropy;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// Bytes of a digest of a master key that tell it from others and tell nothing of it.
const NAME_BYTES: usize = 8;
/// What the wrapped key is bound to, besides the context.
const WRAPPED: &[u8] = b"wadi data key\0";

/// The node's master keys, ready for use.
pub struct Seal {
    keys: Vec<Master>,
    entropy: Arc<dyn Entropy>,
}

struct Master {
    name: String,
    cipher: Aes256Gcm,
}

/// A secret as it is kept: the name of a master key, the wrapped key and the encrypted bytes, both in base64 behind their
/// nonces.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    by: String,
    key: String,
    body: String,
}

/// A secret in a record: sealed, or plain, as older nodes wrote it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AtRest<T> {
    Sealed {
        /// An object, which `T` has nothing of that name as: so the two forms are never mistaken for each other.
        sealed: Sealed,
    },
    Plain(T),
}

impl<T: Clone + Serialize + DeserializeOwned> AtRest<T> {
    /// As [`Seal::seal`] does it. Panics where `T` does not serialise: what records hold does.
    pub fn seal(seal: &Seal, context: &str, secret: &T) -> Self {
        let text = serde_json::to_vec(secret).expect("what records hold serialises");
        Self::Sealed { sealed: seal.seal(context, &text) }
    }

    pub fn open(&self, seal: &Seal, context: &str) -> Result<T, Unreadable> {
        match self {
            Self::Plain(secret) => Ok(secret.clone()),
            Self::Sealed { sealed } => {
                serde_json::from_slice(&seal.open(context, sealed)?).map_err(|_| Unreadable::Damaged)
            }
        }
    }

    /// Sealed, under the current master key; `None` when it is.
    pub fn renew(&self, seal: &Seal, context: &str) -> Result<Option<Self>, Unreadable> {
        match self {
            Self::Plain(secret) => Ok(Some(Self::seal(seal, context, secret))),
            Self::Sealed { sealed } => Ok(seal.renew(context, sealed)?.map(|sealed| Self::Sealed { sealed })),
        }
    }
}

/// Why a secret cannot be read. Says nothing of what it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it was sealed with the master key {0}, which this node has not been given")]
    NoKey(String),
    #[error("it is damaged, or not where it was written")]
    Damaged,
}

impl Seal {
    /// `keys` are 32 random bytes each; the first seals. Panics when there is none.
    pub fn new(keys: &[[u8; KEY_BYTES]], entropy: Arc<dyn Entropy>) -> Self {
        assert!(!keys.is_empty(), "a seal has a key");
        let master = |key: &[u8; KEY_BYTES]| Master { name: name_of(key), cipher: Aes256Gcm::new(key.into()) };
        Self { keys: keys.iter().map(master).collect(), entropy }
    }

    /// The name of the master key that seals: 16 hexadecimal digits.
    pub fn key_name(&self) -> &str {
        &self.keys[0].name
    }

    /// Encrypts `secret`. It opens with the same `context` only: what it belongs to.
    pub fn seal(&self, context: &str, secret: &[u8]) -> Sealed {
        let mut key = [0; KEY_BYTES];
        self.entropy.fill(&mut key);
        let body = self.encrypt(&Aes256Gcm::new(&key.into()), context.as_bytes(), secret);
        Sealed { by: self.keys[0].name.clone(), key: self.wrap(context, &key), body }
    }

    /// The secret that was sealed with this context.
    ///
    /// # Errors
    /// The master key is not there; or the bytes or the context are not those that were sealed.
    pub fn open(&self, context: &str, sealed: &Sealed) -> Result<Vec<u8>, Unreadable> {
        let key = self.unwrap(context, sealed)?;
        decrypt(&Aes256Gcm::new(&key.into()), context.as_bytes(), &sealed.body)
    }

    /// The same secret under the first master key; `None` when it is that already.
    pub fn renew(&self, context: &str, sealed: &Sealed) -> Result<Option<Sealed>, Unreadable> {
        if sealed.by == self.keys[0].name {
            return Ok(None);
        }
        let key = self.unwrap(context, sealed)?;
        let (by, key) = (self.keys[0].name.clone(), self.wrap(context, &key));
        Ok(Some(Sealed { by, key, body: sealed.body.clone() }))
    }

    fn wrap(&self, context: &str, key: &[u8; KEY_BYTES]) -> String {
        self.encrypt(&self.keys[0].cipher, &bound(context), key)
    }

    fn unwrap(&self, context: &str, sealed: &Sealed) -> Result<[u8; KEY_BYTES], Unreadable> {
        let master = self.keys.iter().find(|master| master.name == sealed.by);
        let master = master.ok_or_else(|| Unreadable::NoKey(sealed.by.clone()))?;
        decrypt(&master.cipher, &bound(context), &sealed.key)?.try_into().map_err(|_| Unreadable::Damaged)
    }

    fn encrypt(&self, cipher: &Aes256Gcm, aad: &[u8], msg: &[u8]) -> String {
        let mut nonce = [0; NONCE_BYTES];
        self.entropy.fill(&mut nonce);
        let body = cipher.encrypt(Nonce::from_slice(&nonce), Payload { msg, aad });
        STANDARD.encode([&nonce[..], &body.expect("AES-GCM takes up to 64 GiB")].concat())
    }
}

fn decrypt(cipher: &Aes256Gcm, aad: &[u8], text: &str) -> Result<Vec<u8>, Unreadable> {
    let bytes = STANDARD.decode(text).map_err(|_| Unreadable::Damaged)?;
    let (nonce, msg) = bytes.split_at_checked(NONCE_BYTES).ok_or(Unreadable::Damaged)?;
    cipher.decrypt(Nonce::from_slice(nonce), Payload { msg, aad }).map_err(|_| Unreadable::Damaged)
}

fn bound(context: &str) -> Vec<u8> {
    [WRAPPED, context.as_bytes()].concat()
}

fn name_of(key: &[u8; KEY_BYTES]) -> String {
    let digest = Sha256::new().chain_update(b"wadi master key\0").chain_update(key).finalize();
    hex::encode(&digest[..NAME_BYTES])
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seal({})", self.key_name())
    }
}

impl<T> fmt::Debug for AtRest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed { sealed } => sealed.fmt(f),
            Self::Plain(_) => f.write_str("Plain(…)"),
        }
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(by {})", self.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::Seeded;

    fn seal(keys: &[u8]) -> Seal {
        let keys: Vec<_> = keys.iter().map(|byte| [*byte; KEY_BYTES]).collect();
        Seal::new(&keys, Arc::new(Seeded::new(7)))
    }

    #[test]
    fn opens_what_it_sealed_and_shows_nothing_of_it() {
        let seal = seal(&[1]);
        let [a, b] = [(); 2].map(|()| seal.seal("f", b"hunter2"));
        assert_eq!(seal.open("f", &a).expect("opens"), b"hunter2");
        assert_ne!((&a.key, &a.body), (&b.key, &b.body), "nothing repeats");
        let shown = format!("{a:?} {seal:?} {}", serde_json::to_string(&a).expect("serialises"));
        assert!(!shown.contains("hunter2") && !shown.contains(&STANDARD.encode("hunter2")), "{shown}");
    }

    #[test]
    fn another_key_another_place_or_another_byte_open_nothing() {
        let sealed = seal(&[1]).seal("f", b"hunter2");
        assert_eq!(seal(&[2]).open("f", &sealed), Err(Unreadable::NoKey(seal(&[1]).key_name().into())));
        assert_eq!(seal(&[1]).open("g", &sealed), Err(Unreadable::Damaged));
        // The name alone does not make a key the right one.
        let renamed = Sealed { by: seal(&[2]).key_name().into(), ..sealed.clone() };
        assert_eq!(seal(&[2]).open("f", &renamed), Err(Unreadable::Damaged));
        let flipped = |text: &str| {
            let mut bytes = STANDARD.decode(text).expect("base64");
            (0..bytes.len())
                .map(|at| {
                    bytes[at] ^= 1;
                    let text = STANDARD.encode(&bytes);
                    bytes[at] ^= 1;
                    text
                })
                .collect::<Vec<_>>()
        };
        for key in flipped(&sealed.key) {
            assert_eq!(seal(&[1]).open("f", &Sealed { key, ..sealed.clone() }), Err(Unreadable::Damaged));
        }
        for body in flipped(&sealed.body) {
            assert_eq!(seal(&[1]).open("f", &Sealed { body, ..sealed.clone() }), Err(Unreadable::Damaged));
        }
        for text in ["", "A", "!", "AAAA"] {
            let cut = Sealed { body: text.into(), ..sealed.clone() };
            assert_eq!(seal(&[1]).open("f", &cut), Err(Unreadable::Damaged));
        }
    }

    #[test]
    fn what_was_plain_is_read_and_sealed() {
        let (old, new) = (seal(&[1]), seal(&[2, 1]));
        let plain: AtRest<String> = serde_json::from_str("\"hunter2\"").expect("as it was written");
        assert_eq!(plain.open(&old, "f").expect("plain"), "hunter2");
        let sealed = plain.renew(&old, "f").expect("renews").expect("changes");
        let written = serde_json::to_string(&sealed).expect("serialises");
        assert!(!format!("{written} {sealed:?} {plain:?}").contains("hunter2"));
        let read: AtRest<String> = serde_json::from_str(&written).expect("reads");
        assert_eq!(read.renew(&old, "f"), Ok(None));
        let renewed = read.renew(&new, "f").expect("renews").expect("changes");
        assert_eq!(renewed.open(&seal(&[2]), "f").expect("opens"), "hunter2");
        assert_eq!(renewed.open(&old, "f"), Err(Unreadable::NoKey(new.key_name().into())));
    }

    #[test]
    fn a_new_master_key_takes_over() {
        let old = seal(&[1]).seal("f", b"hunter2");
        let both = seal(&[2, 1]);
        assert_eq!(both.open("f", &old).expect("opens"), b"hunter2");
        let renewed = both.renew("f", &old).expect("opens").expect("changes");
        assert_eq!(renewed.body, old.body, "only its key is wrapped again");
        assert_eq!(seal(&[2]).open("f", &renewed).expect("opens"), b"hunter2");
        assert_eq!(both.renew("f", &renewed), Ok(None));
        assert!(seal(&[2]).renew("f", &old).is_err());
    }
}
