//! What clients do with messages they have received: delete them, or change until when they are invisible.

use crate::Queues;
use crate::error::{Error, Result};
use crate::live::Live;
use crate::model::attributes::VISIBILITY_S_MAX;
use crate::model::handle::Handle;
use crate::model::name::shown;
use crate::shelf::{NotHeld, Settled, Was};
use crate::store::{Held, Space};
use std::sync::Arc;

fn expired(handle: &str) -> Error {
    Error::invalid(shown(handle), "ReceiptHandle", "The receipt handle has expired.")
}

impl Queues {
    /// Deletes messages by their receipt handles; says of each what came of it.
    pub async fn delete(&self, live: &Arc<Live>, handles: Vec<String>) -> Result<Vec<Result<()>>> {
        let live = live.clone();
        self.whole(|this| async move { this.delete_whole(&live, handles).await }).await
    }

    async fn delete_whole(&self, live: &Live, handles: Vec<String>) -> Result<Vec<Result<()>>> {
        let (queue, stock) = (live.queue(), live.stock());
        stock.ready(&self.store).await?;
        let now = self.now();
        let (mut taken, mut outcomes) = (Vec::new(), Vec::with_capacity(handles.len()));
        for text in &handles {
            let outcome = match Handle::parse(text, queue.id) {
                Err(error) => Err(error),
                // The queue was purged since.
                Ok(handle) if handle.stock != stock.id => Ok(()),
                Ok(handle) => match stock.shelf().take_held(now, handle.place, handle.receipt) {
                    Ok(message) => {
                        taken.push(message);
                        Ok(())
                    }
                    Err(NotHeld::Again | NotHeld::Expired) if queue.attributes.fifo => Err(expired(text)),
                    Err(_) => Ok(()),
                },
            };
            outcomes.push(outcome);
        }
        if taken.is_empty() {
            return Ok(outcomes);
        }
        let committed = self
            .store
            .transact(async |tx| {
                for message in &taken {
                    tx.delete(&Space::Message(stock.id, message.place).key());
                    tx.delete(&Space::Held(stock.id, message.place).key());
                }
                Ok::<_, ::store::Error>(())
            })
            .await;
        let mut shelf = stock.shelf();
        let gone = committed.is_ok();
        taken.into_iter().for_each(|t| shelf.settle(t, if gone { Settled::Gone } else { Settled::Returned }));
        drop(shelf);
        committed?;
        if queue.attributes.fifo {
            live.arrivals.notify_one();
        }
        Ok(outcomes)
    }

    /// Makes a message invisible for so long from now on.
    pub async fn change_visibility(&self, live: &Arc<Live>, text: String, seconds: u32) -> Result<()> {
        let live = live.clone();
        self.whole(|this| async move {
            let handle = Handle::parse(&text, live.queue().id)?;
            let now = this.now();
            let visible = now + u64::from(seconds) * 1000;
            let until = |held: &Held| {
                if visible.saturating_sub(held.received) > u64::from(VISIBILITY_S_MAX) * 1000 {
                    return Err(Error::invalid(
                        seconds,
                        "VisibilityTimeout",
                        &format!(
                            "Total VisibilityTimeout for the message is beyond the limit [{VISIBILITY_S_MAX} seconds]"
                        ),
                    ));
                }
                Ok(visible)
            };
            let absent = || {
                let why = "Message does not exist or is not available for visibility timeout change.";
                Error::invalid(shown(&text), "ReceiptHandle", why)
            };
            this.show_for(&live, &handle, until).await?.ok_or_else(absent)?;
            if seconds == 0 {
                live.arrivals.notify_one();
            }
            live.ring_later();
            Ok(())
        })
        .await
    }

    /// Changes until when a message in flight is invisible. `None`: it is not here.
    pub async fn show_for(
        &self,
        live: &Live,
        handle: &Handle,
        until: impl FnOnce(&Held) -> Result<u64>,
    ) -> Result<Option<Held>> {
        let stock = live.stock();
        stock.ready(&self.store).await?;
        if handle.stock != stock.id {
            return Ok(None);
        }
        let taken = match stock.shelf().take_held(self.now(), handle.place, handle.receipt) {
            Ok(taken) => taken,
            Err(NotHeld::Expired | NotHeld::Again) => return Err(Error::NotInFlight),
            Err(NotHeld::Gone | NotHeld::Busy) => return Ok(None),
        };
        let changed = match &taken.was {
            Was::Flying(held) => until(held).map(|visible| Held { visible, ..held.clone() }),
            _ => Err(Error::NotInFlight),
        };
        let held = match changed {
            Ok(held) => held,
            Err(error) => {
                stock.shelf().settle(taken, Settled::Returned);
                return Err(error);
            }
        };
        let key = Space::Held(stock.id, taken.place).key();
        let committed = self.store.transact(async |tx| tx.put_bytes(&key, held.encode())).await;
        let settled = if committed.is_ok() { Settled::Received(held.clone()) } else { Settled::Returned };
        stock.shelf().settle(taken, settled);
        committed?;
        Ok(Some(held))
    }
}
