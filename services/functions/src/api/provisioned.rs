//! Provisioned concurrency: put, get, delete, list.

use super::configuration::{date, number};
use super::{page_size, shapes as s};
use crate::Functions;
use crate::error::{Error, Result};
use crate::model::name::{self, Qualifier};
use crate::model::{LATEST, UNRESERVED_MIN};
use crate::provision::{configured, total, versions};
use crate::records::{Account, Alias, Provisioned};
use crate::store::{At, Below, function, page, resolve};
use base::FunctionRef;
use room::Context;
use std::sync::Arc;
use store::{KeyReader, Tx};
use wire::Empty;

pub async fn put(
    room: Arc<Functions>,
    cx: Context,
    input: s::PutProvisionedConcurrencyConfigRequest,
) -> Result<s::PutProvisionedConcurrencyConfigResponse> {
    let named = &name::function(cx.scope(), &input.function_name, Some(&input.qualifier))?;
    let wanted = u32::try_from(input.provisioned_concurrent_executions).unwrap_or(0);
    let config = &Provisioned { wanted, modified: room.clock.now() };
    let most = room.config.concurrency_max;
    room.store.transact(|tx| async move { set(&tx, named, Some(config), most).await }).await?;
    room.tell(named).await;
    Ok(s::PutProvisionedConcurrencyConfigResponse {
        requested_provisioned_concurrent_executions: Some(number(wanted)),
        available_provisioned_concurrent_executions: Some(0),
        allocated_provisioned_concurrent_executions: Some(0),
        status: Some("IN_PROGRESS".into()),
        status_reason: None,
        last_modified: Some(date(config.modified)),
    })
}

pub async fn get(
    room: Arc<Functions>,
    cx: Context,
    input: s::GetProvisionedConcurrencyConfigRequest,
) -> Result<s::GetProvisionedConcurrencyConfigResponse> {
    let named = &name::function(cx.scope(), &input.function_name, Some(&input.qualifier))?;
    let qualifier = qualifier(named);
    let config = room
        .store
        .transact(|tx| async move {
            resolve(&tx, named).await?;
            let key = At::Provisioned(&named.scope, &named.name, qualifier).key();
            tx.get::<Provisioned>(&key).await?.ok_or(Error::NoProvisionedConcurrency)
        })
        .await?;
    let item = item(&room, named, &config).await?;
    Ok(s::GetProvisionedConcurrencyConfigResponse {
        requested_provisioned_concurrent_executions: item.requested_provisioned_concurrent_executions,
        available_provisioned_concurrent_executions: item.available_provisioned_concurrent_executions,
        allocated_provisioned_concurrent_executions: item.allocated_provisioned_concurrent_executions,
        status: item.status,
        status_reason: item.status_reason,
        last_modified: item.last_modified,
    })
}

/// It is no error if there is none, as on AWS.
pub async fn delete(
    room: Arc<Functions>,
    cx: Context,
    input: s::DeleteProvisionedConcurrencyConfigRequest,
) -> Result<Empty> {
    let named = &name::function(cx.scope(), &input.function_name, Some(&input.qualifier))?;
    let most = room.config.concurrency_max;
    room.store.transact(|tx| async move { set(&tx, named, None, most).await }).await?;
    room.tell(named).await;
    Ok(Empty {})
}

pub async fn list(
    room: Arc<Functions>,
    cx: Context,
    input: s::ListProvisionedConcurrencyConfigsRequest,
) -> Result<s::ListProvisionedConcurrencyConfigsResponse> {
    let named = &name::unqualified(cx.scope(), &input.function_name)?;
    room.store.transact(|tx| async move { function(&tx, named).await }).await?;
    let prefix = Below::Provisioned.of(&named.scope, &named.name);
    let marker = input.marker.as_deref().filter(|m| !m.is_empty());
    let found = page::<Provisioned>(&room.store, &prefix, marker, page_size(input.max_items)).await?;
    let mut items = Vec::new();
    for (key, config) in &found.items {
        let qualifier = KeyReader::new(&key[prefix.as_bytes().len()..]).text();
        items.push(item(&room, &FunctionRef { qualifier, ..named.clone() }, config).await?);
    }
    Ok(s::ListProvisionedConcurrencyConfigsResponse {
        provisioned_concurrency_configs: Some(items),
        next_marker: found.next,
    })
}

fn qualifier(named: &FunctionRef) -> &str {
    named.qualifier.as_deref().unwrap_or(LATEST)
}

