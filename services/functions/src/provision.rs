//! What the engine is told of concurrency: which versions it keeps instances of ready, and what an account's functions
//! may run that have none of their own. Told after every change that bears on it, and all of it when a node starts.

use crate::Functions;
use crate::catalog::version_of;
use crate::error::Result;
use crate::model::name::Qualifier;
use crate::model::provisioned::shares;
use crate::records::{Account, Alias, Function, Provisioned, Published, State};
use crate::store::{At, Below, place_of};
use base::{FunctionRef, Scope};
use std::collections::{BTreeMap, BTreeSet};
use store::{KeyReader, Seal, Tx};

/// Records read in one scan.
const PAGE: usize = 256;

/// A function's configurations, by qualifier.
pub async fn configured(tx: &Tx, scope: &Scope, name: &str) -> Result<BTreeMap<String, Provisioned>> {
    let prefix = Below::Provisioned.of(scope, name);
    let all = crate::store::all::<Provisioned>(tx, &prefix).await?;
    let qualifier = |key: &[u8]| KeyReader::new(&key[prefix.as_bytes().len()..]).text();
    Ok(all.into_iter().filter_map(|(key, config)| Some((qualifier(&key)?, config))).collect())
}

/// The sum of a function's provisioned concurrency.
pub fn total(configured: &BTreeMap<String, Provisioned>) -> u32 {
    configured.values().map(|config| config.wanted).sum()
}

/// Removes the configuration of a version or an alias that goes.
pub async fn remove(tx: &Tx, scope: &Scope, name: &str, qualifier: &str) -> Result<()> {
    let key = At::Provisioned(scope, name, qualifier).key();
    let Some(config) = tx.get::<Provisioned>(&key).await? else { return Ok(()) };
    tx.delete(&key);
    release(tx, scope, name, config.wanted).await
}

/// Gives back to the account what a function without reserved concurrency had provisioned.
pub async fn release(tx: &Tx, scope: &Scope, name: &str, count: u32) -> Result<()> {
    let function: Option<Function> = tx.get(&At::Function(scope, name).key()).await?;
    if function.is_some_and(|function| function.reserved.is_none()) {
        let mut account: Account = tx.get(&At::Account(scope).key()).await?.unwrap_or_default();
        account.provisioned = account.provisioned.saturating_sub(count);
        tx.put(&At::Account(scope).key(), &account)?;
    }
    Ok(())
}

impl Account {
    /// What is left for functions without concurrency of their own.
    pub fn unreserved(&self, most: u32) -> u32 {
        most.saturating_sub(self.reserved).saturating_sub(self.provisioned)
    }
}

impl Functions {
    /// Tells the engine where a function and its account stand. A failure is logged only: what has committed stays, and is
    /// told again with the next change or at the next start.
    pub async fn tell(&self, named: &FunctionRef) {
        let _order = self.telling.lock().await;
        if let Err(error) = self.try_tell(&named.scope, &named.name).await {
            tracing::warn!(function = %named.name, %error, "the engine was not told what to keep ready");
        }
    }

    /// Tells the engine all that is configured.
    pub async fn tell_all(&self) -> Result<()> {
        for scope in self.places(Below::Accounts).await?.into_keys() {
            self.tell_limit(&scope).await?;
        }
        for (scope, names) in self.places(Below::Provisioned).await? {
            for name in names {
                self.tell(&FunctionRef { scope: scope.clone(), name, qualifier: None }).await;
            }
        }
        Ok(())
    }

    async fn try_tell(&self, scope: &Scope, name: &str) -> Result<()> {
        let wanted = self.store.transact(|tx| async move { per_version(&self.seal, &tx, scope, name).await }).await?;
        self.runner.provision(scope, name, wanted).await;
        self.tell_limit(scope).await
    }

    async fn tell_limit(&self, scope: &Scope) -> Result<()> {
        let account: Account = self.store.get(&At::Account(scope).key()).await?.unwrap_or_default();
        self.runner.limit(scope, account.unreserved(self.config.concurrency_max)).await;
        Ok(())
    }

    /// The places in which there are records of a kind, and the functions that these belong to.
    async fn places(&self, kind: Below) -> Result<BTreeMap<Scope, BTreeSet<String>>> {
        let all = kind.everywhere();
        let (mut from, mut places) = (all.as_bytes().to_vec(), BTreeMap::<Scope, BTreeSet<String>>::new());
        loop {
            let items = self.store.scan(&from, &all.end(), PAGE).await?;
            for item in &items {
                let Some((scope, mut rest)) = place_of(&item.key) else { continue };
                places.entry(scope).or_default().extend(rest.text());
            }
            match items.last() {
                // The least key after the last one.
                Some(last) if items.len() == PAGE => from = [&last.key[..], &[0]].concat(),
                _ => return Ok(places),
            }
        }
    }
}

/// The versions of a function that are to be ready, as far as they can run.
async fn per_version(seal: &Seal, tx: &Tx, scope: &Scope, name: &str) -> Result<Vec<(engine::Version, u32)>> {
    let mut wanted = BTreeMap::<String, u32>::new();
    for (qualifier, config) in configured(tx, scope, name).await? {
        for (version, share) in versions(tx, scope, name, &qualifier, config.wanted).await? {
            *wanted.entry(version).or_default() += share;
        }
    }
    let mut found = Vec::new();
    for (version, count) in wanted {
        let Ok(number) = version.parse() else { continue };
        let published: Option<Published> = tx.get(&At::Version(scope, name, number).key()).await?;
        if let Some(published) = published.filter(|p| p.snapshot.state == State::Active) {
            match version_of(seal, scope, name, &version, &published.snapshot) {
                Ok(version) => found.push((version, count)),
                Err(why) => tracing::error!(function = %name, %version, %why, "not kept ready"),
            }
        }
    }
    Ok(found)
}

/// The versions that a qualifier means, with their shares.
pub async fn versions(tx: &Tx, scope: &Scope, name: &str, qualifier: &str, wanted: u32) -> Result<Vec<(String, u32)>> {
    match Qualifier::of(Some(qualifier)) {
        Qualifier::Alias(alias) => {
            let alias: Option<Alias> = tx.get(&At::Alias(scope, name, alias).key()).await?;
            Ok(alias.map_or_else(Vec::new, |a| shares(&a.version, &a.weights, wanted)))
        }
        _ => Ok(vec![(qualifier.to_owned(), wanted)]),
    }
}
