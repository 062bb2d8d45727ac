//! Events that functions receive: asynchronous invocations of the room's own, and those that other rooms send.
//!
//! The rules of retrying are AWS's ("Asynchronous invocation", "Error handling"): the function's own errors are tried
//! again `MaximumRetryAttempts` times after one and two minutes; throttles and faults of ours are tried again with
//! growing pauses until the event is `MaximumEventAgeInSeconds` old.

use crate::Functions;
use crate::destination::End;
use crate::error::{Error, Result};
use crate::lineage::{self, Entered, LOOP_MAX};
use crate::model::{LATEST, name, statement};
use crate::records::{EventConfig, Function, Policy, Retry};
use crate::store::{At, resolve};
use async_trait::async_trait;
use base::port::{Denied, Target};
use base::{Arn, Event, FunctionError, FunctionRef, Invocation, InvokeError, Mode, Outcome, Source, Verdict};
use bytes::Bytes;
use serde_json::value::RawValue;
use std::time::Duration;

const RETRIES_MAX: u32 = 2;
const AGE_MAX: Duration = Duration::from_secs(6 * 3600);
/// Before the first and the second retry of a function's own error.
const AFTER_ERROR: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];
const BACK_OFF_MIN: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(300);

/// What ends an invocation in a recursive loop.
pub const LOOP: &str = "RecursiveLoop";

/// The trace that an event came with.
pub fn trace_of(event: &Event) -> Option<&str> {
    event.attributes.get("trace_id")?.as_str()
}

/// An event for a function.
pub fn event(room: &Functions, named: &FunctionRef, source: Source, payload: Box<RawValue>) -> Event {
    Event {
        id: room.entropy.uuid(),
        target: name::arn_of(named),
        source,
        created: room.clock.now(),
        payload,
        attributes: serde_json::Map::new(),
        terms: base::Terms::default(),
    }
}

#[async_trait]
impl Target for Functions {
    async fn accepts(&self, target: &Arn, from: &Source) -> Result<(), Denied> {
        let named = name::of_target(target).ok_or_else(|| Denied(format!("Function not found: {target}")))?;
        self.may_send(&named, from).await.map_err(|e| Denied(e.to_string()))?
    }

    async fn deliver(&self, event: &Event, attempt: u32) -> Verdict {
        let verdict = self.attempt(event, attempt).await;
        let counted = match verdict {
            Verdict::Retry { .. } => false,
            Verdict::Done | Verdict::Over { failure: None, .. } => attempt > 1,
            Verdict::Dead { .. } | Verdict::Over { .. } => true,
        };
        if counted {
            self.forget(&event.id).await;
        }
        verdict
    }

    /// AWS's rules of asynchronous invocation hold, whoever sends.
    fn patient(&self, _: &Arn) -> bool {
        true
    }
}

fn invocation(event: &Event, function: FunctionRef, trace_id: String) -> Invocation {
    Invocation {
        function,
        request_id: event.id.clone(),
        payload: Bytes::copy_from_slice(event.payload.get().as_bytes()),
        mode: Mode::Event,
        // "for synchronous invocations only"
        client_context: None,
        trace_id: Some(trace_id),
    }
}

/// How long and how often an event may be tried.
struct Patience {
    retries_max: u32,
    age_max: Duration,
}

/// Why an event is given up: the condition, after what, the last reason, and the function's own error if it had one.
struct Failure<'a> {
    condition: &'static str,
    after: String,
    reason: &'a str,
    error: Option<&'a FunctionError>,
}

