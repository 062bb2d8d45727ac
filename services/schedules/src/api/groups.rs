//! Schedule groups: CreateScheduleGroup, GetScheduleGroup, DeleteScheduleGroup, ListScheduleGroups.
//!
//! Differs from AWS: a group is gone with its schedules when DeleteScheduleGroup answers, not some time later.

use super::*;
use crate::store::{self, Schedule};
use ::store::{KeyReader, Tx, record};
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::Empty;

const GROUPS_MAX: usize = 500;
/// Schedules deleted in one transaction.
const STEP: usize = 64;

pub async fn create(
    room: Arc<Schedules>,
    cx: Context,
    input: CreateScheduleGroupInput,
) -> Result<CreateScheduleGroupOutput> {
    if input.name == model::DEFAULT {
        return Err(Error::GroupExists(input.name));
    }
    let now = room.clock.now();
    let mut group = Group { created: now, modified: now, tags: BTreeMap::new() };
    tags::add(&mut group.tags, input.tags.unwrap_or_default())?;
    let (key, all) = (Space::Group(cx.scope(), &input.name).key(), store::groups(cx.scope()));
    room.store
        .transact(async |tx: Tx| {
            if tx.get::<Group>(&key).await?.is_some() {
                return Err(Error::GroupExists(input.name.clone()));
            }
            if tx.scan(all.as_bytes(), &all.end(), GROUPS_MAX).await?.len() == GROUPS_MAX {
                return Err(Error::TooMany);
            }
            Ok(tx.put(&key, &group)?)
        })
        .await?;
    Ok(CreateScheduleGroupOutput { schedule_group_arn: model::group_arn(cx.scope(), &input.name) })
}

pub async fn get(room: Arc<Schedules>, cx: Context, input: GetScheduleGroupInput) -> Result<GetScheduleGroupOutput> {
    let group = room.group(&cx, &input.name).await?;
    Ok(GetScheduleGroupOutput {
        arn: Some(model::group_arn(cx.scope(), &input.name)),
        name: Some(input.name),
        state: Some("ACTIVE".into()),
        creation_date: group.as_ref().map(|g| g.created.seconds()),
        last_modification_date: group.as_ref().map(|g| g.modified.seconds()),
    })
}

pub async fn delete(room: Arc<Schedules>, cx: Context, input: DeleteScheduleGroupInput) -> Result<Empty> {
    if input.name == model::DEFAULT {
        return Err(Error::Invalid("Deleting the default schedule group is not allowed.".into()));
    }
    room.group(&cx, &input.name).await?;
    let (key, all) = (Space::Group(cx.scope(), &input.name).key(), store::schedules(cx.scope()).text(&input.name));
    loop {
        let more = room
            .store
            .transact(async |tx: Tx| {
                let items = tx.scan(all.as_bytes(), &all.end(), STEP).await?;
                for item in &items {
                    let Some((group, name)) = store::parse_schedule(&item.key) else { continue };
                    let schedule: Schedule = record::decode(&item.value)?;
                    room.clear_alarm(&tx, (cx.scope(), &group, &name), &schedule);
                    tx.delete_bytes(&item.key);
                }
                // The last step takes the group with it: none can have been added that it did not see.
                let more = items.len() == STEP;
                if !more {
                    tx.delete(&key);
                }
                Ok::<_, Error>(more)
            })
            .await?;
        if !more {
            return Ok(Empty {});
        }
    }
}

pub async fn list(
    room: Arc<Schedules>,
    cx: Context,
    input: ListScheduleGroupsInput,
) -> Result<ListScheduleGroupsOutput> {
    let all = store::groups(cx.scope());
    let within = all.clone().partial(input.name_prefix.as_deref().unwrap_or(""));
    let limit = limit(input.max_results);
    let from = page_from(input.next_token.as_deref(), &within)?;
    let items = room.store.scan(&from, &within.end(), limit + 1).await?;
    let mut groups: Vec<ScheduleGroupSummary> = Vec::new();
    // The default group comes first: it has no record.
    let first = input.next_token.is_none() && model::DEFAULT.starts_with(input.name_prefix.as_deref().unwrap_or(""));
    if first && !items.iter().any(|item| item.key == Space::Group(cx.scope(), model::DEFAULT).key().as_bytes()) {
        groups.push(summary(&cx, model::DEFAULT.to_owned(), None));
    }
    let mut last = None;
    for item in items.iter().take(limit - groups.len()) {
        let rest = item.key.get(all.as_bytes().len()..).unwrap_or_default();
        let Some(name) = KeyReader::new(rest).text() else { continue };
        groups.push(summary(&cx, name, Some(record::decode(&item.value)?)));
        last = Some(item.key.clone());
    }
    let more = items.last().map(|item| &item.key) != last.as_ref() && !items.is_empty();
    let next_token = more.then(|| last.map_or_else(|| token(within.as_bytes()), |key| token(&key)));
    Ok(ListScheduleGroupsOutput { schedule_groups: groups, next_token })
}

fn summary(cx: &Context, name: String, group: Option<Group>) -> ScheduleGroupSummary {
    ScheduleGroupSummary {
        arn: Some(model::group_arn(cx.scope(), &name)),
        name: Some(name),
        state: Some("ACTIVE".into()),
        creation_date: group.as_ref().map(|g| g.created.seconds()),
        last_modification_date: group.as_ref().map(|g| g.modified.seconds()),
    }
}
