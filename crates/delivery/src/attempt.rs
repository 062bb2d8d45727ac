//! One attempt: give the event to its target, judge what the target said, and settle it in the store.

use crate::Delivery;
use crate::dead::{self, Ended};
use crate::receipt::receipt;
use base::{Event, Timestamp, Verdict};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::Tx;
use store::outbox::{self, Attempt, Lane, Waiting};
use store::trail::{self, Way};

/// When an attempt is repeated that ended in a panic, where no target can say: AWS's first delay.
const PANIC_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Pauses between tries to settle while the store fails.
pub(crate) const STORE_RETRY_MIN: Duration = Duration::from_millis(100);
pub(crate) const STORE_RETRY_MAX: Duration = Duration::from_secs(5);
/// Pauses between attempts where neither target nor sender has a pace of its own. At this pace 185 attempts, which is
/// EventBridge's default, take its 24 hours.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(480);
/// The longest reason kept.
const REASON_CHARS_MAX: usize = 1000;

/// An attempt that has been settled.
pub(crate) struct Finished {
    pub(crate) lane: Lane,
    pub(crate) id: String,
    /// When the event is due again.
    pub(crate) again: Option<Timestamp>,
}

/// What becomes of the event.
enum Settlement {
    PutOff {
        due: Timestamp,
        attempt: Attempt,
    },
    /// It leaves the outbox; these follow from it.
    End {
        way: Way,
        then: Vec<Event>,
    },
    Bury(Attempt),
}

impl Delivery {
    /// Delivers once and settles. Ends only when that is settled: a store that fails makes it try to settle again, not
    /// to deliver again.
    pub(crate) async fn attempt(self: Arc<Self>, waiting: Waiting) -> Finished {
        let tried = self.clock.now();
        let verdict = self.deliver(&waiting.event, waiting.attempts + 1).await;
        let was_taken = matches!(verdict, Verdict::Done | Verdict::Over { .. });
        let settlement = self.judge(&waiting, verdict).await;
        let receipt = self.receipt(&waiting, &settlement, (tried, was_taken));
        let (mut pause, mut again) = (STORE_RETRY_MIN, false);
        while let Err(e) = self.settle(&waiting, (&settlement, receipt.as_ref()), again).await {
            again = true;
            tracing::warn!(event = %waiting.event.id, target = %waiting.event.target, "settling a delivery failed: {e}");
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(STORE_RETRY_MAX);
        }
        let again = match settlement {
            Settlement::PutOff { due, .. } => Some(due),
            Settlement::End { .. } | Settlement::Bury(_) => None,
        };
        Finished { lane: Lane::of(&waiting.event), id: waiting.event.id, again }
    }

    async fn deliver(&self, event: &Event, attempt: u32) -> Verdict {
        // What its sender could not put into the form that the target wants, and may not lose.
        if let Some(reason) = event.attributes.get("undeliverable").and_then(|reason| reason.as_str()) {
            return Verdict::Dead { reason: reason.to_owned() };
        }
        let Some(target) = self.targets.find(&event.target) else {
            return Verdict::Dead { reason: format!("no service here takes events for {}", event.target) };
        };
        let delivered = AssertUnwindSafe(target.deliver(event, attempt)).catch_unwind().await;
        delivered.unwrap_or_else(|_| {
            tracing::error!(event = %event.id, target = %event.target, "a delivery panicked");
            Verdict::Retry { after: PANIC_RETRY_AFTER, reason: "the delivery panicked".into() }
        })
    }

    async fn judge(&self, waiting: &Waiting, verdict: Verdict) -> Settlement {
        let now = self.clock.now();
        match verdict {
            Verdict::Done => end(waiting, now, None, Vec::new()),
            Verdict::Over { failure: Some(reason), then } if then.is_empty() => {
                Settlement::Bury(Attempt { at: now, reason: cut(&reason) })
            }
            Verdict::Over { failure, then } => end(waiting, now, failure.as_deref().map(cut), then),
            Verdict::Dead { reason } => self.dead(waiting, now, cut(&reason), Ended::Refused).await,
            Verdict::Retry { after, reason } => match self.again(waiting, now, after) {
                Ok(due) => Settlement::PutOff { due, attempt: Attempt { at: now, reason: cut(&reason) } },
                Err(ended) => self.dead(waiting, now, cut(&reason), ended).await,
            },
        }
    }

