//! Archives: CreateArchive, DescribeArchive, ListArchives, UpdateArchive, DeleteArchive.
//!
//! Differs from AWS: no KMS keys (refused by name); what arrives is in the archive at once; DescribeArchive counts events
//! up to ten thousand, ListArchives does not count.

use super::*;
use crate::rules::ARCHIVES_MAX;
use crate::store::{self, Archive, Space, next_edition};
use crate::work::alarm_id;
use ::rules::pattern::Pattern;
use ::store::Tx;
use ::store::alarm::Alarm;
use std::sync::Arc;
use wire::Empty;

/// Archived events that DescribeArchive counts, and how many at a time.
const COUNTED_MAX: usize = 10_000;
const COUNT_PAGE: usize = 100;

/// The pattern and the days, checked.
fn checked(pattern: Option<String>, days: Option<i32>, key: Option<&String>) -> Result<(Option<String>, Option<u32>)> {
    refuse(&[(key.is_some_and(|k| !k.is_empty()), "encryption of archives, KmsKeyIdentifier,")])?;
    let pattern = pattern.filter(|p| !p.is_empty());
    pattern.as_deref().map(Pattern::parse).transpose()?;
    Ok((pattern, days.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0)))
}

pub async fn create(bus: Arc<Bus>, cx: Context, input: CreateArchiveRequest) -> Result<CreateArchiveResponse> {
    let (pattern, retention_days) =
        checked(input.event_pattern, input.retention_days, input.kms_key_identifier.as_ref())?;
    let source = named_bus(&bus, cx.scope(), Some(&input.event_source_arn)).await?;
    let now = bus.clock.now();
    let archive = Archive {
        id: bus.entropy.uuid(),
        bus: source.to_owned(),
        created: now,
        description: input.description,
        pattern,
        retention_days,
    };
    let (key, all) = (Space::Archive(cx.scope(), &input.archive_name).key(), store::archives(cx.scope()));
    let expire = Alarm { due: now, id: alarm_id("expire", cx.scope(), &input.archive_name) };
    bus.store
        .transact(async |tx: Tx| {
            if tx.get::<Archive>(&key).await?.is_some() {
                return Err(Error::Exists(format!("Archive {}", input.archive_name)));
            }
            if tx.scan(all.as_bytes(), &all.end(), ARCHIVES_MAX).await?.len() == ARCHIVES_MAX {
                return Err(Error::TooMany);
            }
            if archive.retention_days.is_some() {
                bus.alarms.set(&tx, &expire)?;
            }
            tx.put(&key, &archive)?;
            Ok(next_edition(&tx, cx.scope(), source).await?)
        })
        .await?;
    bus.alarms.wake();
    Ok(CreateArchiveResponse {
        archive_arn: Some(model::archive_arn(cx.scope(), &input.archive_name)),
        state: Some("ENABLED".into()),
        creation_time: Some(now.seconds()),
        ..Default::default()
    })
}

pub async fn describe(bus: Arc<Bus>, cx: Context, input: DescribeArchiveRequest) -> Result<DescribeArchiveResponse> {
    let archive: Option<Archive> = bus.store.get(&Space::Archive(cx.scope(), &input.archive_name).key()).await?;
    let archive = archive.ok_or_else(|| model::no_archive(&input.archive_name))?;
    let (events, bytes) = count(&bus, &archive.id).await?;
    Ok(DescribeArchiveResponse {
        archive_arn: Some(model::archive_arn(cx.scope(), &input.archive_name)),
        archive_name: Some(input.archive_name),
        event_source_arn: Some(model::bus_arn(cx.scope(), &archive.bus).to_string()),
        description: archive.description,
        event_pattern: archive.pattern,
        state: Some("ENABLED".into()),
        retention_days: Some(days(archive.retention_days)),
        size_bytes: Some(bytes as i64),
        event_count: Some(events as i64),
        creation_time: Some(archive.created.seconds()),
        ..Default::default()
    })
}

fn days(kept: Option<u32>) -> i32 {
    kept.and_then(|n| i32::try_from(n).ok()).unwrap_or(0)
}

