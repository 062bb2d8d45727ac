//! Moving a message from one queue to another in one transaction: to a dead-letter queue, and back.

use crate::Queues;
use crate::error::Result;
use crate::live::Live;
use crate::model::message::{Head, Message};
use crate::model::name::Named;
use crate::shelf::{Fresh, Settled, Taken};
use crate::stock::Stock;
use crate::store::{MoveTask, Space, encode_message};
use base::Arn;
use std::sync::Arc;

impl Queues {
    /// Moves a message that was received too often. Given back where that cannot be: there is no such dead-letter
    /// queue, or it does not let this one send there, or storage fails.
    pub async fn bury(
        &self,
        live: &Arc<Live>,
        stock: &Arc<Stock>,
        taken: Taken,
        message: Message,
        to: &Arn,
    ) -> Option<(Taken, Message)> {
        let source = live.queue();
        let target = match Named::of_arn(to) {
            Some(named) => self.live(&named).await.ok(),
            None => None,
        };
        let allows = |target: &Arc<Live>| {
            let target = target.queue();
            let fits = target.attributes.fifo == source.attributes.fifo && target.id != source.id;
            fits && target.attributes.redrive_allow.as_ref().is_none_or(|allow| allow.allows(&source.named.arn()))
        };
        let Some(target) = target.filter(allows) else { return Some((taken, message)) };
        let mut moved = message.clone();
        moved.head.receives += taken.held().map_or(0, |h| h.receives);
        moved.head.source = Some(source.named.arn().to_string());
        if target.queue().attributes.fifo {
            // Of a FIFO queue, retention begins anew.
            moved.head.sent = self.now();
        }
        match self.carry(stock, taken, &target, moved, None).await {
            Ok(()) => None,
            Err((error, taken)) => {
                tracing::warn!(%error, queue = %source.named.name, "a message could not go to the dead-letter queue");
                Some((taken, message))
            }
        }
    }

    /// A message of a dead-letter queue goes to `target` as a new one; `task` counts it in the same transaction.
    pub async fn send_back(
        &self,
        stock: &Stock,
        taken: Taken,
        message: Message,
        target: &Arc<Live>,
        task: &MoveTask,
    ) -> Result<()> {
        let head = Head { id: self.entropy.uuid(), sent: self.now(), source: None, receives: 0, ..message.head };
        let moved = self.carry(stock, taken, target, Message { head, body: message.body }, Some(task)).await;
        moved.map_err(|(error, taken)| {
            stock.shelf().settle(taken, Settled::Returned);
            error.into()
        })
    }

    async fn carry(
        &self,
        stock: &Stock,
        taken: Taken,
        target: &Arc<Live>,
        message: Message,
        task: Option<&MoveTask>,
    ) -> std::result::Result<(), (::store::Error, Taken)> {
        let (queue, into) = (target.queue(), target.stock());
        if let Err(error) = into.ready(&self.store).await {
            let error = match error {
                crate::Error::Store(error) => error,
                other => ::store::Error::Unavailable(other.to_string()),
            };
            return Err((error, taken));
        }
        let group = message.head.group.as_deref().filter(|_| queue.attributes.fifo).map(Into::into);
        let now = self.now();
        let place = into.shelf().pend(now, 0, group.as_ref());
        let bytes = encode_message(&message);
        let committed = self
            .store
            .transact(async |tx| {
                tx.delete(&Space::Message(stock.id, taken.place).key());
                tx.delete(&Space::Held(stock.id, taken.place).key());
                tx.put_bytes(&Space::Message(into.id, place).key(), bytes.clone())?;
                match task {
                    Some(task) => {
                        tx.put(&Space::Task(&task.scope, &task.source, task.started.millis(), &task.id).key(), task)
                    }
                    None => Ok(()),
                }
            })
            .await;
        match committed {
            Ok(()) => {
                let fresh = Fresh { group, kept: self.budget.keep(bytes) };
                into.shelf().sent(place, fresh, now, now);
                stock.shelf().settle(taken, Settled::Gone);
                target.arrivals.notify_one();
                target.ring_later();
                Ok(())
            }
            Err(error) => {
                match &error {
                    ::store::Error::Unavailable(_) => into.shelf().doubt(place, group.as_ref()),
                    _ => into.shelf().unsent(place, group.as_ref()),
                }
                Err((error, taken))
            }
        }
    }
}