    /// When the event is due again, or what forbids it.
    fn again(&self, waiting: &Waiting, now: Timestamp, after: Duration) -> Result<Timestamp, Ended> {
        let (event, attempts) = (&waiting.event, waiting.attempts + 1);
        let patient = self.targets.find(&event.target).is_some_and(|target| target.patient(&event.target));
        let (mut after, mut age_max) = (after, self.config.event_age_max);
        if !patient && !event.terms.say_nothing() {
            if event.terms.retries_max.is_some_and(|max| attempts > max) {
                return Err(Ended::Attempts);
            }
            after = after.max(back_off(attempts, self.entropy.u64()));
            age_max = event.terms.age_max_s.map_or(age_max, |s| Duration::from_secs(s.into()).min(age_max));
        }
        let due = now.plus(scaled(after, self.config.time_scale));
        if due.since(event.created) <= age_max { Ok(due) } else { Err(Ended::Age) }
    }

    /// To the event's dead-letter target, if it has one that takes it; else to the dead letters here.
    async fn dead(&self, waiting: &Waiting, now: Timestamp, reason: String, ended: Ended) -> Settlement {
        let event = &waiting.event;
        let Some(to) = event.terms.dead_letter.as_ref().filter(|to| self.targets.find(to).is_some()) else {
            let reason = ended.told(waiting.attempts + 1, &reason);
            return Settlement::Bury(Attempt { at: now, reason });
        };
        let denied = match self.targets.find(&event.target) {
            Some(target) => target.accepts(&event.target, &event.source).await.is_err(),
            None => false,
        };
        let letter =
            dead::letter(self.entropy.uuid(), to, now, waiting, &dead::Death { reason: &reason, ended, denied });
        end(waiting, now, Some(reason), vec![letter])
    }

    /// What the sender wants to be told, if the event leaves the outbox.
    fn receipt(
        &self,
        waiting: &Waiting,
        settlement: &Settlement,
        (tried, was_taken): (Timestamp, bool),
    ) -> Option<Event> {
        let reason = match settlement {
            Settlement::PutOff { .. } => return None,
            Settlement::Bury(last) => Some(last.reason.as_str()),
            Settlement::End { way, .. } => way.failure.as_deref(),
        };
        let failure = reason.filter(|_| !was_taken);
        receipt(self.entropy.uuid(), waiting, (tried, self.clock.now()), failure)
    }

    /// `again`: it has been tried, and may have been done though storage said that it was not.
    async fn settle(
        &self,
        waiting: &Waiting,
        (settlement, receipt): (&Settlement, Option<&Event>),
        again: bool,
    ) -> store::Result<()> {
        let settle = async |tx: Tx| {
            // What followed may have been delivered by now, and is not to follow twice.
            if again && !outbox::waits(&tx, waiting).await? {
                return Ok(());
            }
            receipt.iter().try_for_each(|receipt| tx.emit(receipt))?;
            match settlement {
                Settlement::PutOff { due, attempt } => outbox::put_off(&tx, waiting, *due, attempt),
                Settlement::Bury(last) => outbox::bury(&tx, waiting, last),
                Settlement::End { way, then } => {
                    outbox::done(&tx, waiting);
                    then.iter().try_for_each(|event| tx.emit(event))?;
                    if self.config.trail_max > 0 { trail::put(&tx, way) } else { Ok(()) }
                }
            }
        };
        self.store.transact(settle).await?;
        if matches!(settlement, Settlement::End { .. }) && self.config.trail_max > 0 {
            self.trail.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn end(waiting: &Waiting, now: Timestamp, failure: Option<String>, then: Vec<Event>) -> Settlement {
    let way = Way::of(waiting, now, failure, then.iter().map(|event| event.target.clone()).collect());
    Settlement::End { way, then }
}

fn cut(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_MAX).collect()
}

/// A scale that is not a number or below zero counts as zero; a delay too long to say is the longest.
fn scaled(after: Duration, scale: f64) -> Duration {
    Duration::try_from_secs_f64((after.as_secs_f64() * scale).max(0.0)).unwrap_or(Duration::MAX)
}

/// Twice as long each time, spread from half to the whole by a `draw` that is uniform over all `u64`.
fn back_off(attempts: u32, draw: u64) -> Duration {
    let longest = BACK_OFF_MIN.saturating_mul(1 << attempts.min(16)).min(BACK_OFF_MAX);
    longest / 2 + (longest / 2).mul_f64(draw as f64 / u64::MAX as f64)
}