/// Events and their bytes.
async fn count(bus: &Bus, archive: &str) -> Result<(usize, usize)> {
    let all = store::archived(archive);
    let (mut from, mut events, mut bytes) = (all.as_bytes().to_vec(), 0, 0);
    while events < COUNTED_MAX {
        let items = bus.store.scan(&from, &all.end(), COUNT_PAGE).await?;
        events += items.len();
        bytes += items.iter().map(|item| item.value.len()).sum::<usize>();
        match items.last() {
            Some(last) if items.len() == COUNT_PAGE => {
                from = last.key.to_vec();
                from.push(0);
            }
            _ => break,
        }
    }
    Ok((events, bytes))
}

pub async fn list(bus: Arc<Bus>, cx: Context, input: ListArchivesRequest) -> Result<ListArchivesResponse> {
    let (all, window) = (store::archives(cx.scope()), (input.next_token.as_deref(), limit(input.limit)));
    let (found, next_token) = page::<Archive>(&bus, &all, input.name_prefix.as_deref(), window).await?;
    let of = |archive: &Archive| model::bus_arn(cx.scope(), &archive.bus).to_string();
    let wanted = |archive: &Archive| {
        input.event_source_arn.as_ref().is_none_or(|arn| *arn == of(archive))
            && input.state.as_deref().is_none_or(|state| state == "ENABLED")
    };
    let shape = |(name, archive): (String, Archive)| super::Archive {
        archive_name: Some(name),
        event_source_arn: Some(of(&archive)),
        state: Some("ENABLED".into()),
        retention_days: Some(days(archive.retention_days)),
        creation_time: Some(archive.created.seconds()),
        ..Default::default()
    };
    let archives = found.into_iter().filter(|(_, archive)| wanted(archive)).map(shape).collect();
    Ok(ListArchivesResponse { archives: Some(archives), next_token })
}

pub async fn update(bus: Arc<Bus>, cx: Context, input: UpdateArchiveRequest) -> Result<UpdateArchiveResponse> {
    let given = input.retention_days.is_some();
    let (pattern, retention_days) =
        checked(input.event_pattern, input.retention_days, input.kms_key_identifier.as_ref())?;
    let key = Space::Archive(cx.scope(), &input.archive_name).key();
    let expire = Alarm { due: bus.clock.now(), id: alarm_id("expire", cx.scope(), &input.archive_name) };
    let archive = bus
        .store
        .transact(async |tx: Tx| {
            let old = tx.get::<Archive>(&key).await?.ok_or_else(|| model::no_archive(&input.archive_name))?;
            let archive = Archive {
                description: input.description.clone().or(old.description.clone()),
                pattern: pattern.clone().or(old.pattern.clone()),
                retention_days: if given { retention_days } else { old.retention_days },
                ..old.clone()
            };
            if archive.retention_days.is_some() && old.retention_days.is_none() {
                bus.alarms.set(&tx, &expire)?;
            }
            tx.put(&key, &archive)?;
            next_edition(&tx, cx.scope(), &archive.bus).await?;
            Ok::<_, Error>(archive)
        })
        .await?;
    bus.alarms.wake();
    Ok(UpdateArchiveResponse {
        archive_arn: Some(model::archive_arn(cx.scope(), &input.archive_name)),
        state: Some("ENABLED".into()),
        creation_time: Some(archive.created.seconds()),
        ..Default::default()
    })
}

/// The archive is gone at once; what was in it is swept in the background.
pub async fn delete(bus: Arc<Bus>, cx: Context, input: DeleteArchiveRequest) -> Result<Empty> {
    let (key, now) = (Space::Archive(cx.scope(), &input.archive_name).key(), bus.clock.now());
    bus.store
        .transact(async |tx: Tx| {
            let archive = tx.get::<Archive>(&key).await?.ok_or_else(|| model::no_archive(&input.archive_name))?;
            tx.delete(&key);
            bus.alarms.set(&tx, &Alarm { due: now, id: format!("drop/{}", archive.id) })?;
            Ok::<_, Error>(next_edition(&tx, cx.scope(), &archive.bus).await?)
        })
        .await?;
    bus.alarms.wake();
    Ok(Empty {})
}
