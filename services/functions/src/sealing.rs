//! Secrets at rest: environments, sealed with the node's master key and bound to their function, opened where they are run or
//! shown; and the key of links to code.

use crate::error::{Error, Result};
use crate::model::{environment, name};
use crate::records::{Function, Published, Secret, Snapshot, Witness};
use crate::store::{At, Below, place_of};
use crate::{Functions, api::shapes as s};
use ::store::record::Record;
use ::store::{Seal, Store, Tx, seal::AtRest, seal::Unreadable};
use base::Scope;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What the witness says.
const WITNESS: &str = "functions";
/// What the key of links to code is sealed for.
const LINKS: &str = "functions links";
/// Records looked at in one step.
const PAGE: usize = 64;

/// A function's environment variables as a record has them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(AtRest<BTreeMap<String, String>>);

impl Environment {
    /// Of the function `function` in `scope`.
    pub fn seal(seal: &Seal, scope: &Scope, function: &str, variables: &BTreeMap<String, String>) -> Self {
        Self(AtRest::seal(seal, &context(scope, function), variables))
    }

    /// As older nodes wrote them. Sealed by [`Functions::reseal`] when the node starts.
    #[cfg(test)]
    pub fn plain(variables: BTreeMap<String, String>) -> Self {
        Self(AtRest::Plain(variables))
    }

    pub fn open(&self, seal: &Seal, scope: &Scope, function: &str) -> Result<BTreeMap<String, String>, Unreadable> {
        self.0.open(seal, &context(scope, function))
    }

