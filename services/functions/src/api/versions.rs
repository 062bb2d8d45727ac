//! PublishVersion and ListVersionsByFunction.

use super::configuration::{configuration, listed, published_configuration};
use super::{options, page_size, shapes as s};
use crate::Functions;
use crate::change::{self, PublishTo};
use crate::code::code_sha256;
use crate::error::{Error, Result};
use crate::model::{LATEST, name};
use crate::records::{Function, Published};
use crate::store::{At, Below, function, page};
use room::Context;
use std::sync::Arc;

/// Publishes `$LATEST`; answers with the version there is if nothing has changed since it was published.
pub async fn publish_version(
    room: Arc<Functions>,
    cx: Context,
    input: s::PublishVersionRequest,
) -> Result<s::FunctionConfiguration> {
    let to = options::publish_to(Some(true), input.publish_to.as_deref())?.unwrap_or(PublishTo::Number);
    let named = &name::unqualified(cx.scope(), &input.function_name)?;
    let (room, input) = (&*room, &input);
    let reply = room
        .store
        .transact(|tx| async move {
            let mut record = function(&tx, named).await?;
            change::check_may_change(named, &record, input.revision_id.as_deref())?;
            let sha256 = code_sha256(&record.latest.code);
            if let Some(wanted) = input.code_sha256.as_deref().filter(|w| !w.is_empty() && **w != sha256) {
                return Err(Error::Invalid(format!(
                    "CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST ({sha256}). Please try \
                     again with the CodeSHA256 in $LATEST."
                )));
            }
            let description = input.description.as_deref();
            let published = change::publish(room, &tx, &named.scope, &mut record, description, to).await?;
            tx.put(&At::Function(&named.scope, &named.name).key(), &record)?;
            Ok(published_configuration(&room.seal, &named.scope, &named.name, &published))
        })
        .await?;
    room.pending.notify_one();
    Ok(reply)
}

pub async fn list_versions(
    room: Arc<Functions>,
    cx: Context,
    input: s::ListVersionsByFunctionRequest,
) -> Result<s::ListVersionsByFunctionResponse> {
    let named = name::function(cx.scope(), &input.function_name, None)?;
    let key = At::Function(&named.scope, &named.name).key();
    let record = room.store.get::<Function>(&key).await?;
    let record = record.ok_or_else(|| Error::function_not_found(name::arn(&named.scope, &named.name)))?;
    let marker = input.marker.as_deref().filter(|m| !m.is_empty());
    let mut versions = Vec::new();
    let mut size = page_size(input.max_items);
    if marker.is_none() {
        versions.push(listed(configuration(
            &room.seal,
            &named.scope,
            &named.name,
            LATEST,
            Some(LATEST),
            &record.latest,
        )));
        size -= 1;
    }
    // A page of one holds `$LATEST` alone; the marker then says "from the first number on".
    let found = page::<Published>(&room.store, &Below::Versions.of(&named.scope, &named.name), marker, size).await?;
    versions.extend(
        found.items.iter().map(|(_, p)| listed(published_configuration(&room.seal, &named.scope, &named.name, p))),
    );
    Ok(s::ListVersionsByFunctionResponse { next_marker: found.next, versions: Some(versions) })
}
