//! DeleteFunction: the whole function, or one published version.

use super::shapes as s;
use crate::Functions;
use crate::capacity;
use crate::change::charge;
use crate::error::{Error, Result};
use crate::model::LATEST;
use crate::model::name::{self, Qualifier};
use crate::provision::{configured, remove, total};
use crate::records::{Account, Alias, Published, Url};
use crate::store::{At, Below, all, clear, function};
use base::FunctionRef;
use room::Context;
use std::sync::Arc;
use store::Tx;

pub async fn delete_function(
    room: Arc<Functions>,
    cx: Context,
    input: s::DeleteFunctionRequest,
) -> Result<s::DeleteFunctionResponse> {
    let named = &name::function(cx.scope(), &input.function_name, input.qualifier.as_deref())?;
    let room = &*room;
    let gone = match (&named.qualifier, Qualifier::of(named.qualifier.as_deref())) {
        (None, _) => room.store.transact(|tx| async move { delete_all(&tx, named).await }).await?,
        (_, Qualifier::Version(number)) => {
            room.store.transact(|tx| async move { delete_version(room, &tx, named, number).await }).await?
        }
        (_, Qualifier::Latest) => {
            let message = "$LATEST version cannot be deleted without deleting the function.";
            return Err(Error::Invalid(message.into()));
        }
        (_, Qualifier::Alias(_)) => {
            return Err(Error::Invalid("Deletion of aliases is not currently supported.".into()));
        }
    };
    room.tell(named).await;
    for version in gone {
        room.runner.retire(&named.scope, &named.name, &version, None).await;
    }
    Ok(s::DeleteFunctionResponse { status_code: Some(204) })
}

/// Removes the function and everything below it; says which versions went.
async fn delete_all(tx: &Tx, named: &FunctionRef) -> Result<Vec<String>> {
    let FunctionRef { scope, name, .. } = named;
    let record = function(tx, named).await?;
    let versions = all::<Published>(tx, &Below::Versions.of(scope, name)).await?;
    let urls = all::<Url>(tx, &Below::Urls.of(scope, name)).await?;
    let mut account: Account = tx.get(&At::Account(scope).key()).await?.unwrap_or_default();
    let code: u64 = versions.iter().map(|(_, v)| v.snapshot.code.zip_bytes()).sum();
    account.functions = account.functions.saturating_sub(1);
    account.code_bytes = account.code_bytes.saturating_sub(code + record.latest.code.zip_bytes());
    account.reserved = account.reserved.saturating_sub(record.reserved.unwrap_or(0));
    if record.reserved.is_none() {
        account.provisioned = account.provisioned.saturating_sub(total(&configured(tx, scope, name).await?));
    }
    tx.put(&At::Account(scope).key(), &account)?;
    capacity::leave(tx, scope, &record.latest.settings, name, LATEST);
    for (_, version) in &versions {
        capacity::leave(tx, scope, &version.snapshot.settings, name, &name::version(version.number));
    }
    for (_, url) in &urls {
        tx.delete(&At::UrlId(&url.id).key());
    }
    for kind in [
        Below::Versions,
        Below::Aliases,
        Below::Policies,
        Below::Urls,
        Below::EventConfigs,
        Below::Provisioned,
        Below::Pending,
    ] {
        clear(tx, &kind.of(scope, name)).await?;
    }
    tx.delete(&At::Function(scope, name).key());
    Ok(versions.iter().map(|(_, v)| name::version(v.number)).chain([LATEST.to_owned()]).collect())
}

/// Removes one version; it is no error if it is not there, as on AWS.
async fn delete_version(room: &Functions, tx: &Tx, named: &FunctionRef, number: u64) -> Result<Vec<String>> {
    let FunctionRef { scope, name, .. } = named;
    let whole = FunctionRef { qualifier: None, ..named.clone() };
    function(tx, &whole).await?;
    let key = At::Version(scope, name, number).key();
    let Some(version) = tx.get::<Published>(&key).await? else { return Ok(Vec::new()) };
    let number = name::version(number);
    let aliases = all::<Alias>(tx, &Below::Aliases.of(scope, name)).await?;
    let users: Vec<&str> = aliases
        .iter()
        .filter(|(_, a)| a.version == number || a.weights.contains_key(&number))
        .map(|(_, a)| a.name.as_str())
        .collect();
    if !users.is_empty() {
        return Err(Error::Conflict(format!(
            "Unable to delete version {number} because the following aliases reference it: [{}]",
            users.join(", ")
        )));
    }
    charge(room, tx, scope, version.snapshot.code.zip_bytes(), 0).await?;
    tx.delete(&key);
    capacity::leave(tx, scope, &version.snapshot.settings, name, &number);
    remove(tx, scope, name, &number).await?;
    for at in
        [At::Policy(scope, name, &number), At::EventConfig(scope, name, &number), At::Pending(scope, name, &number)]
    {
        tx.delete(&at.key());
    }
    Ok(vec![number])
}
