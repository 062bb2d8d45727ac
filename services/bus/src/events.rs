//! Events that buses receive from elsewhere: other buses' rules, and rooms that tell what happened to them. The payload
//! is the whole event, as EventBridge's rules see it.

use crate::error::{Error, Result};
use crate::rules::Arrived;
use crate::store::{BusRecord, Space};
use crate::{Bus, destination, model};
use ::store::Tx;
use async_trait::async_trait;
use base::port::{Denied, Target};
use base::{AccountId, Arn, Event, Region, Scope, Source, Verdict};
use serde_json::Value;
use std::time::Duration;

/// Buses that an event may go through: rules that send to each other end here.
const HOPS_MAX: u64 = 8;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The bus an ARN means.
fn of_target(target: &Arn) -> Option<(Scope, &str)> {
    let name = target.resource.strip_prefix("event-bus/")?;
    let scope = Scope::new(AccountId::parse(&target.account)?, Region::parse(&target.region)?);
    Some((scope, name))
}

#[async_trait]
impl Target for Bus {
    async fn accepts(&self, target: &Arn, from: &Source) -> std::result::Result<(), Denied> {
        if let Some((scope, name)) = destination::of_target(target) {
            return match self.destination(&scope, name).await {
                Ok(_) if from.account == scope.account.as_str() => Ok(()),
                Ok(_) => Err(Denied(format!("{} is not authorized to invoke {target}", from.account))),
                Err(why) => Err(Denied(why.to_string())),
            };
        }
        let Some((scope, name)) = of_target(target) else {
            return Err(Denied(format!("{target} is neither an event bus nor an API destination")));
        };
        match self.bus(&scope, name).await {
            Ok(_) if from.account == scope.account.as_str() => Ok(()),
            Ok(_) => Err(Denied(format!("{} is not authorized to perform: events:PutEvents", from.account))),
            Err(why) => Err(Denied(why.to_string())),
        }
    }

    async fn deliver(&self, event: &Event, _: u32) -> Verdict {
        if let Some((scope, name)) = destination::of_target(&event.target) {
            return self.invoke(&scope, name, event).await;
        }
        let hops = event.attributes.get("hops").and_then(Value::as_u64).unwrap_or(0);
        if hops > HOPS_MAX {
            return Verdict::Dead { reason: format!("the event has come through {hops} event buses") };
        }
        let Ok(told) = serde_json::from_str::<Value>(event.payload.get()) else {
            return Verdict::Dead { reason: "the event is not JSON".into() };
        };
        let Some((scope, name)) = of_target(&event.target).filter(|_| told.is_object()) else {
            return Verdict::Dead { reason: "there is no such bus, or what came is not an event".into() };
        };
        // A permission may have been taken away since the event was made.
        if event.source.account != scope.account.as_str() {
            return Verdict::Dead {
                reason: format!("{} is not authorized to perform: events:PutEvents", event.source.account),
            };
        }
        match self.passed_on(&scope, name, event, &told, hops).await {
            Ok(then) => Verdict::Over { failure: None, then },
            Err(Error::NotFound(reason)) => Verdict::Dead { reason },
            Err(later) => Verdict::Retry { after: RETRY_AFTER, reason: later.to_string() },
        }
    }
}

impl Bus {
    async fn passed_on(&self, scope: &Scope, bus: &str, event: &Event, told: &Value, hops: u64) -> Result<Vec<Event>> {
        self.bus(scope, bus).await?;
        let id = told.get("id").and_then(Value::as_str).unwrap_or(&event.id);
        // Delivered again, it is in the archives once: when it was made does not change.
        let kept = Arrived { event: told, id, at: event.created, hops };
        let compiled = self
            .store
            .transact(async |tx: Tx| {
                let compiled = self.compiled(&tx, scope, bus).await?;
                self.keep(&tx, &compiled, &kept)?;
                Ok::<_, Error>(compiled)
            })
            .await?;
        let arrived = Arrived { at: self.clock.now(), ..kept };
        Ok(self.route(&compiled, scope, &arrived))
    }

    /// A bus; the default one is always there.
    pub(crate) async fn bus(&self, scope: &Scope, name: &str) -> Result<Option<BusRecord>> {
        let record = self.store.get(&Space::Bus(scope, name).key()).await?;
        if record.is_none() && name != model::DEFAULT {
            return Err(model::no_bus(name));
        }
        Ok(record)
    }
}
