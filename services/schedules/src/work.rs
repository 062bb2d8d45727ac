//! The clockwork: what a schedule does when its alarm rings.

use crate::Schedules;
use crate::error::{Error, Result};
use crate::store::{Due, Place, Schedule, Space};
use crate::{events, model};
use ::store::Tx;
use ::store::alarm::{Alarm, Ring};
use async_trait::async_trait;
use base::{Scope, Timestamp};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[async_trait]
impl Ring for Schedules {
    type Error = Error;

    /// Emits the event and sets the next alarm, in one transaction. What fell due while nobody looked fires once, for
    /// the first time that was missed; the next is the first to come.
    async fn ring(&self, tx: &Tx, alarm: &Alarm) -> Result<()> {
        let Some(place) = Place::parse(&alarm.id) else { return Ok(()) };
        let key = Space::Schedule(&place.scope, &place.group, &place.name).key();
        let Some(mut schedule) = tx.get::<Schedule>(&key).await? else { return Ok(()) };
        let Some(Due { scheduled, .. }) = schedule.due.filter(|due| due.at == alarm.due) else { return Ok(()) };
        let now = self.clock.now();
        if let Some(event) = events::event(&place, &schedule, scheduled, now, self.entropy.uuid()) {
            tx.emit(&event)?;
        }
        // Times whose window is still open have not been missed.
        let window = u64::from(schedule.window.unwrap_or(0)) * 60_000;
        let after = scheduled.max(Timestamp(now.millis().saturating_sub(window)));
        schedule.due = model::due(&schedule, after, self.entropy.u64())?;
        if schedule.due.is_none() && schedule.delete_after {
            tx.delete(&key);
            return Ok(());
        }
        self.set_alarm(tx, (&place.scope, &place.group, &place.name), &schedule)?;
        Ok(tx.put(&key, &schedule)?)
    }
}

impl Schedules {
    /// Fires schedules when they are due, until `stop`.
    pub async fn work(self: Arc<Self>, stop: CancellationToken) {
        self.alarms.run(&stop, &*self).await;
    }

    /// Sets the alarm of what is due.
    pub(crate) fn set_alarm(&self, tx: &Tx, (scope, group, name): (&Scope, &str, &str), of: &Schedule) -> Result<()> {
        match of.due {
            Some(due) => Ok(self.alarms.set(tx, &Alarm { due: due.at, id: Place::id(scope, group, name) })?),
            None => Ok(()),
        }
    }

    pub(crate) fn clear_alarm(&self, tx: &Tx, (scope, group, name): (&Scope, &str, &str), of: &Schedule) {
        if let Some(due) = of.due {
            self.alarms.clear(tx, &Alarm { due: due.at, id: Place::id(scope, group, name) });
        }
    }
}
