//! One attempt: give the event to its target, judge what the target said, and settle it in the store.

use crate::Delivery;
use base::{Arn, Event, Timestamp, Verdict};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use store::outbox::{self, Waiting};

/// When an attempt is repeated that ended in a panic, where no target can say: AWS's first delay.
const PANIC_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Pauses between tries to settle while the store fails.
pub(crate) const STORE_RETRY_MIN: Duration = Duration::from_millis(100);
pub(crate) const STORE_RETRY_MAX: Duration = Duration::from_secs(5);
/// The longest reason kept with a dead letter.
const REASON_CHARS_MAX: usize = 1000;

/// An attempt that has been settled.
pub(crate) struct Finished {
    pub(crate) target: Arn,
    pub(crate) id: String,
    /// When the event is due again.
    pub(crate) again: Option<Timestamp>,
}

/// What becomes of the event.
enum Settlement {
    Done,
    PutOff(Timestamp),
    Bury { at: Timestamp, reason: String },
}

impl Delivery {
    /// Delivers once and settles. Ends only when that is settled: a store that fails makes it try to settle again, not
    /// to deliver again.
    pub(crate) async fn attempt(self: Arc<Self>, waiting: Waiting) -> Finished {
        let verdict = self.deliver(&waiting.event, waiting.attempts + 1).await;
        let settlement = self.judge(&waiting, verdict);
        let mut pause = STORE_RETRY_MIN;
        while let Err(e) = self.settle(&waiting, &settlement).await {
            tracing::warn!(event = %waiting.event.id, target = %waiting.event.target, "settling a delivery failed: {e}");
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(STORE_RETRY_MAX);
        }
        let again = match settlement {
            Settlement::PutOff(due) => Some(due),
            Settlement::Done | Settlement::Bury { .. } => None,
        };
        Finished { target: waiting.event.target, id: waiting.event.id, again }
    }

    async fn deliver(&self, event: &Event, attempt: u32) -> Verdict {
        let Some(target) = self.targets.find(&event.target) else {
            return Verdict::Dead { reason: format!("no service here takes events for {}", event.target) };
        };
        let delivered = AssertUnwindSafe(target.deliver(event, attempt)).catch_unwind().await;
        delivered.unwrap_or_else(|_| {
            tracing::error!(event = %event.id, target = %event.target, "a delivery panicked");
            Verdict::Retry { after: PANIC_RETRY_AFTER, reason: "the delivery panicked".into() }
        })
    }

    fn judge(&self, waiting: &Waiting, verdict: Verdict) -> Settlement {
        let now = self.clock.now();
        match verdict {
            Verdict::Done => Settlement::Done,
            Verdict::Dead { reason } => Settlement::Bury { at: now, reason: cut(&reason) },
            Verdict::Retry { after, reason } => {
                let due = now.plus(scaled(after, self.config.time_scale));
                if due.since(waiting.event.created) <= self.config.event_age_max {
                    return Settlement::PutOff(due);
                }
                let reason = format!("too old after {} attempts; the last: {reason}", waiting.attempts + 1);
                Settlement::Bury { at: now, reason: cut(&reason) }
            }
        }
    }

    async fn settle(&self, waiting: &Waiting, settlement: &Settlement) -> store::Result<()> {
        let settle = async |tx| match settlement {
            Settlement::Done => {
                outbox::done(&tx, waiting);
                Ok(())
            }
            Settlement::PutOff(due) => outbox::put_off(&tx, waiting, *due),
            Settlement::Bury { at, reason } => outbox::bury(&tx, waiting, *at, reason),
        };
        self.store.transact(settle).await
    }
}

fn cut(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_MAX).collect()
}

/// A scale that is not a number or below zero counts as zero; a delay too long to say is the longest.
fn scaled(after: Duration, scale: f64) -> Duration {
    Duration::try_from_secs_f64((after.as_secs_f64() * scale).max(0.0)).unwrap_or(Duration::MAX)
}
