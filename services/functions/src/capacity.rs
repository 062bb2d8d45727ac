//! Which versions of functions belong to a capacity provider. Kept beside the versions, in the transactions that change them.

use crate::error::{Error, Result};
use crate::model::managed::VERSIONS_MAX;
use crate::model::settings::Settings;
use crate::model::{LATEST, name};
use crate::records::{CapacityProvider, CapacityUse};
use crate::store::{At, Below, all};
use base::Scope;
use store::{Key, Tx};

/// A provider that must be there.
pub async fn provider(tx: &Tx, scope: &Scope, name: &str) -> Result<CapacityProvider> {
    let found = tx.get(&At::CapacityProvider(scope, name).key()).await?;
    found.ok_or_else(|| missing(scope, name))
}

pub fn missing(scope: &Scope, name: &str) -> Error {
    Error::NotFound(format!("Capacity provider not found: {}", name::capacity_provider_arn(scope, name)))
}

/// Counts a version in, if it is to run on a provider.
///
/// # Errors
/// There is no such provider, or it has as many published versions as it may.
pub async fn join(tx: &Tx, scope: &Scope, settings: &Settings, function: &str, version: &str) -> Result<()> {
    let Some(managed) = &settings.managed else { return Ok(()) };
    provider(tx, scope, &managed.provider).await?;
    let own = At::CapacityUse(scope, &managed.provider, function, version).key();
    if version != LATEST && tx.get::<CapacityUse>(&own).await?.is_none() {
        let prefix = Below::CapacityUses.of(scope, &managed.provider);
        let users = all::<CapacityUse>(tx, &prefix).await?;
        let published = users.iter().filter(|(key, _)| user(&prefix, key).is_some_and(|(_, of)| of != LATEST));
        if published.count() >= VERSIONS_MAX {
            return Err(Error::TooManyVersionsOnProvider);
        }
    }
    Ok(tx.put(&own, &CapacityUse {})?)
}

/// Counts a version out.
pub fn leave(tx: &Tx, scope: &Scope, settings: &Settings, function: &str, version: &str) {
    if let Some(managed) = &settings.managed {
        tx.delete(&At::CapacityUse(scope, &managed.provider, function, version).key());
    }
}

/// The function and the version in a key below `prefix`, which is one provider's.
pub fn user(prefix: &Key, key: &[u8]) -> Option<(String, String)> {
    let mut rest = store::KeyReader::new(&key[prefix.as_bytes().len()..]);
    Some((rest.text()?, rest.text()?))
}
