//! Schedules: CreateSchedule, GetSchedule, UpdateSchedule, DeleteSchedule, ListSchedules.
//!
//! Differs from AWS: no KMS keys, no targets but functions, queues, topics and event buses, no universal targets (refused
//! by name). The target's role is kept, not evaluated.

use super::*;
use crate::store::{self, Schedule, Target as Record};
use ::store::{Tx, record};
use base::Timestamp;
use std::sync::Arc;
use wire::Empty;

/// Schedules looked at for one page of those with a state.
const SEARCHED_MAX: usize = 10_000;

pub async fn create(room: Arc<Schedules>, cx: Context, input: CreateScheduleInput) -> Result<CreateScheduleOutput> {
    lacking(input.kms_key_arn.as_ref(), &input.target)?;
    let group = input.group_name.as_deref().unwrap_or(model::DEFAULT);
    let now = room.clock.now();
    let mut schedule = Schedule {
        created: now,
        modified: now,
        expression: input.schedule_expression,
        zone: input.schedule_expression_timezone,
        start: input.start_date.map(at),
        end: input.end_date.map(at),
        description: input.description,
        enabled: input.state.as_deref() != Some("DISABLED"),
        window: window(&input.flexible_time_window)?,
        delete_after: input.action_after_completion.as_deref() == Some("DELETE"),
        target: target(input.target),
        due: None,
    };
    model::check(&schedule, now)?;
    // A rate begins at once.
    schedule.due = model::due(&schedule, Timestamp(now.millis().saturating_sub(1)), room.entropy.u64())?;
    let key = Space::Schedule(cx.scope(), group, &input.name).key();
    let group_key = Space::Group(cx.scope(), group).key();
    room.store
        .transact(async |tx: Tx| {
            // Read here, so that a group that is being deleted gets no new schedule.
            if group != model::DEFAULT && tx.get::<Group>(&group_key).await?.is_none() {
                return Err(Error::NoGroup(group.to_owned()));
            }
            if tx.get::<Schedule>(&key).await?.is_some() {
                return Err(Error::ScheduleExists(input.name.clone()));
            }
            room.set_alarm(&tx, (cx.scope(), group, &input.name), &schedule)?;
            Ok(tx.put(&key, &schedule)?)
        })
        .await?;
    room.alarms.wake();
    Ok(CreateScheduleOutput { schedule_arn: model::schedule_arn(cx.scope(), group, &input.name) })
}

pub async fn update(room: Arc<Schedules>, cx: Context, input: UpdateScheduleInput) -> Result<UpdateScheduleOutput> {
    lacking(input.kms_key_arn.as_ref(), &input.target)?;
    let group = input.group_name.as_deref().unwrap_or(model::DEFAULT);
    let now = room.clock.now();
    let new = Schedule {
        created: now,
        modified: now,
        expression: input.schedule_expression,
        zone: input.schedule_expression_timezone,
        start: input.start_date.map(at),
        end: input.end_date.map(at),
        description: input.description,
        enabled: input.state.as_deref() != Some("DISABLED"),
        window: window(&input.flexible_time_window)?,
        delete_after: input.action_after_completion.as_deref() == Some("DELETE"),
        target: target(input.target),
        due: None,
    };
    model::check(&new, now)?;
    let key = Space::Schedule(cx.scope(), group, &input.name).key();
    let draw = room.entropy.u64();
    room.store
        .transact(async |tx: Tx| {
            let old = tx.get::<Schedule>(&key).await?.ok_or_else(|| Error::NoSchedule(input.name.clone()))?;
            room.clear_alarm(&tx, (cx.scope(), group, &input.name), &old);
            let mut schedule = Schedule { created: old.created, ..new.clone() };
            schedule.due = model::due(&schedule, now, draw)?;
            room.set_alarm(&tx, (cx.scope(), group, &input.name), &schedule)?;
            Ok::<_, Error>(tx.put(&key, &schedule)?)
        })
        .await?;
    room.alarms.wake();
    Ok(UpdateScheduleOutput { schedule_arn: model::schedule_arn(cx.scope(), group, &input.name) })
}

pub async fn get(room: Arc<Schedules>, cx: Context, input: GetScheduleInput) -> Result<GetScheduleOutput> {
    let group = input.group_name.as_deref().unwrap_or(model::DEFAULT);
    let schedule: Option<Schedule> = room.store.get(&Space::Schedule(cx.scope(), group, &input.name).key()).await?;
    let schedule = schedule.ok_or_else(|| Error::NoSchedule(input.name.clone()))?;
    Ok(GetScheduleOutput {
        arn: Some(model::schedule_arn(cx.scope(), group, &input.name)),
        group_name: Some(group.to_owned()),
        name: Some(input.name),
        schedule_expression: Some(schedule.expression),
        schedule_expression_timezone: Some(schedule.zone.unwrap_or_else(|| "UTC".into())),
        start_date: schedule.start.map(Timestamp::seconds),
        end_date: schedule.end.map(Timestamp::seconds),
        description: schedule.description,
        state: Some(state(schedule.enabled)),
        creation_date: Some(schedule.created.seconds()),
        last_modification_date: Some(schedule.modified.seconds()),
        target: Some(shape(schedule.target)),
        flexible_time_window: Some(FlexibleTimeWindow {
            mode: if schedule.window.is_some() { "FLEXIBLE" } else { "OFF" }.into(),
            maximum_window_in_minutes: schedule.window.and_then(|w| i32::try_from(w).ok()),
        }),
        action_after_completion: Some(if schedule.delete_after { "DELETE" } else { "NONE" }.into()),
        ..Default::default()
    })
}

