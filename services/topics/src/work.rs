//! What goes on behind requests: subscriptions that nobody confirms end, and FIFO topics forget what they have sent.

use crate::Topics;
use crate::error::{Error, Result};
use crate::model::name::Named;
use crate::store::{self, Sent, Space, State, Subscription};
use ::store::Tx;
use ::store::alarm::{Alarm, Ring};
use async_trait::async_trait;
use base::Arn;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const SWEEP_EVERY: Duration = Duration::from_secs(60);

#[async_trait]
impl Ring for Topics {
    type Error = Error;

    /// A token has run out.
    async fn ring(&self, tx: &Tx, alarm: &Alarm) -> Result<()> {
        let Ok(arn) = alarm.id.parse::<Arn>() else { return Ok(()) };
        let Some((named, Some(id))) = Named::of_arn(&arn) else { return Ok(()) };
        let key = Space::Subscription(&named.scope, &named.name, id).key();
        match tx.get::<Subscription>(&key).await? {
            Some(subscription) if subscription.state != State::Confirmed => {
                self.forget(tx, &named, &subscription).await
            }
            _ => Ok(()),
        }
    }
}

impl Topics {
    /// Ends what has run out, until `stop`.
    pub async fn work(self: Arc<Self>, stop: CancellationToken) {
        let sweep = ::store::sweep::every(&*self.clock, SWEEP_EVERY, &stop, "sent messages", || self.sweep());
        tokio::join!(self.alarms.run(&stop, &*self), sweep);
    }

    /// Removes the records of a subscription.
    pub(crate) async fn forget(&self, tx: &Tx, named: &Named, subscription: &Subscription) -> Result<()> {
        let Subscription { id, protocol, endpoint, .. } = subscription;
        tx.delete(&Space::Subscription(&named.scope, &named.name, id).key());
        let known = Space::Endpoint(&named.scope, &named.name, (protocol, endpoint)).key();
        // The endpoint may have been subscribed anew.
        if tx.get_bytes(&known).await?.is_some_and(|by| by == id.as_bytes()) {
            tx.delete(&known);
        }
        Ok(store::next_edition(tx, &named.scope, &named.name).await?)
    }

    /// Forgets the messages that FIFO topics need not know again.
    pub(crate) async fn sweep(&self) -> Result<()> {
        let (from, to) = store::forgettable(self.clock.now());
        loop {
            let items = self.store.scan(from.as_bytes(), to.as_bytes(), ::store::sweep::STEP).await?;
            self.store
                .transact(async |tx: Tx| {
                    for item in &items {
                        tx.delete_bytes(&item.key);
                        let Some((until, topic, digest)) = store::parse_until(&item.key) else { continue };
                        let key = Space::Sent(&topic, &digest).key();
                        if tx.get::<Sent>(&key).await?.is_some_and(|sent| sent.until <= until) {
                            tx.delete(&key);
                        }
                    }
                    Ok::<_, Error>(())
                })
                .await?;
            if items.len() < ::store::sweep::STEP {
                return Ok(());
            }
        }
    }
}
