//! Archives at work: replays, a page at a time, and the sweeping of what archives keep no longer. Each step is the ring
//! of an alarm, which sets the next: a restart goes on where it was.

use crate::Bus;
use crate::error::Result;
use crate::rules::Arrived;
use crate::store::{self, Archive, Replay, Space, State};
use ::store::Tx;
use ::store::alarm::Alarm;
use base::{Scope, Timestamp};
use serde_json::Value;
use std::time::Duration;

/// Archived events, which may be 1 MB each, that one step sends again, and their bytes: at least one.
const PAGE: usize = 25;
const PAGE_BYTES_MAX: usize = 2 << 20;
/// Archived events that one step forgets.
const STEP: usize = 64;
/// How often an archive is looked at for what is too old.
const EXPIRE_EVERY: Duration = Duration::from_secs(3600);
const DAY_MS: u64 = 86_400_000;

impl Bus {
    /// Sends the next page of a replay to the rules of its bus.
    pub(crate) async fn replay(&self, tx: &Tx, alarm: &Alarm, scope: &Scope, name: &str) -> Result<()> {
        let (key, now) = (Space::Replay(scope, name).key(), self.clock.now());
        let Some(mut replay) = tx.get::<Replay>(&key).await? else { return Ok(()) };
        let more = match replay.state {
            State::Starting | State::Running => self.send_page(tx, scope, name, &mut replay, now).await?,
            State::Cancelling => {
                replay.state = State::Cancelled;
                false
            }
            State::Completed | State::Cancelled => return Ok(()),
        };
        if more {
            self.alarms.set(tx, &Alarm { due: now, id: alarm.id.clone() })?;
        } else {
            replay.ended = Some(now);
        }
        Ok(tx.put(&key, &replay)?)
    }

    /// Gives whether there is more.
    async fn send_page(&self, tx: &Tx, scope: &Scope, name: &str, replay: &mut Replay, now: Timestamp) -> Result<bool> {
        let all = store::archived(&replay.archive_id);
        let from = match &replay.sent {
            Some((at, id)) => Space::Archived(&replay.archive_id, *at, id).key().end(),
            None => all.clone().number(replay.from.millis()).into_bytes(),
        };
        let to = all.number(replay.to.millis().saturating_add(1)).into_bytes();
        let compiled = self.compiled(tx, scope, &replay.bus).await?;
        // Archived events never change: they need not be part of the transaction.
        let items = self.store.scan(&from, &to, PAGE).await?;
        let (full, mut bytes) = (items.len() == PAGE, 0);
        for (i, item) in items.iter().enumerate() {
            bytes += item.value.len();
            if i > 0 && bytes > PAGE_BYTES_MAX {
                return Ok(true);
            }
            let Some((at, id)) = store::parse_archived(&item.key) else { continue };
            if let Ok(mut event) = serde_json::from_slice::<Value>(&item.value) {
                event["replay-name"] = name.into();
                let arrived = Arrived { event: &event, id: &id, at: now, hops: 0 };
                let wanted =
                    |rule: Option<&String>| replay.rules.is_empty() || rule.is_some_and(|r| replay.rules.contains(r));
                for event in self.route(&compiled, scope, &arrived).iter().filter(|e| wanted(e.terms.rule.as_ref())) {
                    tx.emit(event)?;
                }
            }
            replay.state = State::Running;
            replay.sent = Some((at, id));
        }
        if !full {
            replay.state = State::Completed;
        }
        Ok(full)
    }

    /// Forgets what is older than an archive keeps, and looks again later.
    pub(crate) async fn expire(&self, tx: &Tx, alarm: &Alarm, scope: &Scope, name: &str) -> Result<()> {
        let archive: Option<Archive> = tx.get(&Space::Archive(scope, name).key()).await?;
        let Some((archive, days)) = archive.and_then(|a| Some((a.id, a.retention_days?))) else { return Ok(()) };
        let now = self.clock.now();
        let old = Timestamp(now.millis().saturating_sub(u64::from(days) * DAY_MS));
        let all = store::archived(&archive);
        let more = self.forget(tx, all.as_bytes(), &all.clone().number(old.millis()).into_bytes()).await?;
        let due = if more { now } else { now.plus(EXPIRE_EVERY) };
        Ok(self.alarms.set(tx, &Alarm { due, id: alarm.id.clone() })?)
    }

    /// Forgets what was in a deleted archive.
    pub(crate) async fn drop_archived(&self, tx: &Tx, alarm: &Alarm, archive: &str) -> Result<()> {
        let all = store::archived(archive);
        if self.forget(tx, all.as_bytes(), &all.end()).await? {
            self.alarms.set(tx, &Alarm { due: self.clock.now(), id: alarm.id.clone() })?;
        }
        Ok(())
    }

    /// Removes a step's worth of what lies between; gives whether there may be more.
    async fn forget(&self, tx: &Tx, from: &[u8], to: &[u8]) -> Result<bool> {
        let items = self.store.scan(from, to, STEP).await?;
        items.iter().for_each(|item| tx.delete_bytes(&item.key));
        Ok(items.len() == STEP)
    }
}