impl Functions {
    async fn attempt(&self, event: &Event, attempt: u32) -> Verdict {
        let Some(named) = name::of_target(&event.target) else {
            return Verdict::Dead { reason: format!("Function not found: {}", event.target) };
        };
        // A permission may have been taken away since the event was made.
        if event.source.service.is_some() {
            match self.may_send(&named, &event.source).await {
                Ok(Ok(())) => {}
                Ok(Err(Denied(reason))) | Err(Error::NotFound(reason)) => return Verdict::Dead { reason },
                Err(error) => return self.put_off(&named, event, attempt, error.to_string()).await,
            }
        }
        let entered = self.enter(&named, trace_of(event));
        match self.loops(&named, entered.times).await {
            Ok(false) => {}
            Ok(true) => return self.stopped(&named, event, attempt).await,
            Err(error) => return self.put_off(&named, event, attempt, error.to_string()).await,
        }
        let outcome = self.runner.invoke(invocation(event, named.clone(), entered.trace)).await;
        match outcome {
            Ok(outcome) => match &outcome.result {
                Ok(_) => self.succeeded(&named, event, attempt, &outcome).await,
                Err(error) => self.failed(&named, event, attempt, error).await,
            },
            Err(InvokeError::NotFound(arn)) => Verdict::Dead { reason: format!("Function not found: {arn}") },
            Err(later) => self.put_off(&named, event, attempt, later.to_string()).await,
        }
    }

    /// An invocation by something that had this trace.
    pub(crate) fn enter(&self, named: &FunctionRef, trace: Option<&str>) -> Entered {
        lineage::enter(trace, &name::arn(&named.scope, &named.name).to_string(), || {
            let random = self.entropy.uuid().replace('-', "");
            format!("Root=1-{:08x}-{};Sampled=0", self.clock.now().millis() / 1000, &random[..24])
        })
    }

    /// Is this invocation, the how manieth of its chain, to be stopped?
    pub(crate) async fn loops(&self, named: &FunctionRef, times: u32) -> Result<bool> {
        if times <= LOOP_MAX {
            return Ok(false);
        }
        let record = self.store.get::<Function>(&At::Function(&named.scope, &named.name).key()).await?;
        Ok(record.is_some_and(|record| !record.loops))
    }

    async fn stopped(&self, named: &FunctionRef, event: &Event, attempt: u32) -> Verdict {
        let reason = format!("invoked more than {LOOP_MAX} times by what it has caused itself");
        let after = format!("{LOOP_MAX} invocations");
        tracing::info!(function = %named.name, event = %event.id, "a recursive loop was stopped");
        self.given_up(named, event, attempt, Failure { condition: LOOP, after, reason: &reason, error: None }).await
    }

    /// Is the function there, and does the resource policy of what was named let `from` invoke it?
    async fn may_send(&self, named: &FunctionRef, from: &Source) -> Result<Result<(), Denied>> {
        let policy: Option<Policy> = self
            .store
            .transact(|tx| async move {
                resolve(&tx, named).await?;
                let qualifier = named.qualifier.as_deref().filter(|q| *q != LATEST).unwrap_or("");
                Ok::<_, Error>(tx.get(&At::Policy(&named.scope, &named.name, qualifier).key()).await?)
            })
            .await?;
        let policy = policy.as_ref().and_then(parsed);
        Ok(rules::policy::lets(policy.as_ref(), "lambda:InvokeFunction", &name::arn_of(named).to_string(), from))
    }

    /// Done, and told to the destination if there is one.
    async fn succeeded(&self, named: &FunctionRef, event: &Event, attempt: u32, outcome: &Outcome) -> Verdict {
        let config = self.event_config(named).await;
        if config.on_success.is_none() {
            return Verdict::Done;
        }
        let places = self.destinations(named, &config, false).await;
        Verdict::Over { failure: None, then: self.follows(named, event, attempt, (&End::Success(outcome), &places)) }
    }

    /// Given up, by AWS's rules of retrying: told to the destination of failures and the dead-letter target.
    async fn given_up(&self, named: &FunctionRef, event: &Event, attempt: u32, failure: Failure<'_>) -> Verdict {
        let places = self.destinations(named, &self.event_config(named).await, true).await;
        let Failure { condition, after, reason, error } = failure;
        let then = self.follows(named, event, attempt, (&End::Failure { condition, reason, error }, &places));
        Verdict::Over { failure: Some(format!("{condition} after {after}: {reason}")), then }
    }

