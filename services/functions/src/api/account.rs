//! GetAccountSettings.

use super::configuration::{bytes, number};
use super::shapes as s;
use crate::Functions;
use crate::error::Result;
use crate::model::{INLINE_ZIP_BYTES_MAX, UNPACKED_BYTES_MAX};
use crate::records::Account;
use crate::store::At;
use room::Context;
use std::sync::Arc;

pub async fn get_account_settings(
    room: Arc<Functions>,
    cx: Context,
    _: s::GetAccountSettingsRequest,
) -> Result<s::GetAccountSettingsResponse> {
    let account: Account = room.store.get(&At::Account(cx.scope()).key()).await?.unwrap_or_default();
    let most = room.config.concurrency_max;
    Ok(s::GetAccountSettingsResponse {
        account_limit: Some(s::AccountLimit {
            total_code_size: Some(bytes(room.config.code_bytes_total_max)),
            code_size_unzipped: Some(bytes(UNPACKED_BYTES_MAX)),
            code_size_zipped: Some(bytes(INLINE_ZIP_BYTES_MAX)),
            concurrent_executions: Some(number(most)),
            unreserved_concurrent_executions: Some(number(account.unreserved(most))),
        }),
        account_usage: Some(s::AccountUsage {
            total_code_size: Some(bytes(account.code_bytes)),
            function_count: Some(bytes(account.functions)),
        }),
    })
}
