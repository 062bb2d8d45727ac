//! Recursive loops: whether a function that invokes itself by way of what it causes is stopped (`lineage.rs`).

use super::shapes as s;
use crate::Functions;
use crate::error::{Error, Result};
use crate::model::name;
use crate::records::Function;
use crate::store::{At, function};
use room::Context;
use std::sync::Arc;

fn said(loops: bool) -> Option<String> {
    Some(if loops { "Allow" } else { "Terminate" }.to_owned())
}

pub async fn put(
    room: Arc<Functions>,
    cx: Context,
    input: s::PutFunctionRecursionConfigRequest,
) -> Result<s::PutFunctionRecursionConfigResponse> {
    let named = &name::unqualified(cx.scope(), &input.function_name)?;
    let (key, loops) = (&At::Function(&named.scope, &named.name).key(), input.recursive_loop == "Allow");
    room.store
        .transact(|tx| async move {
            let mut record = function(&tx, named).await?;
            record.loops = loops;
            Ok::<_, Error>(tx.put(key, &record)?)
        })
        .await?;
    Ok(s::PutFunctionRecursionConfigResponse { recursive_loop: said(loops) })
}

pub async fn get(
    room: Arc<Functions>,
    cx: Context,
    input: s::GetFunctionRecursionConfigRequest,
) -> Result<s::GetFunctionRecursionConfigResponse> {
    let named = name::unqualified(cx.scope(), &input.function_name)?;
    let record = room.store.get::<Function>(&At::Function(&named.scope, &named.name).key()).await?;
    let record = record.ok_or_else(|| Error::function_not_found(name::arn_of(&named)))?;
    Ok(s::GetFunctionRecursionConfigResponse { recursive_loop: said(record.loops) })
}
