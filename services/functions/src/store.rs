//! The keys that the functions room owns, and reads that more than one operation needs.

use crate::error::{Error, Result};
use crate::model::name::{self, Qualifier};
use crate::model::{LATEST, LATEST_PUBLISHED};
use crate::records::{Alias, Function, Snapshot};
use base::{FunctionRef, Scope};
use store::record::{self, Record};
use store::{Key, KeyReader, Store, Tx, engine::Item};

/// All keys of this room. `<place>` is `<account>/<region>`; names and qualifiers are text, version numbers are
/// numbers, so that versions list in order.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// `functions/function/<place>/<name>` → [`Function`]: `$LATEST`, counters, tags, reserved concurrency.
    Function(&'a Scope, &'a str),
    /// `functions/version/<place>/<name>/<number>` → [`crate::records::Published`]
    Version(&'a Scope, &'a str, u64),
    /// `functions/alias/<place>/<name>/<alias>` → [`Alias`]
    Alias(&'a Scope, &'a str, &'a str),
    /// `functions/policy/<place>/<name>/<qualifier or empty>` → [`crate::records::Policy`]
    Policy(&'a Scope, &'a str, &'a str),
    /// `functions/url/<place>/<name>/<alias or empty>` → [`crate::records::Url`]
    Url(&'a Scope, &'a str, &'a str),
    /// `functions/url-id/<url id>` → [`crate::records::UrlOwner`]
    UrlId(&'a str),
    /// `functions/event-config/<place>/<name>/<qualifier>` → [`crate::records::EventConfig`]
    EventConfig(&'a Scope, &'a str, &'a str),
    /// `functions/provisioned/<place>/<name>/<qualifier>` → [`crate::records::Provisioned`]
    Provisioned(&'a Scope, &'a str, &'a str),
    /// `functions/capacity-provider/<place>/<provider>` → [`crate::records::CapacityProvider`]
    CapacityProvider(&'a Scope, &'a str),
    /// `functions/capacity-use/<place>/<provider>/<name>/<version>` → [`crate::records::CapacityUse`]
    CapacityUse(&'a Scope, &'a str, &'a str, &'a str),
    /// `functions/mapping/<place>/<uuid>` → [`crate::records::Mapping`]
    Mapping(&'a Scope, &'a str),
    /// `functions/layer/<place>/<layer>` → [`crate::records::Layer`]
    Layer(&'a Scope, &'a str),
    /// `functions/layer-version/<place>/<layer>/<number>` → [`crate::records::LayerVersion`]
    LayerVersion(&'a Scope, &'a str, u64),
    /// `functions/account/<place>` → [`crate::records::Account`]: totals that limits are checked against.
    Account(&'a Scope),
    /// `functions/pending/<place>/<name>/<version>` → [`crate::records::Pending`]: versions to make ready.
    Pending(&'a Scope, &'a str, &'a str),
    /// `functions/retry/<event id>` → [`crate::records::Retry`]: how often a function failed an event.
    Retry(&'a str),
    /// `functions/secret` → [`crate::records::Secret`]: signs the links to code.
    Secret,
    /// `functions/witness` → [`crate::records::Witness`]: the oldest master key that is still needed.
    Witness,
}

/// Kinds of keys that lie below one function or one place.
#[derive(Clone, Copy, Debug)]
pub enum Below {
    Functions,
    Versions,
    Aliases,
    Policies,
    Urls,
    EventConfigs,
    Provisioned,
    CapacityProviders,
    CapacityUses,
    Mappings,
    Layers,
    LayerVersions,
    Accounts,
    Pending,
}

impl Below {
    const fn space(self) -> &'static str {
        match self {
            Below::Functions => "functions/function",
            Below::Versions => "functions/version",
            Below::Aliases => "functions/alias",
            Below::Policies => "functions/policy",
            Below::Urls => "functions/url",
            Below::EventConfigs => "functions/event-config",
            Below::Provisioned => "functions/provisioned",
            Below::CapacityProviders => "functions/capacity-provider",
            Below::CapacityUses => "functions/capacity-use",
            Below::Mappings => "functions/mapping",
            Below::Layers => "functions/layer",
            Below::LayerVersions => "functions/layer-version",
            Below::Accounts => "functions/account",
            Below::Pending => "functions/pending",
        }
    }

    /// The prefix of all keys of this kind, in all places.
    pub fn everywhere(self) -> Key {
        Key::of(self.space())
    }

    /// The prefix of this kind in one place.
    pub fn place(self, scope: &Scope) -> Key {
        self.everywhere().text(scope.account.as_str()).text(scope.region.as_str())
    }

    /// The prefix of this kind below one function (or layer).
    pub fn of(self, scope: &Scope, name: &str) -> Key {
        self.place(scope).text(name)
    }
}

impl At<'_> {
    pub fn key(self) -> Key {
        match self {
            At::Function(scope, name) => Below::Functions.of(scope, name),
            At::Version(scope, name, number) => Below::Versions.of(scope, name).number(number),
            At::Alias(scope, name, alias) => Below::Aliases.of(scope, name).text(alias),
            At::Policy(scope, name, qualifier) => Below::Policies.of(scope, name).text(qualifier),
            At::Url(scope, name, qualifier) => Below::Urls.of(scope, name).text(qualifier),
            At::UrlId(id) => Key::of("functions/url-id").text(id),
            At::EventConfig(scope, name, qualifier) => Below::EventConfigs.of(scope, name).text(qualifier),
            At::Provisioned(scope, name, qualifier) => Below::Provisioned.of(scope, name).text(qualifier),
            At::CapacityProvider(scope, provider) => Below::CapacityProviders.of(scope, provider),
            At::CapacityUse(scope, provider, name, version) => {
                Below::CapacityUses.of(scope, provider).text(name).text(version)
            }
            At::Mapping(scope, uuid) => Below::Mappings.of(scope, uuid),
            At::Layer(scope, layer) => Below::Layers.of(scope, layer),
            At::LayerVersion(scope, layer, number) => Below::LayerVersions.of(scope, layer).number(number),
            At::Account(scope) => Below::Accounts.place(scope),
            At::Pending(scope, name, version) => Below::Pending.of(scope, name).text(version),
            At::Retry(event) => Key::of("functions/retry").text(event),
            At::Secret => Key::of("functions/secret"),
            At::Witness => Key::of("functions/witness"),
        }
    }
}

/// The scope in a key of [`Below::place`], and the rest of the key.
pub fn place_of(key: &[u8]) -> Option<(Scope, KeyReader<'_>)> {
    let mut reader = KeyReader::new(key);
    reader.text()?;
    let account = base::AccountId::parse(&reader.text()?)?;
    let region = base::Region::parse(&reader.text()?)?;
    Some((Scope::new(account, region), reader))
}

/// A function that must be there.
pub async fn function(tx: &Tx, named: &FunctionRef) -> Result<Function> {
    let found = tx.get(&At::Function(&named.scope, &named.name).key()).await?;
    found.ok_or_else(|| Error::function_not_found(name::arn_of(named)))
}

/// What a qualifier names, resolved as far as a version.
pub struct Resolved {
    pub function: Function,
    /// `$LATEST` or a number.
    pub version: String,
    pub snapshot: Snapshot,
}

/// The version that `named` means; of an alias its main version.
pub async fn resolve(tx: &Tx, named: &FunctionRef) -> Result<Resolved> {
    let function = function(tx, named).await?;
    find(tx, named, function, named.qualifier.as_deref()).await
}

/// The version that a call of `named` would run.
pub async fn resolve_call(tx: &Tx, named: &FunctionRef) -> Result<Resolved> {
    let function = function(tx, named).await?;
    let called = function.called(named.qualifier.as_deref());
    match find(tx, named, function, called).await {
        Err(Error::NotFound(_)) if called == Some(LATEST_PUBLISHED) => Err(Error::NoPublishedVersion),
        found => found,
    }
}

async fn find(tx: &Tx, named: &FunctionRef, function: Function, qualifier: Option<&str>) -> Result<Resolved> {
    let missing = || Error::function_not_found(name::arn_of(named));
    let number = match Qualifier::of(qualifier) {
        Qualifier::Latest => None,
        Qualifier::Version(number) => Some(number),
        Qualifier::Alias(alias) => {
            let alias: Alias = tx.get(&At::Alias(&named.scope, &named.name, alias).key()).await?.ok_or_else(missing)?;
            Qualifier::of(Some(&alias.version)).number()
        }
    };
    match number {
        None => Ok(Resolved { snapshot: function.latest.clone(), version: LATEST.into(), function }),
        Some(number) => {
            let key = At::Version(&named.scope, &named.name, number).key();
            let published: crate::records::Published = tx.get(&key).await?.ok_or_else(missing)?;
            Ok(Resolved { function, version: name::version(number), snapshot: published.snapshot })
        }
    }
}

/// One page of a listing.
pub struct Page<R> {
    pub items: Vec<(Vec<u8>, R)>,
    /// Where the next page starts (or, backwards, before what), if there is one.
    pub next: Option<String>,
}

/// Reads up to `limit` records below `prefix`, after `marker` (a `NextMarker` that this function gave).
pub async fn page<R: Record>(store: &Store, prefix: &Key, marker: Option<&str>, limit: usize) -> Result<Page<R>> {
    let from = match marker {
        Some(marker) => resume_at(prefix, marker)?,
        None => prefix.as_bytes().to_vec(),
    };
    let mut items = store.scan(&from, &prefix.end(), limit + 1).await?;
    let next = (items.len() > limit).then(|| items.pop()).flatten();
    let read = |item: Item| Ok((item.key.to_vec(), record::decode(&item.value)?));
    Ok(Page {
        items: items.into_iter().map(read).collect::<Result<_>>()?,
        next: next.map(|item| marker_of(prefix, &item.key)),
    })
}

/// As [`page`], from the last record to the first.
pub async fn page_back<R: Record>(store: &Store, prefix: &Key, marker: Option<&str>, limit: usize) -> Result<Page<R>> {
    let before = match marker {
        Some(marker) => resume_at(prefix, marker)?,
        None => prefix.end(),
    };
    let mut items = store.scan_back(prefix.as_bytes(), &before, limit + 1).await?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| marker_of(prefix, &last.key));
    let read = |item: Item| Ok((item.key.to_vec(), record::decode(&item.value)?));
    Ok(Page { items: items.into_iter().map(read).collect::<Result<_>>()?, next })
}

/// A marker is the part of a key that lies below the listing's prefix, in hex: it tells nothing of other accounts, and
/// a made-up one cannot leave the prefix.
fn marker_of(prefix: &Key, key: &[u8]) -> String {
    hex::encode(&key[prefix.as_bytes().len()..])
}

fn resume_at(prefix: &Key, marker: &str) -> Result<Vec<u8>> {
    let below = hex::decode(marker).map_err(|_| Error::Invalid("Invalid pagination token".into()))?;
    Ok([prefix.as_bytes(), below.as_slice()].concat())
}

/// The most records below one function that are removed with it in one transaction.
const DEPENDENTS_MAX: usize = 100_000;

/// Everything below `prefix`, inside a transaction.
pub async fn all<R: Record>(tx: &Tx, prefix: &Key) -> Result<Vec<(Vec<u8>, R)>> {
    let items = tx.scan(prefix.as_bytes(), &prefix.end(), DEPENDENTS_MAX).await?;
    items.into_iter().map(|item| Ok((item.key.to_vec(), record::decode(&item.value)?))).collect()
}

/// Removes everything below `prefix`.
pub async fn clear(tx: &Tx, prefix: &Key) -> Result<()> {
    for item in tx.scan(prefix.as_bytes(), &prefix.end(), DEPENDENTS_MAX).await? {
        tx.delete_bytes(&item.key);
    }
    Ok(())
}
