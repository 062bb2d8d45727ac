//! Log groups: CreateLogGroup, DeleteLogGroup, DescribeLogGroups, PutRetentionPolicy, DeleteRetentionPolicy.
//!
//! Differs from AWS: only the class STANDARD; no KMS keys, no deletion protection, no linked accounts (refused by
//! name).

use super::*;
use crate::store::{Space, Tail};
use crate::work;
use ::store::Tx;
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::Empty;

/// Groups read to find those of one page that match a pattern.
const SEARCHED_MAX: usize = 10_000;

pub async fn create(logs: Arc<Logs>, cx: Context, input: CreateLogGroupRequest) -> Result<Empty, Error> {
    refuse(&[
        (input.kms_key_id.is_some(), "encryption of log groups, kmsKeyId,"),
        (input.log_group_class.as_deref().is_some_and(|c| c != "STANDARD"), "log group classes besides STANDARD"),
        (input.deletion_protection_enabled == Some(true), "deletion protection, deletionProtectionEnabled,"),
    ])?;
    let mut tags = BTreeMap::new();
    model::add_tags(&mut tags, input.tags.unwrap_or_default())?;
    let group = Group { id: logs.entropy.uuid(), created: logs.clock.now(), retention_days: None, tags };
    let key = Space::Group(cx.scope(), &input.log_group_name).key();
    logs.store
        .transact(async |tx: Tx| match tx.get::<Group>(&key).await? {
            Some(_) => Err(Error::GroupExists),
            None => Ok(tx.put(&key, &group)?),
        })
        .await?;
    Ok(Empty {})
}

/// The group is gone at once; what was in it is swept in the background.
pub async fn delete(logs: Arc<Logs>, cx: Context, input: DeleteLogGroupRequest) -> Result<Empty, Error> {
    let key = Space::Group(cx.scope(), &input.log_group_name).key();
    let now = logs.clock.now();
    logs.store
        .transact(async |tx: Tx| {
            let group = tx.get::<Group>(&key).await?.ok_or(Error::NoSuchGroup)?;
            tx.delete(&key);
            Ok::<_, Error>(work::drop_group(&tx, &group.id, now)?)
        })
        .await?;
    Ok(Empty {})
}

pub async fn describe(
    logs: Arc<Logs>,
    cx: Context,
    input: DescribeLogGroupsRequest,
) -> Result<DescribeLogGroupsResponse, Error> {
    refuse(&[
        (input.include_linked_accounts == Some(true), "linked accounts, includeLinkedAccounts,"),
        (input.log_group_identifiers.is_some(), "the parameter logGroupIdentifiers"),
        (input.account_identifiers.is_some(), "the parameter accountIdentifiers"),
    ])?;
    let (prefix, pattern) = (input.log_group_name_prefix.as_deref(), input.log_group_name_pattern.as_deref());
    let pattern = pattern.filter(|p| !p.is_empty()).map(str::to_ascii_lowercase);
    if prefix.is_some() && pattern.is_some() {
        return Err(Error::invalid(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    let other_class = input.log_group_class.as_deref().is_some_and(|c| c != "STANDARD");
    let wants = |name: &str| !other_class && pattern.as_ref().is_none_or(|p| name.to_ascii_lowercase().contains(p));
    let limit = limit(input.limit, DESCRIBE_MAX);

    let all = store::groups(cx.scope()).partial(prefix.unwrap_or(""));
    let mut from = match read_token(input.next_token.as_deref())? {
        Some(last) => store::groups(cx.scope()).text(&last).end(),
        None => all.as_bytes().to_vec(),
    };
    let (mut found, mut searched, mut more) = (Vec::new(), 0, true);
    let mut last = None;
    while more && found.len() < limit && searched < SEARCHED_MAX {
        let items = logs.store.scan(&from, &all.end(), limit + 1).await?;
        more = items.len() > limit;
        for item in items.iter().take(limit) {
            if found.len() == limit {
                more = true;
                break;
            }
            searched += 1;
            let Some((_, _, name)) = store::parse_group(&item.key) else { continue };
            from = store::groups(cx.scope()).text(&name).end();
            if wants(&name) {
                found.push((name.clone(), ::store::record::decode::<Group>(&item.value)?));
            }
            last = Some(name);
        }
    }
    let mut groups = Vec::with_capacity(found.len());
    for (name, group) in found {
        groups.push(shape(&logs, &cx, name, group).await?);
    }
    let next_token = last.filter(|_| more).map(|name| token(&name));
    Ok(DescribeLogGroupsResponse { log_groups: Some(groups), next_token })
}

async fn shape(logs: &Logs, cx: &Context, name: String, group: Group) -> Result<LogGroup, Error> {
    let tail: Tail = logs.store.get(&Space::Tail(&group.id).key()).await?.unwrap_or_default();
    let arn = model::group_arn(cx.scope(), &name);
    Ok(LogGroup {
        log_group_name: Some(name),
        creation_time: Some(group.created.millis() as i64),
        retention_in_days: group.retention_days.map(|d| d as i32),
        metric_filter_count: Some(0),
        arn: Some(format!("{arn}:*")),
        stored_bytes: Some(tail.bytes as i64),
        log_group_class: Some("STANDARD".into()),
        log_group_arn: Some(arn),
        ..LogGroup::default()
    })
}

pub async fn put_retention(logs: Arc<Logs>, cx: Context, input: PutRetentionPolicyRequest) -> Result<Empty, Error> {
    let days = model::check_retention(i64::from(input.retention_in_days))?;
    change(&logs, &cx, &input.log_group_name, |group| group.retention_days = Some(days)).await
}

pub async fn delete_retention(
    logs: Arc<Logs>,
    cx: Context,
    input: DeleteRetentionPolicyRequest,
) -> Result<Empty, Error> {
    change(&logs, &cx, &input.log_group_name, |group| group.retention_days = None).await
}

async fn change(logs: &Logs, cx: &Context, name: &str, how: impl Fn(&mut Group) + Sync) -> Result<Empty, Error> {
    let key = Space::Group(cx.scope(), name).key();
    logs.store
        .transact(async |tx: Tx| {
            let mut group = tx.get::<Group>(&key).await?.ok_or(Error::NoSuchGroup)?;
            how(&mut group);
            Ok::<_, Error>(tx.put(&key, &group)?)
        })
        .await?;
    Ok(Empty {})
}
