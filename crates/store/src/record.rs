//! Records: a version byte, then JSON. Readers of a newer version migrate older ones as they read.

use crate::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};

/// A stored record. `VERSION` changes when old bytes no longer read as `Self`; then `migrate` turns them into it.
pub trait Record: Serialize + DeserializeOwned {
    const VERSION: u8;

    /// Reads a record of an older `version`. The default knows none.
    fn migrate(version: u8, _body: &[u8]) -> Result<Self> {
        Err(Error::Damaged(format!("{}: unknown version {version}", std::any::type_name::<Self>())))
    }
}

pub fn encode<R: Record>(record: &R) -> Vec<u8> {
    let mut out = vec![R::VERSION];
    serde_json::to_writer(&mut out, record).expect("records serialise: string keys, no failing impls");
    out
}

pub fn decode<R: Record>(bytes: &[u8]) -> Result<R> {
    match bytes.split_first() {
        Some((&v, body)) if v == R::VERSION => {
            serde_json::from_slice(body).map_err(|e| Error::Damaged(format!("{}: {e}", std::any::type_name::<R>())))
        }
        Some((&v, body)) => R::migrate(v, body),
        None => Err(Error::Damaged(format!("{}: empty", std::any::type_name::<R>()))),
    }
}
