//! GetFunction, GetFunctionConfiguration, ListFunctions.

use super::configuration::{configuration, listed, number, published_configuration};
use super::{page_size, shapes as s};
use crate::Functions;
use crate::error::{Error, Result};
use crate::model::name::Qualifier;
use crate::model::{LATEST, name};
use crate::records::{Function, Published};
use crate::store::{Below, page, resolve};
use engine::Code;
use room::Context;
use std::sync::Arc;

pub async fn get_function(
    room: Arc<Functions>,
    cx: Context,
    input: s::GetFunctionRequest,
) -> Result<s::GetFunctionResponse> {
    let named = &name::function(cx.scope(), &input.function_name, input.qualifier.as_deref())?;
    let found = room.store.transact(|tx| async move { resolve(&tx, named).await }).await?;
    let code = match &found.snapshot.code {
        Code::Zip(package) => s::FunctionCodeLocation {
            repository_type: Some("S3".into()),
            location: Some(room.code_location(&cx.host, package).await?),
            ..s::FunctionCodeLocation::default()
        },
        Code::Image(image) => s::FunctionCodeLocation {
            repository_type: Some("ECR".into()),
            image_uri: Some(image.uri.clone()),
            resolved_image_uri: Some(image.resolved.clone()),
            ..s::FunctionCodeLocation::default()
        },
    };
    let record = found.function;
    Ok(s::GetFunctionResponse {
        configuration: Some(configuration(
            &room.seal,
            &named.scope,
            &named.name,
            &found.version,
            named.qualifier.as_deref(),
            &found.snapshot,
        )),
        code: Some(code),
        tags: Some(record.tags).filter(|tags| !tags.is_empty()),
        tags_error: None,
        concurrency: record
            .reserved
            .map(|reserved| s::Concurrency { reserved_concurrent_executions: Some(number(reserved)) }),
    })
}

pub async fn get_function_configuration(
    room: Arc<Functions>,
    cx: Context,
    input: s::GetFunctionConfigurationRequest,
) -> Result<s::FunctionConfiguration> {
    let named = &name::function(cx.scope(), &input.function_name, input.qualifier.as_deref())?;
    let found = room.store.transact(|tx| async move { resolve(&tx, named).await }).await?;
    Ok(configuration(
        &room.seal,
        &named.scope,
        &named.name,
        &found.version,
        named.qualifier.as_deref(),
        &found.snapshot,
    ))
}

pub async fn list_functions(
    room: Arc<Functions>,
    cx: Context,
    input: s::ListFunctionsRequest,
) -> Result<s::ListFunctionsResponse> {
    let marker = input.marker.as_deref().filter(|m| !m.is_empty());
    let size = page_size(input.max_items);
    let elsewhere = |region: &str| region != "ALL" && region != cx.region();
    if input.master_region.as_deref().is_some_and(elsewhere) {
        // Replicas come from Lambda@Edge, which there is none of.
        return Ok(s::ListFunctionsResponse { next_marker: None, functions: Some(Vec::new()) });
    }
    if input.function_version.is_some() {
        return list_all_versions(&room, &cx, marker, size).await;
    }
    let found = page::<Function>(&room.store, &Below::Functions.place(cx.scope()), marker, size).await?;
    let one = |f: &Function| listed(configuration(&room.seal, cx.scope(), &f.name, LATEST, None, &f.latest));
    Ok(s::ListFunctionsResponse {
        next_marker: found.next,
        functions: Some(found.items.iter().map(|(_, f)| one(f)).collect()),
    })
}

/// `FunctionVersion=ALL`: every function as `$LATEST` followed by its versions. The marker is `<function>:<version>`,
/// the last one that was shown.
async fn list_all_versions(
    room: &Functions,
    cx: &Context,
    marker: Option<&str>,
    size: usize,
) -> Result<s::ListFunctionsResponse> {
    let scope = cx.scope();
    let bad_marker = || Error::Invalid("Invalid pagination token".into());
    let after = marker.map(|m| m.split_once(':').ok_or_else(bad_marker)).transpose()?;
    let mut out: Vec<s::FunctionConfiguration> = Vec::new();
    // `$LATEST` comes before all of them.
    let next = |version: &str| Qualifier::of(Some(version)).number().map_or(0, |number| number.saturating_add(1));
    let mut resume = after.map(|(function, version)| (function.to_owned(), next(version)));
    let mut from = match &resume {
        Some((function, _)) => Below::Functions.of(scope, function).into_bytes(),
        None => Below::Functions.place(scope).into_bytes(),
    };
    let end = Below::Functions.place(scope).end();
    while out.len() <= size {
        let Some(item) = room.store.scan(&from, &end, 1).await?.into_iter().next() else { break };
        let record: Function = ::store::record::decode(&item.value)?;
        from = [&item.key[..], &[0]].concat();
        let first = match resume.take() {
            Some((function, first)) if function == record.name => first,
            _ => {
                out.push(listed(configuration(&room.seal, scope, &record.name, LATEST, Some(LATEST), &record.latest)));
                0
            }
        };
        let versions = Below::Versions.of(scope, &record.name);
        let start = versions.clone().number(first).into_bytes();
        for item in room.store.scan(&start, &versions.end(), size + 1).await? {
            let published: Published = ::store::record::decode(&item.value)?;
            out.push(listed(published_configuration(&room.seal, scope, &record.name, &published)));
        }
    }
    let more = out.len() > size;
    out.truncate(size);
    let last = out.last().filter(|_| more);
    let next = last.and_then(|c| Some(format!("{}:{}", c.function_name.as_ref()?, c.version.as_ref()?)));
    Ok(s::ListFunctionsResponse { next_marker: next, functions: Some(out) })
}
