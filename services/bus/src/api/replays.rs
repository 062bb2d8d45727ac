//! Replays: StartReplay, DescribeReplay, ListReplays, CancelReplay.

use super::*;
use crate::store::{self, Archive, Replay, Space, State};
use crate::work::alarm_id;
use ::store::Tx;
use ::store::alarm::Alarm;
use base::Timestamp;
use std::sync::Arc;

fn at(seconds: f64) -> Timestamp {
    Timestamp((seconds.max(0.0) * 1000.0) as u64)
}

/// To the bus that the archive is of, and to no other.
pub async fn start(bus: Arc<Bus>, cx: Context, input: StartReplayRequest) -> Result<StartReplayResponse> {
    let none = || model::no_archive(&input.event_source_arn);
    let archive_name = input.event_source_arn.strip_prefix(&model::archive_arn(cx.scope(), "")).ok_or_else(none)?;
    let (from, to) = (at(input.event_start_time), at(input.event_end_time));
    if from >= to {
        let message = "Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.";
        return Err(Error::invalid(message));
    }
    let now = bus.clock.now();
    let (archive_key, key) =
        (Space::Archive(cx.scope(), archive_name).key(), Space::Replay(cx.scope(), &input.replay_name).key());
    let alarm = Alarm { due: now, id: alarm_id("replay", cx.scope(), &input.replay_name) };
    bus.store
        .transact(async |tx: Tx| {
            let archive = tx.get::<Archive>(&archive_key).await?.ok_or_else(none)?;
            if tx.get::<Replay>(&key).await?.is_some() {
                return Err(Error::Exists(format!("Replay {}", input.replay_name)));
            }
            if input.destination.arn != model::bus_arn(cx.scope(), &archive.bus).to_string() {
                let message =
                    "Parameter Destination.Arn is not valid. Reason: Must be the event bus that the archive is of.";
                return Err(Error::invalid(message));
            }
            let replay = Replay {
                archive: input.event_source_arn.clone(),
                archive_id: archive.id,
                bus: archive.bus,
                rules: input.destination.filter_arns.clone().unwrap_or_default(),
                description: input.description.clone(),
                from,
                to,
                state: State::Starting,
                sent: None,
                started: now,
                ended: None,
            };
            bus.alarms.set(&tx, &alarm)?;
            Ok(tx.put(&key, &replay)?)
        })
        .await?;
    bus.alarms.wake();
    Ok(StartReplayResponse {
        replay_arn: Some(model::replay_arn(cx.scope(), &input.replay_name)),
        state: Some(State::Starting.name().into()),
        replay_start_time: Some(now.seconds()),
        ..Default::default()
    })
}

pub async fn describe(bus: Arc<Bus>, cx: Context, input: DescribeReplayRequest) -> Result<DescribeReplayResponse> {
    let replay: Option<Replay> = bus.store.get(&Space::Replay(cx.scope(), &input.replay_name).key()).await?;
    let replay = replay.ok_or_else(|| model::no_replay(&input.replay_name))?;
    Ok(DescribeReplayResponse {
        replay_arn: Some(model::replay_arn(cx.scope(), &input.replay_name)),
        replay_name: Some(input.replay_name),
        description: replay.description,
        state: Some(replay.state.name().into()),
        event_source_arn: Some(replay.archive),
        destination: Some(ReplayDestination {
            arn: model::bus_arn(cx.scope(), &replay.bus).to_string(),
            filter_arns: (!replay.rules.is_empty()).then_some(replay.rules),
        }),
        event_start_time: Some(replay.from.seconds()),
        event_end_time: Some(replay.to.seconds()),
        event_last_replayed_time: replay.sent.map(|(at, _)| at.seconds()),
        replay_start_time: Some(replay.started.seconds()),
        replay_end_time: replay.ended.map(Timestamp::seconds),
        ..Default::default()
    })
}

pub async fn list(bus: Arc<Bus>, cx: Context, input: ListReplaysRequest) -> Result<ListReplaysResponse> {
    let (all, window) = (store::replays(cx.scope()), (input.next_token.as_deref(), limit(input.limit)));
    let (found, next_token) = page::<Replay>(&bus, &all, input.name_prefix.as_deref(), window).await?;
    let wanted = |replay: &Replay| {
        input.event_source_arn.as_ref().is_none_or(|arn| *arn == replay.archive)
            && input.state.as_deref().is_none_or(|state| state == replay.state.name())
    };
    let shape = |(name, replay): (String, Replay)| super::Replay {
        replay_name: Some(name),
        event_source_arn: Some(replay.archive),
        state: Some(replay.state.name().into()),
        event_start_time: Some(replay.from.seconds()),
        event_end_time: Some(replay.to.seconds()),
        event_last_replayed_time: replay.sent.map(|(at, _)| at.seconds()),
        replay_start_time: Some(replay.started.seconds()),
        replay_end_time: replay.ended.map(Timestamp::seconds),
        ..Default::default()
    };
    let replays = found.into_iter().filter(|(_, replay)| wanted(replay)).map(shape).collect();
    Ok(ListReplaysResponse { replays: Some(replays), next_token })
}

pub async fn cancel(bus: Arc<Bus>, cx: Context, input: CancelReplayRequest) -> Result<CancelReplayResponse> {
    let key = Space::Replay(cx.scope(), &input.replay_name).key();
    bus.store
        .transact(async |tx: Tx| {
            let mut replay = tx.get::<Replay>(&key).await?.ok_or_else(|| model::no_replay(&input.replay_name))?;
            match replay.state {
                State::Starting | State::Running => replay.state = State::Cancelling,
                _ => return Err(Error::Status(format!("Replay {}", input.replay_name))),
            }
            Ok(tx.put(&key, &replay)?)
        })
        .await?;
    Ok(CancelReplayResponse {
        replay_arn: Some(model::replay_arn(cx.scope(), &input.replay_name)),
        state: Some(State::Cancelling.name().into()),
        ..Default::default()
    })
}
