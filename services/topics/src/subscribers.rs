//! Topics with their subscriptions, ready to match.
//!
//! They are kept as long as the topic's edition is theirs; every transaction that uses them reads the edition, so that it
//! commits only if nothing of the topic has changed meanwhile.

use crate::Topics;
use crate::error::{Error, Result};
use crate::model::filter::Filter;
use crate::model::name::Named;
use crate::model::subscription;
use crate::store::{self, Edition, Space, State, Subscription, Topic};
use ::store::{Key, Tx, record};
use base::Arn;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Subscriptions read at a time.
const PAGE: usize = 500;
/// Topics kept ready; over it all are forgotten and made again.
const TOPICS_KEPT_MAX: usize = 1_000;

#[derive(Default)]
pub struct Cache(Mutex<HashMap<Named, Arc<Compiled>>>);

/// A topic and its confirmed subscriptions, in the order of their ids.
pub struct Compiled {
    edition: u64,
    pub topic: Topic,
    pub subscribers: Vec<Subscriber>,
}

/// A confirmed subscription, ready to send to.
pub struct Subscriber {
    pub subscription: Subscription,
    pub arn: Arn,
    /// Where events for it go: a queue, a function, or (of an endpoint) the subscription itself.
    pub to: Arn,
    pub filter: Option<Filter>,
    pub dead_letter: Option<Arn>,
}

impl Topics {
    /// A topic with its subscriptions as of this transaction.
    pub(crate) async fn compiled(&self, tx: &Tx, named: &Named) -> Result<Arc<Compiled>> {
        let Edition(edition) = tx.get(&Space::Edition(&named.scope, &named.name).key()).await?.unwrap_or_default();
        let kept = self.compiled.0.lock().get(named).filter(|c| c.edition == edition).cloned();
        if let Some(compiled) = kept {
            return Ok(compiled);
        }
        // Read outside of the transaction, which need not remember every subscription: if one changes meanwhile, so does
        // the edition, and the transaction runs again.
        let topic = self.topic(named).await?;
        let subscribers = self.subscribers(named).await?;
        let compiled = Arc::new(Compiled { edition, topic, subscribers });
        let mut cache = self.compiled.0.lock();
        if cache.len() >= TOPICS_KEPT_MAX {
            cache.clear();
        }
        cache.insert(named.clone(), compiled.clone());
        Ok(compiled)
    }

    pub(crate) async fn topic(&self, named: &Named) -> Result<Topic> {
        let topic = self.store.get(&Space::Topic(&named.scope, &named.name).key()).await?;
        topic.ok_or(Error::NotFound("Topic"))
    }

    async fn subscribers(&self, named: &Named) -> Result<Vec<Subscriber>> {
        let all = self.all_subscriptions(named).await?;
        let confirmed = all.into_iter().filter(|subscription| subscription.state == State::Confirmed);
        Ok(confirmed.filter_map(|subscription| subscriber(named, subscription)).collect())
    }

    /// Every subscription of a topic, whatever its state.
    pub(crate) async fn all_subscriptions(&self, named: &Named) -> Result<Vec<Subscription>> {
        let all: Key = store::subscriptions(&named.scope, Some(&named.name));
        let mut from = all.as_bytes().to_vec();
        let mut found = Vec::new();
        loop {
            let items = self.store.scan(&from, &all.end(), PAGE).await?;
            for item in &items {
                found.push(record::decode(&item.value)?);
            }
            match items.last() {
                Some(last) if items.len() == PAGE => {
                    from = last.key.to_vec();
                    from.push(0);
                }
                _ => return Ok(found),
            }
        }
    }
}

fn subscriber(named: &Named, subscription: Subscription) -> Option<Subscriber> {
    let arn = named.subscription(&subscription.id);
    let filter = match subscription::filter(&subscription) {
        Ok(filter) => filter,
        Err(why) => {
            tracing::error!(%arn, why, "a stored filter policy does not match any more");
            return None;
        }
    };
    let to = match subscription.protocol.as_str() {
        "sqs" | "lambda" => subscription.endpoint.parse().ok()?,
        _ => arn.clone(),
    };
    Some(Subscriber { dead_letter: subscription.dead_letter(), arn, to, filter, subscription })
}