/// Sets or removes a configuration and counts it, in one transaction.
async fn set(tx: &Tx, named: &FunctionRef, config: Option<&Provisioned>, most: u32) -> Result<()> {
    let FunctionRef { scope, name, .. } = named;
    if config.is_some() && Qualifier::of(named.qualifier.as_deref()) == Qualifier::Latest {
        return Err(unpublished());
    }
    let resolved = resolve(tx, named).await?;
    if config.is_some() && resolved.snapshot.settings.managed.is_some() {
        let message = "Provisioned Concurrency is not supported for functions with CapacityProviderConfig.";
        return Err(Error::Invalid(message.into()));
    }
    let mut all = configured(tx, scope, name).await?;
    let before = total(&all);
    let key = At::Provisioned(scope, name, qualifier(named)).key();
    match config {
        Some(config) => {
            check_versions(tx, named, &all.keys().cloned().collect::<Vec<_>>()).await?;
            all.insert(qualifier(named).to_owned(), config.clone());
            tx.put(&key, config)?;
        }
        None => {
            all.remove(qualifier(named));
            tx.delete(&key);
        }
    }
    let after = total(&all);
    match resolved.function.reserved {
        Some(reserved) if config.is_some() && after > reserved => Err(Error::Invalid(
            "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
                .into(),
        )),
        Some(_) => Ok(()),
        None => {
            let account_key = At::Account(scope).key();
            let mut account: Account = tx.get(&account_key).await?.unwrap_or_default();
            account.provisioned = account.provisioned.saturating_sub(before).saturating_add(after);
            if config.is_some() && account.unreserved(most) < UNRESERVED_MIN {
                return Err(Error::Invalid(format!(
                    "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution \
                     below its minimum value of [{UNRESERVED_MIN}]."
                )));
            }
            Ok(tx.put(&account_key, &account)?)
        }
    }
}

fn unpublished() -> Error {
    Error::Invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.".into())
}

/// Every version that is provisioned is published, and by itself or by aliases, not both. `configured` are the function's
/// qualifiers with a configuration.
pub(super) async fn check_versions(tx: &Tx, named: &FunctionRef, configured: &[String]) -> Result<()> {
    let FunctionRef { scope, name, .. } = named;
    let own = qualifier(named);
    if let Qualifier::Alias(alias) = Qualifier::of(Some(own)) {
        let alias: Option<Alias> = tx.get(&At::Alias(scope, name, alias).key()).await?;
        return alias.map_or(Ok(()), |alias| check_alias(&alias, configured));
    }
    for other in configured.iter().filter(|other| matches!(Qualifier::of(Some(other)), Qualifier::Alias(_))) {
        if versions(tx, scope, name, other, u32::MAX).await?.iter().any(|(version, _)| version == own) {
            return Err(Error::Conflict("Version is pointed by a Provisioned Concurrency alias".into()));
        }
    }
    Ok(())
}

/// What an alias with provisioned concurrency may point to.
pub(super) fn check_alias(alias: &Alias, configured: &[String]) -> Result<()> {
    if alias.version == LATEST {
        return Err(unpublished());
    }
    let mut versions = std::iter::once(&alias.version).chain(alias.weights.keys());
    if versions.any(|version| configured.contains(version)) {
        let text = "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version";
        return Err(Error::Conflict(text.into()));
    }
    Ok(())
}

/// A configuration and how far the engine has come with it.
async fn item(
    room: &Functions,
    named: &FunctionRef,
    config: &Provisioned,
) -> Result<s::ProvisionedConcurrencyConfigListItem> {
    let FunctionRef { scope, name, .. } = named;
    let wanted = config.wanted;
    let meant =
        room.store.transact(|tx| async move { versions(&tx, scope, name, qualifier(named), wanted).await }).await?;
    let (mut allocated, mut available, mut failing) = (0, 0, false);
    for (version, share) in meant {
        let there = room.runner.provisioned(scope, name, &version).await;
        allocated += there.allocated.min(share);
        available += there.idle.min(share);
        failing |= there.failing;
    }
    let status = match allocated >= wanted {
        true => "READY",
        false if failing => "FAILED",
        false => "IN_PROGRESS",
    };
    Ok(s::ProvisionedConcurrencyConfigListItem {
        function_arn: Some(name::qualified(scope, name, Some(qualifier(named))).to_string()),
        requested_provisioned_concurrent_executions: Some(number(wanted)),
        available_provisioned_concurrent_executions: Some(number(available)),
        allocated_provisioned_concurrent_executions: Some(number(allocated)),
        status: Some(status.into()),
        status_reason: (status == "FAILED").then(|| "FUNCTION_ERROR_INIT_FAILURE".into()),
        last_modified: Some(date(config.modified)),
    })
}
