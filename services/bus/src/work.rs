//! The clockwork: rules with schedules.

use crate::error::{Error, Result};
use crate::rules::{Arrived, sender};
use crate::store::{Rule, Space};
use crate::{Bus, model};
use ::rules::schedule::{Schedule, Zone};
use ::store::Tx;
use ::store::alarm::{Alarm, Ring};
use async_trait::async_trait;
use base::{AccountId, Region, Scope, Timestamp};
use serde_json::json;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The account, region, bus and rule in an alarm's id; none of them has a slash.
fn parse(id: &str) -> Option<(Scope, &str, &str)> {
    let mut parts = id.splitn(4, '/');
    let scope = Scope::new(AccountId::parse(parts.next()?)?, Region::parse(parts.next()?)?);
    Some((scope, parts.next()?, parts.next()?))
}

#[async_trait]
impl Ring for Bus {
    type Error = Error;

    /// Sends to the rule's targets and sets the next alarm, in one transaction.
    async fn ring(&self, tx: &Tx, alarm: &Alarm) -> Result<()> {
        let Some((scope, bus, name)) = parse(&alarm.id) else { return Ok(()) };
        let key = Space::Rule(&scope, bus, name).key();
        let Some(mut rule) = tx.get::<Rule>(&key).await?.filter(|rule| rule.due == Some(alarm.due)) else {
            return Ok(());
        };
        let (id, now) = (self.entropy.uuid(), self.clock.now());
        let event = json!({
            "version": "0",
            "id": id,
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": scope.account.as_str(),
            "time": model::seconds(alarm.due),
            "region": scope.region.as_str(),
            "resources": [model::rule_arn(&scope, bus, name)],
            "detail": {},
        });
        let arrived = Arrived { event: &event, id: &id, at: now, hops: 0 };
        for event in sender(&scope, bus, name, rule.targets.clone()).send(&scope, &arrived, || self.entropy.uuid()) {
            tx.emit(&event)?;
        }
        rule.due = None;
        self.arm(tx, (&scope, bus, name), &mut rule, now)?;
        Ok(tx.put(&key, &rule)?)
    }
}

impl Bus {
    /// Fires rules with schedules when they are due, until `stop`.
    pub async fn work(self: Arc<Self>, stop: CancellationToken) {
        self.alarms.run(&stop, &*self).await;
    }

    /// Sets a rule's alarm anew, as its schedule and state say. `now` is when a rate begins that has no alarm yet.
    pub(crate) fn arm(&self, tx: &Tx, of: (&Scope, &str, &str), rule: &mut Rule, now: Timestamp) -> Result<()> {
        self.disarm(tx, of, rule);
        let schedule = rule.schedule.as_deref().filter(|_| rule.enabled).and_then(|text| Schedule::parse(text).ok());
        rule.due = schedule.and_then(|schedule| schedule.next(&Zone::utc(), rule.since.unwrap_or(now), now));
        match rule.due {
            Some(due) => Ok(self.alarms.set(tx, &Alarm { due, id: id(of) })?),
            None => Ok(()),
        }
    }

    pub(crate) fn disarm(&self, tx: &Tx, of: (&Scope, &str, &str), rule: &mut Rule) {
        if let Some(due) = rule.due.take() {
            self.alarms.clear(tx, &Alarm { due, id: id(of) });
        }
    }
}

fn id((scope, bus, rule): (&Scope, &str, &str)) -> String {
    format!("{}/{}/{bus}/{rule}", scope.account.as_str(), scope.region.as_str())
}
