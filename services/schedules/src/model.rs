//! EventBridge Scheduler's rules for schedules and their targets, and when a schedule is due. No IO.

use crate::error::{Error, Result};
use crate::store::{Due, Schedule, Target};
use ::rules::schedule::{Schedule as Expression, Zone};
use base::{Arn, Scope, Timestamp};
use std::time::Duration;

pub const DEFAULT: &str = "default";
/// Of a target's input.
pub const INPUT_BYTES_MAX: usize = 256 << 10;

pub fn group_arn(scope: &Scope, group: &str) -> String {
    arn(scope, format!("schedule-group/{group}"))
}

pub fn schedule_arn(scope: &Scope, group: &str, name: &str) -> String {
    arn(scope, format!("schedule/{group}/{name}"))
}

fn arn(scope: &Scope, resource: String) -> String {
    Arn::new("scheduler", scope.region.as_str(), scope.account.as_str(), resource).to_string()
}

/// The group that an ARN of the own account and region means.
pub fn group_of_arn<'a>(scope: &Scope, arn: &'a str) -> Result<&'a str> {
    arn.strip_prefix(&group_arn(scope, "")).ok_or_else(|| Error::NoGroup(arn.to_owned()))
}

/// Reads the expression and zone of a schedule.
pub fn read(schedule: &Schedule) -> Result<(Expression, Zone)> {
    let expression = Expression::parse(&schedule.expression).map_err(|e| Error::Invalid(e.to_string()))?;
    let zone = match schedule.zone.as_deref() {
        None => Zone::utc(),
        Some(name) => {
            Zone::named(name).ok_or_else(|| Error::Invalid(format!("Invalid Schedule Expression Timezone {name}.")))?
        }
    };
    Ok((expression, zone))
}

/// Refuses what EventBridge Scheduler would refuse, or Wadi lacks.
pub fn check(schedule: &Schedule, now: Timestamp) -> Result<()> {
    let (expression, _) = read(schedule)?;
    if let (Some(start), Some(end)) = (schedule.start, schedule.end)
        && start >= end
    {
        return Err(Error::Invalid("The StartDate must come before the EndDate.".into()));
    }
    if schedule.end.is_some_and(|end| end <= now) && !expression.once() {
        return Err(Error::Invalid("The EndDate you specify must come after the current time.".into()));
    }
    check_target(&schedule.target)
}

fn check_target(target: &Target) -> Result<()> {
    let arn: Arn = target
        .arn
        .parse()
        .map_err(|_| Error::Invalid(format!("Provided Arn {} is not in correct format.", target.arn)))?;
    if arn.service == "scheduler" && arn.resource.starts_with("aws-sdk:") {
        return Err(Error::Lacking(format!("universal targets, {arn},")));
    }
    let bus = arn.service == "events" && arn.resource.starts_with("event-bus/");
    if !matches!(arn.service.as_str(), "lambda" | "sqs" | "sns") && !bus {
        return Err(Error::Lacking(format!("schedules' targets like {arn}")));
    }
    if target.input.as_ref().is_some_and(|input| input.len() > INPUT_BYTES_MAX) {
        return Err(Error::Invalid("The Input of the target is longer than 262144 bytes.".into()));
    }
    let input = target.input.as_deref().map(serde_json::from_str::<serde_json::Value>);
    match (&target.event, input) {
        (None, _) if bus => Err(Error::Invalid("EventBridgeParameters must be specified for this target.".into())),
        (Some(_), _) if !bus => Err(Error::Invalid("EventBridgeParameters are not valid for this target.".into())),
        (Some(_), Some(Ok(detail))) if detail.is_object() => Ok(()),
        (Some(_), _) => Err(Error::Invalid("The Input of an event bus must be a JSON object.".into())),
        (None, Some(Err(_))) if arn.service == "lambda" => {
            Err(Error::Invalid("Invalid payload format for the given target, it must be JSON.".into()))
        }
        (None, _) => {
            let (fifo, group) = (arn.resource.ends_with(".fifo"), target.message_group.is_some());
            match arn.service == "sqs" && fifo == group || arn.service != "sqs" && !group {
                true => Ok(()),
                false => Err(Error::Invalid("SqsParameters with a MessageGroupId are for FIFO queues.".into())),
            }
        }
    }
}

/// When it is due next after `after`, with a `draw` that is uniform over all `u64` for the flexible window.
pub fn due(schedule: &Schedule, after: Timestamp, draw: u64) -> Result<Option<Due>> {
    if !schedule.enabled {
        return Ok(None);
    }
    let (expression, zone) = read(schedule)?;
    let since = schedule.start.unwrap_or(schedule.created);
    // Start and end are for what recurs.
    let after = match schedule.start {
        Some(start) if !expression.once() => after.max(Timestamp(start.millis().saturating_sub(1))),
        _ => after,
    };
    let scheduled = expression.next(&zone, since, after);
    let scheduled = scheduled.filter(|at| expression.once() || schedule.end.is_none_or(|end| *at <= end));
    Ok(scheduled.map(|scheduled| {
        let window = u64::from(schedule.window.unwrap_or(0)) * 60_000;
        let by = (u128::from(draw) * u128::from(window) >> 64) as u64;
        Due { scheduled, at: scheduled.plus(Duration::from_millis(by)) }
    }))
}
