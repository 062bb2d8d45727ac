//! Deliveries that a topic tells of in its log groups. Delivery sends a receipt for each message that asked for one, here
//! it becomes an entry, and that goes to the log group as any event goes to its target.

use crate::Topics;
use crate::model::feedback::{About, Answer, wanted};
use crate::model::message::Message;
use crate::model::name::Named;
use crate::store::Topic;
use crate::subscribers::Subscriber;
use base::{Arn, Event, Fate, Receipt, Source, Terms, Verdict};
use serde_json::value::to_raw_value;

/// What a receipt says, in the attributes of its event.
pub const RECEIPT: &str = "receipt";

impl Topics {
    /// Whether somebody is to be told what becomes of a message at a subscriber.
    pub(crate) fn receipt(
        &self,
        named: &Named,
        topic: &Topic,
        subscriber: &Subscriber,
        message: &Message,
    ) -> Option<Receipt> {
        let subscription = &subscriber.subscription;
        let wanted = wanted(topic, &subscription.protocol);
        let is_sampled = wanted.successes > 0 && self.entropy.u64() % 100 < wanted.successes.into();
        if !is_sampled && !wanted.failures {
            return None;
        }
        let about = About::of(named, message, &subscription.protocol, &subscription.endpoint);
        let about = serde_json::to_value(About { sampled: is_sampled, ..about }).ok()?;
        // What an endpoint answered is known where it is sent to alone.
        let taken = is_sampled && subscriber.to != subscriber.arn;
        Some(Receipt { to: subscriber.arn.clone(), taken, failed: wanted.failures, about })
    }

    /// What follows from a receipt: its entry.
    pub(crate) fn told(&self, named: &Named, receipt: &Event) -> Verdict {
        let read = || -> serde_json::Result<(About, Fate)> {
            let fate = receipt.attributes.get(RECEIPT).cloned().unwrap_or_default();
            Ok((serde_json::from_str(receipt.payload.get())?, serde_json::from_value(fate)?))
        };
        match read() {
            Ok((about, fate)) => {
                let answer = about.answer(&fate);
                let entry = self.entry(named, &about, (&fate, &answer), receipt);
                Verdict::Over { failure: None, then: entry.into_iter().collect() }
            }
            Err(why) => Verdict::Dead { reason: format!("not a receipt: {why}") },
        }
    }

    /// What an endpoint has taken and what it answered, if that is to be told.
    pub(crate) fn taken(&self, named: &Named, event: &Event, attempts: u32, answer: &Answer) -> Option<Event> {
        let about: About = serde_json::from_value(event.terms.receipt.as_ref()?.about.clone()).ok()?;
        if !about.sampled {
            return None;
        }
        let fate = Fate { event: event.id.clone(), attempts, tried: self.clock.now(), failure: None };
        self.entry(named, &about, (&fate, answer), event)
    }

    /// The event that brings an entry to its log group. `from` is what it is told of, or its receipt.
    fn entry(&self, named: &Named, about: &About, (fate, answer): (&Fate, &Answer), from: &Event) -> Option<Event> {
        let (region, account) = (named.scope.region.as_str(), named.scope.account.as_str());
        let failed = if fate.failure.is_some() { "/Failure" } else { "" };
        let group = format!("log-group:sns/{region}/{account}/{}{failed}", named.name);
        Some(Event {
            id: self.entropy.uuid(),
            target: Arn::new("logs", region, account, group),
            source: Source {
                service: Some("sns.amazonaws.com".into()),
                arn: Some(named.arn()),
                account: account.to_owned(),
            },
            created: self.clock.now(),
            payload: to_raw_value(&about.entry(fate, answer)).ok()?,
            attributes: Default::default(),
            terms: Terms { rule: from.terms.rule.clone(), origin: from.terms.origin.clone(), ..Terms::default() },
        })
    }
}
