//! The clockwork: what is done at its time.

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

/// Whose alarm it is. Names have no slashes.
enum Whose<'a> {
    /// `rule/<account>/<region>/<bus>/<rule>`: its schedule is due.
    Rule(Scope, &'a str, &'a str),
    /// `replay/<account>/<region>/<name>`: its next page is to be sent.
    Replay(Scope, &'a str),
    /// `expire/<account>/<region>/<archive>`: what is older than the archive keeps is to go.
    Expire(Scope, &'a str),
    /// `drop/<archive id>`: what was in a deleted archive is to go.
    Drop(&'a str),
}

impl<'a> Whose<'a> {
    fn parse(id: &'a str) -> Option<Self> {
        let (kind, rest) = id.split_once('/')?;
        if kind == "drop" {
            return Some(Self::Drop(rest));
        }
        let mut parts = rest.splitn(4, '/');
        let scope = Scope::new(AccountId::parse(parts.next()?)?, Region::parse(parts.next()?)?);
        let name = parts.next()?;
        match kind {
            "rule" => Some(Self::Rule(scope, name, parts.next()?)),
            "replay" => Some(Self::Replay(scope, name)),
            "expire" => Some(Self::Expire(scope, name)),
            _ => None,
        }
    }
}

/// The id of an alarm of an account's own things.
pub fn alarm_id(kind: &str, scope: &Scope, name: &str) -> String {
    format!("{kind}/{}/{}/{name}", scope.account.as_str(), scope.region.as_str())
}

#[async_trait]
impl Ring for Bus {
    type Error = Error;

    async fn ring(&self, tx: &Tx, alarm: &Alarm) -> Result<()> {
        match Whose::parse(&alarm.id) {
            Some(Whose::Rule(scope, bus, name)) => self.fire(tx, alarm, (&scope, bus, name)).await,
            Some(Whose::Replay(scope, name)) => self.replay(tx, alarm, &scope, name).await,
            Some(Whose::Expire(scope, name)) => self.expire(tx, alarm, &scope, name).await,
            Some(Whose::Drop(archive)) => self.drop_archived(tx, alarm, archive).await,
            None => Ok(()),
        }
    }
}

impl Bus {
    /// Sends to the rule's targets and sets the next alarm, in one transaction.
    async fn fire(&self, tx: &Tx, alarm: &Alarm, (scope, bus, name): (&Scope, &str, &str)) -> Result<()> {
        let key = Space::Rule(scope, bus, name).key();
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
            "resources": [model::rule_arn(scope, bus, name)],
            "detail": {},
        });
        let arrived = Arrived { event: &event, id: &id, at: now, hops: 0 };
        for event in sender(scope, bus, name, rule.targets.clone()).send(scope, &arrived, || self.entropy.uuid()) {
            tx.emit(&event)?;
        }
        rule.due = None;
        self.arm(tx, (scope, bus, name), &mut rule, now)?;
        Ok(tx.put(&key, &rule)?)
    }

    /// Does what is due (schedules of rules, pages of replays, the sweeping of archives), until `stop`.
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
    alarm_id("rule", scope, &format!("{bus}/{rule}"))
}