pub async fn delete(room: Arc<Schedules>, cx: Context, input: DeleteScheduleInput) -> Result<Empty> {
    let group = input.group_name.as_deref().unwrap_or(model::DEFAULT);
    let key = Space::Schedule(cx.scope(), group, &input.name).key();
    room.store
        .transact(async |tx: Tx| {
            let old = tx.get::<Schedule>(&key).await?.ok_or_else(|| Error::NoSchedule(input.name.clone()))?;
            room.clear_alarm(&tx, (cx.scope(), group, &input.name), &old);
            tx.delete(&key);
            Ok::<_, Error>(())
        })
        .await?;
    Ok(Empty {})
}

pub async fn list(room: Arc<Schedules>, cx: Context, input: ListSchedulesInput) -> Result<ListSchedulesOutput> {
    let mut all = store::schedules(cx.scope());
    if let Some(group) = input.group_name.as_deref() {
        room.group(&cx, group).await?;
        all = all.text(group);
    }
    let (prefix, limit) = (input.name_prefix.as_deref().unwrap_or(""), limit(input.max_results));
    let mut from = page_from(input.next_token.as_deref(), &all)?;
    let (mut found, mut searched) = (Vec::new(), 0);
    loop {
        let items = room.store.scan(&from, &all.end(), PAGE_MAX).await?;
        let full = items.len() == PAGE_MAX;
        for item in items {
            if found.len() == limit || searched == SEARCHED_MAX {
                from.pop();
                return Ok(ListSchedulesOutput { schedules: found, next_token: Some(token(&from)) });
            }
            searched += 1;
            from = item.key.to_vec();
            from.push(0);
            let Some((group, name)) = store::parse_schedule(&item.key) else { continue };
            let schedule: Schedule = record::decode(&item.value)?;
            if name.starts_with(prefix) && input.state.as_ref().is_none_or(|s| *s == state(schedule.enabled)) {
                found.push(summary(&cx, group, name, schedule));
            }
        }
        if !full {
            return Ok(ListSchedulesOutput { schedules: found, next_token: None });
        }
    }
}

fn summary(cx: &Context, group: String, name: String, schedule: Schedule) -> ScheduleSummary {
    ScheduleSummary {
        arn: Some(model::schedule_arn(cx.scope(), &group, &name)),
        name: Some(name),
        group_name: Some(group),
        state: Some(state(schedule.enabled)),
        creation_date: Some(schedule.created.seconds()),
        last_modification_date: Some(schedule.modified.seconds()),
        target: Some(TargetSummary { arn: schedule.target.arn }),
    }
}

fn at(seconds: f64) -> Timestamp {
    Timestamp((seconds.max(0.0) * 1000.0) as u64)
}

fn state(enabled: bool) -> String {
    if enabled { "ENABLED" } else { "DISABLED" }.to_owned()
}

/// Minutes of the flexible window.
fn window(given: &FlexibleTimeWindow) -> Result<Option<u32>> {
    match (given.mode.as_str(), given.maximum_window_in_minutes.and_then(|n| u32::try_from(n).ok())) {
        ("OFF", None) => Ok(None),
        ("OFF", Some(_)) => Err(Error::Invalid("MaximumWindowInMinutes is not allowed when Mode is OFF.".into())),
        (_, Some(minutes)) => Ok(Some(minutes)),
        (_, None) => Err(Error::Invalid("MaximumWindowInMinutes is required when Mode is FLEXIBLE.".into())),
    }
}

fn lacking(key: Option<&String>, target: &Target) -> Result<()> {
    let given = [
        (key.is_some(), "encryption of schedules, KmsKeyArn,"),
        (target.ecs_parameters.is_some(), "EcsParameters of schedules"),
        (target.kinesis_parameters.is_some(), "KinesisParameters of schedules"),
        (target.sage_maker_pipeline_parameters.is_some(), "SageMakerPipelineParameters of schedules"),
        (target.event_bridge_put_events_v2_parameters.is_some(), "EventBridgePutEventsV2Parameters of schedules"),
        (target.event_bridge_put_raw_events_parameters.is_some(), "EventBridgePutRawEventsParameters of schedules"),
    ];
    match given.iter().find(|(given, _)| *given) {
        Some((_, name)) => Err(Error::Lacking((*name).to_owned())),
        None => Ok(()),
    }
}

fn target(given: Target) -> Record {
    let retry = given.retry_policy.unwrap_or_default();
    let number = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok());
    Record {
        arn: given.arn,
        role: given.role_arn,
        input: given.input,
        dead_letter: given.dead_letter_config.and_then(|d| d.arn),
        retries_max: number(retry.maximum_retry_attempts),
        age_max_s: number(retry.maximum_event_age_in_seconds),
        message_group: given.sqs_parameters.and_then(|s| s.message_group_id),
        event: given.event_bridge_parameters.map(|e| (e.detail_type, e.source)),
    }
}

fn shape(record: Record) -> Target {
    let integer = |n: Option<u32>, otherwise: i32| Some(n.and_then(|n| i32::try_from(n).ok()).unwrap_or(otherwise));
    Target {
        arn: record.arn,
        role_arn: record.role,
        input: record.input,
        dead_letter_config: record.dead_letter.map(|arn| DeadLetterConfig { arn: Some(arn) }),
        retry_policy: Some(RetryPolicy {
            maximum_event_age_in_seconds: integer(record.age_max_s, 86_400),
            maximum_retry_attempts: integer(record.retries_max, 185),
        }),
        sqs_parameters: record.message_group.map(|group| SqsParameters { message_group_id: Some(group) }),
        event_bridge_parameters: record
            .event
            .map(|(detail_type, source)| EventBridgeParameters { detail_type, source }),
        ..Default::default()
    }
}
