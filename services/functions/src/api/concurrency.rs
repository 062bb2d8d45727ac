//! Reserved concurrency.

use super::{configuration::number, shapes as s};
use crate::Functions;
use crate::error::{Error, Result};
use crate::model::{UNRESERVED_MIN, name};
use crate::provision::{configured, total};
use crate::records::{Account, Function};
use crate::store::{At, function};
use base::FunctionRef;
use room::Context;
use std::sync::Arc;
use wire::Empty;

pub async fn put(room: Arc<Functions>, cx: Context, input: s::PutFunctionConcurrencyRequest) -> Result<s::Concurrency> {
    let wanted = u32::try_from(input.reserved_concurrent_executions).unwrap_or(0);
    reserve(&room, &name::unqualified(cx.scope(), &input.function_name)?, Some(wanted)).await?;
    Ok(s::Concurrency { reserved_concurrent_executions: Some(number(wanted)) })
}

pub async fn get(
    room: Arc<Functions>,
    cx: Context,
    input: s::GetFunctionConcurrencyRequest,
) -> Result<s::GetFunctionConcurrencyResponse> {
    let named = name::unqualified(cx.scope(), &input.function_name)?;
    let record = room.store.get::<Function>(&At::Function(&named.scope, &named.name).key()).await?;
    let record = record.ok_or_else(|| Error::function_not_found(name::arn_of(&named)))?;
    Ok(s::GetFunctionConcurrencyResponse { reserved_concurrent_executions: record.reserved.map(number) })
}

pub async fn delete(room: Arc<Functions>, cx: Context, input: s::DeleteFunctionConcurrencyRequest) -> Result<Empty> {
    reserve(&room, &name::unqualified(cx.scope(), &input.function_name)?, None).await?;
    Ok(Empty {})
}

/// Sets the reservation and the account's total in one transaction, so that what must stay unreserved does.
async fn reserve(room: &Functions, named: &FunctionRef, wanted: Option<u32>) -> Result<()> {
    let FunctionRef { scope, name, .. } = named;
    let (function_key, account_key) = (&At::Function(scope, name).key(), &At::Account(scope).key());
    room.store
        .transact(|tx| async move {
            let mut record = function(&tx, named).await?;
            let provisioned = total(&configured(&tx, scope, name).await?);
            if let Some(wanted) = wanted.filter(|wanted| *wanted < provisioned) {
                return Err(Error::Invalid(format!(
                    "ReservedConcurrentExecutions  {wanted} should not be lower than function's total provisioned \
                     concurrency [{provisioned}]."
                )));
            }
            let mut account: Account = tx.get(account_key).await?.unwrap_or_default();
            let others = account.reserved.saturating_sub(record.reserved.unwrap_or(0));
            account.reserved = others.saturating_add(wanted.unwrap_or(0));
            // What is provisioned is part of what is reserved, or stands beside it.
            let counted = |reserved: Option<u32>| if reserved.is_none() { provisioned } else { 0 };
            account.provisioned = account.provisioned.saturating_sub(counted(record.reserved)) + counted(wanted);
            if wanted.is_some() && account.unreserved(room.config.concurrency_max) < UNRESERVED_MIN {
                return Err(Error::Invalid(format!(
                    "Specified ReservedConcurrentExecutions for function decreases account's \
                     UnreservedConcurrentExecution below its minimum value of [{UNRESERVED_MIN}]."
                )));
            }
            record.reserved = wanted;
            tx.put(account_key, &account)?;
            Ok::<_, Error>(tx.put(function_key, &record)?)
        })
        .await?;
    room.tell(named).await;
    Ok(())
}
