//! Aliases: create, get, update, delete, list.

use super::provisioned::check_alias;
use super::{page_size, shapes as s};
use crate::Functions;
use crate::error::{Error, Result};
use crate::model::name::Qualifier;
use crate::model::{LATEST, alias, name};
use crate::provision::{configured, remove};
use crate::records::{Alias, Published, Url};
use crate::store::{At, Below, function, page};
use base::FunctionRef;
use room::Context;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Tx;
use wire::Empty;

pub async fn create_alias(
    room: Arc<Functions>,
    cx: Context,
    input: s::CreateAliasRequest,
) -> Result<s::AliasConfiguration> {
    let named = &name::unqualified(cx.scope(), &input.function_name)?;
    let record = &Alias {
        name: input.name.clone(),
        version: input.function_version.clone(),
        description: input.description.clone().unwrap_or_default(),
        weights: weights_of(input.routing_config.as_ref()),
        revision_id: room.entropy.uuid(),
    };
    let key = &At::Alias(&named.scope, &named.name, &record.name).key();
    room.store
        .transact(|tx| async move {
            function(&tx, named).await?;
            check(&tx, named, record).await?;
            if tx.get::<Alias>(key).await?.is_some() {
                return Err(Error::Conflict(format!("Alias already exists: {}", arn(named, &record.name))));
            }
            Ok(tx.put(key, record)?)
        })
        .await?;
    Ok(shape(named, record))
}

pub async fn get_alias(room: Arc<Functions>, cx: Context, input: s::GetAliasRequest) -> Result<s::AliasConfiguration> {
    let named = name::unqualified(cx.scope(), &input.function_name)?;
    let record = room.store.get::<Alias>(&At::Alias(&named.scope, &named.name, &input.name).key()).await?;
    Ok(shape(&named, &record.ok_or_else(|| missing(&named, &input.name))?))
}

pub async fn update_alias(
    room: Arc<Functions>,
    cx: Context,
    input: s::UpdateAliasRequest,
) -> Result<s::AliasConfiguration> {
    let named = &name::unqualified(cx.scope(), &input.function_name)?;
    let key = &At::Alias(&named.scope, &named.name, &input.name).key();
    let (input, revision_id) = (&input, &room.entropy.uuid());
    let record = room
        .store
        .transact(|tx| async move {
            function(&tx, named).await?;
            let mut record = tx.get::<Alias>(key).await?.ok_or_else(|| missing(named, &input.name))?;
            if input.revision_id.as_ref().is_some_and(|id| *id != record.revision_id) {
                return Err(Error::Precondition("GetFunction/GetAlias"));
            }
            if let Some(version) = &input.function_version {
                record.version.clone_from(version);
            }
            if let Some(description) = &input.description {
                record.description.clone_from(description);
            }
            if input.routing_config.is_some() {
                record.weights = weights_of(input.routing_config.as_ref());
            }
            check(&tx, named, &record).await?;
            let all = configured(&tx, &named.scope, &named.name).await?;
            if all.contains_key(&record.name) {
                check_alias(&record, &all.into_keys().collect::<Vec<_>>())?;
            }
            record.revision_id.clone_from(revision_id);
            tx.put(key, &record)?;
            Ok::<_, Error>(record)
        })
        .await?;
    room.tell(named).await;
    Ok(shape(named, &record))
}

/// Deletes an alias with what hangs on it (policy, URL, event settings, provisioned concurrency). It is no error if it is not
/// there, as on AWS.
pub async fn delete_alias(room: Arc<Functions>, cx: Context, input: s::DeleteAliasRequest) -> Result<Empty> {
    let named = &name::unqualified(cx.scope(), &input.function_name)?;
    let alias = input.name.as_str();
    room.store
        .transact(|tx| async move {
            function(&tx, named).await?;
            let FunctionRef { scope, name, .. } = named;
            let url = At::Url(scope, name, alias).key();
            if let Some(url) = tx.get::<Url>(&url).await? {
                tx.delete(&At::UrlId(&url.id).key());
            }
            tx.delete(&url);
            remove(&tx, scope, name, alias).await?;
            for at in
                [At::Alias(scope, name, alias), At::Policy(scope, name, alias), At::EventConfig(scope, name, alias)]
            {
                tx.delete(&at.key());
            }
            Ok::<_, Error>(())
        })
        .await?;
    room.tell(named).await;
    Ok(Empty {})
}

pub async fn list_aliases(
    room: Arc<Functions>,
    cx: Context,
    input: s::ListAliasesRequest,
) -> Result<s::ListAliasesResponse> {
    let named = &name::unqualified(cx.scope(), &input.function_name)?;
    room.store.transact(|tx| async move { function(&tx, named).await }).await?;
    let prefix = Below::Aliases.of(&named.scope, &named.name);
    let marker = input.marker.as_deref().filter(|m| !m.is_empty());
    let found = page::<Alias>(&room.store, &prefix, marker, page_size(input.max_items)).await?;
    let wanted =
        |a: &Alias| input.function_version.as_ref().is_none_or(|v| a.version == *v || a.weights.contains_key(v));
    let aliases = found.items.iter().filter(|(_, a)| wanted(a)).map(|(_, a)| shape(named, a)).collect();
    Ok(s::ListAliasesResponse { next_marker: found.next, aliases: Some(aliases) })
}

/// The rules of weights, and that every version is there.
async fn check(tx: &Tx, named: &FunctionRef, record: &Alias) -> Result<()> {
    alias::check_weights(&record.version, &record.weights)?;
    for version in std::iter::once(&record.version).chain(record.weights.keys()).filter(|v| *v != LATEST) {
        let found = match Qualifier::of(Some(version)).number() {
            Some(number) => tx.get::<Published>(&At::Version(&named.scope, &named.name, number).key()).await?,
            None => None,
        };
        if found.is_none() {
            return Err(Error::function_not_found(arn(named, version)));
        }
    }
    Ok(())
}

fn weights_of(routing: Option<&s::AliasRoutingConfiguration>) -> BTreeMap<String, f64> {
    routing.and_then(|r| r.additional_version_weights.clone()).unwrap_or_default()
}

fn arn(named: &FunctionRef, qualifier: &str) -> base::Arn {
    name::qualified(&named.scope, &named.name, Some(qualifier))
}

fn missing(named: &FunctionRef, alias: &str) -> Error {
    Error::NotFound(format!("Cannot find alias arn: {}", arn(named, alias)))
}

fn shape(named: &FunctionRef, record: &Alias) -> s::AliasConfiguration {
    let weights = Some(record.weights.clone()).filter(|w| !w.is_empty());
    s::AliasConfiguration {
        alias_arn: Some(arn(named, &record.name).to_string()),
        name: Some(record.name.clone()),
        function_version: Some(record.version.clone()),
        description: Some(record.description.clone()),
        routing_config: weights.map(|w| s::AliasRoutingConfiguration { additional_version_weights: Some(w) }),
        revision_id: Some(record.revision_id.clone()),
    }
}