    fn renew(&self, seal: &Seal, scope: &Scope, function: &str) -> Result<Option<Self>, Unreadable> {
        Ok(self.0.renew(seal, &context(scope, function))?.map(Self))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn context(scope: &Scope, function: &str) -> String {
    name::arn(scope, function).to_string()
}

/// As GetFunctionConfiguration shows it: with AWS's form of an error where it cannot be opened.
pub fn shown(seal: &Seal, environment: &Environment, scope: &Scope, function: &str) -> s::EnvironmentResponse {
    match environment.open(seal, scope, function) {
        Ok(variables) => s::EnvironmentResponse { variables: Some(variables), error: None },
        Err(why) => s::EnvironmentResponse {
            variables: None,
            error: Some(s::EnvironmentError {
                error_code: Some("InvalidKey".into()),
                message: Some(format!("The environment variables cannot be decrypted: {why}.")),
            }),
        },
    }
}

/// Says whether the node's master key is the one that its records were sealed with, before anything needs it.
///
/// # Errors
/// It is not: the text says what is missing.
pub async fn check(store: &Store, seal: &Seal) -> Result<(), String> {
    match witness(store).await? {
        Some(Witness(sealed)) => seal.open(WITNESS, &sealed).map(drop).map_err(|why| why.to_string()),
        None => {
            let first = Witness(seal.seal(WITNESS, b""));
            let first = &first;
            let written = store.transact(|tx: Tx| async move { tx.put(&At::Witness.key(), first) }).await;
            written.map_err(|error: ::store::Error| error.to_string())
        }
    }
}

/// Whether anything may have been sealed in this store: then a master key that is not there is lost, not still to be made.
pub async fn is_sealed(store: &Store) -> Result<bool, String> {
    Ok(witness(store).await?.is_some())
}

async fn witness(store: &Store) -> Result<Option<Witness>, String> {
    store.get(&At::Witness.key()).await.map_err(|error| error.to_string())
}

impl Functions {
    /// What a request sets, checked and sealed.
    pub(crate) fn sealed(
        &self,
        scope: &Scope,
        function: &str,
        asked: Option<&s::Environment>,
    ) -> Result<Option<Environment>> {
        let Some(asked) = asked else { return Ok(None) };
        let variables = asked.variables.clone().unwrap_or_default();
        environment::check(&variables)?;
        Ok(Some(Environment::seal(&self.seal, scope, function, &variables)))
    }

    /// The key that signs links to code: the one that is kept, or `fresh` from now on.
    pub(crate) async fn link_key_or(&self, fresh: &str) -> Result<String> {
        let kept = |tx: Tx| async move {
            let Some(secret) = tx.get::<Secret>(&At::Secret.key()).await? else {
                let key = AtRest::seal(&self.seal, LINKS, &fresh.to_owned());
                tx.put(&At::Secret.key(), &Secret { key })?;
                return Ok::<_, Error>(Ok(fresh.to_owned()));
            };
            Ok(secret.key.open(&self.seal, LINKS))
        };
        self.store.transact(kept).await?.map_err(|why| Error::Service(format!("the key of links to code: {why}")))
    }

    /// Whether the key of links to code changed its form.
    async fn reseal_links(&self) -> Result<Result<bool, Unreadable>> {
        self.store
            .transact(|tx| async move {
                let Some(secret) = tx.get::<Secret>(&At::Secret.key()).await? else { return Ok(Ok(false)) };
                match secret.key.renew(&self.seal, LINKS) {
                    Ok(None) => return Ok(Ok(false)),
                    Ok(Some(key)) => tx.put(&At::Secret.key(), &Secret { key })?,
                    Err(why) => return Ok(Err(why)),
                }
                Ok::<_, Error>(Ok(true))
            })
            .await
    }

    /// Seals what older nodes left plain, and what was sealed with an older master key again with the current one. Then
    /// the older key is needed no more, and the witness says so. Gives how many environments changed.
    pub async fn reseal(&self) -> Result<usize> {
        let (mut count, mut lost) = (0, false);
        if let Err(why) = self.reseal_links().await? {
            lost = true;
            tracing::error!(%why, "the key of links to code cannot be read");
        }
        for kind in [Below::Functions, Below::Versions] {
            let all = kind.everywhere();
            let mut from = all.as_bytes().to_vec();
            loop {
                let items = self.store.scan(&from, &all.end(), PAGE).await?;
                for item in &items {
                    let resealed = match kind {
                        Below::Functions => self.reseal_one::<Function>(&item.key).await,
                        _ => self.reseal_one::<Published>(&item.key).await,
                    };
                    match resealed? {
                        Ok(changed) => count += usize::from(changed),
                        // It stays what it is; who asks for it is told.
                        Err(why) => {
                            lost = true;
                            tracing::error!(%why, "a function's environment cannot be read");
                        }
                    }
                }
                match items.last() {
                    // The least key after the last one.
                    Some(last) if items.len() == PAGE => from = [&last.key[..], &[0]].concat(),
                    _ => break,
                }
            }
        }
        if !lost {
            let current = &Witness(self.seal.seal(WITNESS, b""));
            self.store.transact(|tx| async move { tx.put(&At::Witness.key(), current) }).await?;
        }
        Ok(count)
    }

    /// Whether the record with this key changed.
    async fn reseal_one<R: Holds>(&self, key: &[u8]) -> Result<Result<bool, Unreadable>> {
        let Some((scope, mut rest)) = place_of(key) else { return Ok(Ok(false)) };
        let Some(function) = rest.text() else { return Ok(Ok(false)) };
        let (scope, function) = (&scope, &function);
        let key = &match rest.number() {
            Some(number) => At::Version(scope, function, number).key(),
            None => At::Function(scope, function).key(),
        };
        self.store
            .transact(|tx| async move {
                let Some(mut held) = tx.get::<R>(key).await? else { return Ok(Ok(false)) };
                let mut changed = false;
                for snapshot in held.snapshots() {
                    let Some(environment) = &mut snapshot.settings.environment else { continue };
                    match environment.renew(&self.seal, scope, function) {
                        Ok(None) => {}
                        Ok(Some(renewed)) => (*environment, changed) = (renewed, true),
                        Err(why) => return Ok(Err(why)),
                    }
                }
                if changed {
                    tx.put(key, &held)?;
                }
                Ok::<_, Error>(Ok(changed))
            })
            .await
    }
}

/// A record with versions in it.
trait Holds: Record + Send {
    fn snapshots(&mut self) -> Vec<&mut Snapshot>;
}

impl Holds for Function {
    fn snapshots(&mut self) -> Vec<&mut Snapshot> {
        [&mut self.latest].into_iter().chain(self.previous.as_deref_mut()).collect()
    }
}

impl Holds for Published {
    fn snapshots(&mut self) -> Vec<&mut Snapshot> {
        [&mut self.snapshot].into_iter().chain(self.previous.as_deref_mut()).collect()
    }
}