    /// The function's own error.
    async fn failed(&self, named: &FunctionRef, event: &Event, attempt: u32, error: &FunctionError) -> Verdict {
        let reason = format!("{}: {}", error.error_type, String::from_utf8_lossy(&error.body));
        let patience = self.patience(named).await;
        let errors = match self.count_error(&event.id).await {
            Ok(errors) => errors,
            // The count is lost, not the event: as many attempts as were made are counted.
            Err(cause) => {
                tracing::warn!(%cause, event = %event.id, "a failed attempt could not be counted");
                attempt
            }
        };
        let failure = |condition, after| Failure { condition, after, reason: &reason, error: Some(error) };
        if errors > patience.retries_max {
            let failure = failure("RetriesExhausted", format!("{errors} errors"));
            return self.given_up(named, event, attempt, failure).await;
        }
        let after = AFTER_ERROR[(errors.max(1) as usize - 1).min(AFTER_ERROR.len() - 1)];
        if self.too_old(&patience, event, after) {
            let failure = failure("EventAgeExceeded", self.age(event));
            return self.given_up(named, event, attempt, failure).await;
        }
        Verdict::Retry { after, reason }
    }

    /// Not the function's fault: try again, each time later, for the last time when the event's age is reached.
    async fn put_off(&self, named: &FunctionRef, event: &Event, attempt: u32, reason: String) -> Verdict {
        let patience = self.patience(named).await;
        let left = patience.age_max.saturating_sub(self.clock.now().since(event.created));
        if left.is_zero() {
            let after = self.age(event);
            let failure = Failure { condition: "EventAgeExceeded", after, reason: &reason, error: None };
            return self.given_up(named, event, attempt, failure).await;
        }
        Verdict::Retry { after: back_off(attempt, self.entropy.u64()).min(left), reason }
    }

    fn age(&self, event: &Event) -> String {
        format!("{} s", self.clock.now().since(event.created).as_secs())
    }

    fn too_old(&self, patience: &Patience, event: &Event, after: Duration) -> bool {
        self.clock.now().since(event.created) + after > patience.age_max
    }

    /// The settings of what was invoked, or AWS's defaults; also when they cannot be read just now.
    async fn patience(&self, named: &FunctionRef) -> Patience {
        let config = self.event_config(named).await;
        Patience {
            retries_max: config.retries_max.unwrap_or(RETRIES_MAX),
            age_max: config.age_max_s.map_or(AGE_MAX, |s| Duration::from_secs(s.into())),
        }
    }

    pub(crate) async fn event_config(&self, named: &FunctionRef) -> EventConfig {
        let qualifier = named.qualifier.as_deref().unwrap_or(LATEST);
        let key = At::EventConfig(&named.scope, &named.name, qualifier).key();
        let config = self.store.get::<EventConfig>(&key).await.unwrap_or_else(|cause| {
            tracing::warn!(%cause, function = %named.name, "the event-invoke settings could not be read");
            None
        });
        config.unwrap_or_default()
    }

    async fn count_error(&self, event: &str) -> Result<u32> {
        let key = &At::Retry(event).key();
        self.store
            .transact(|tx| async move {
                let mut retry = tx.get::<Retry>(key).await?.unwrap_or_default();
                retry.errors += 1;
                tx.put(key, &retry)?;
                Ok(retry.errors)
            })
            .await
    }

    /// Drops the count of an event that is over. If that fails a record of a few bytes stays behind, nothing worse.
    async fn forget(&self, event: &str) {
        let key = &At::Retry(event).key();
        let gone: Result<()> = self
            .store
            .transact(|tx| async move {
                if tx.get::<Retry>(key).await?.is_some() {
                    tx.delete(key);
                }
                Ok(())
            })
            .await;
        if let Err(cause) = gone {
            tracing::warn!(%cause, %event, "the count of a finished event stays behind");
        }
    }
}

/// Twice as long each time, spread from half to one and a half by a `draw` that is uniform over all `u64`: events that
/// were refused together for want of room would else come back together, and be refused again but for a few.
fn back_off(attempt: u32, draw: u64) -> Duration {
    let middle = BACK_OFF_MIN.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(BACK_OFF_MAX);
    middle / 2 + middle.mul_f64(draw as f64 / u64::MAX as f64)
}

/// A stored policy, to be asked; one that does not parse allows nothing.
pub fn parsed(policy: &Policy) -> Option<rules::policy::Policy> {
    let parsed = rules::policy::Policy::from_value(&statement::document(&policy.statements));
    parsed.inspect_err(|cause| tracing::warn!(%cause, "a stored policy cannot be evaluated")).ok()
}
