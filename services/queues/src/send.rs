//! Sending: one write of the message under a place of its own; in a FIFO queue also of its deduplication.

use crate::Queues;
use crate::error::{Error, Result};
use crate::live::Live;
use crate::model::digest;
use crate::model::message::Message;
use crate::shelf::Fresh;
use crate::store::{Dedup, Place, Space, encode_message};
use ::store::Tx;
use base::Timestamp;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

const DEDUP: Duration = Duration::from_secs(300);

/// A message on its way into a queue.
pub struct Draft {
    pub message: Message,
    /// Instead of the queue's own delay; of a standard queue alone.
    pub delay_s: Option<u32>,
}

/// What became of it.
pub struct Sent {
    pub id: String,
    /// Of a FIFO queue.
    pub sequence_number: Option<String>,
}

/// A draft with its place.
struct Placed {
    place: Place,
    bytes: Bytes,
    group: Option<crate::shelf::Group>,
    visible: u64,
    id: String,
    /// In a FIFO queue, the key under which it is remembered.
    dedup: Option<[u8; 16]>,
}

impl Queues {
    /// Sends all or nothing. What it is has been checked.
    pub async fn send(&self, live: Arc<Live>, drafts: Vec<Draft>) -> Result<Vec<Sent>> {
        self.whole(|this| async move { this.send_whole(&live, drafts).await }).await
    }

    async fn send_whole(&self, live: &Live, drafts: Vec<Draft>) -> Result<Vec<Sent>> {
        let (queue, stock) = (live.queue(), live.stock());
        stock.ready(&self.store).await?;
        let now = self.now();
        let place = |draft: Draft| {
            let delay = u64::from(draft.delay_s.unwrap_or(queue.attributes.delay_s)) * 1000;
            let head = &draft.message.head;
            let group = head.group.as_deref().map(Into::into);
            let per_group = queue.attributes.dedup_per_group;
            let key = |id: &String| digest::dedup_key(id, head.group.as_deref().filter(|_| per_group));
            Placed {
                place: stock.shelf().pend(now, delay, group.as_ref()),
                bytes: encode_message(&draft.message),
                visible: now + delay,
                id: head.id.clone(),
                dedup: head.dedup.as_ref().filter(|_| queue.attributes.fifo).map(key),
                group,
            }
        };
        let placed: Vec<Placed> = drafts.into_iter().map(place).collect();
        let committed = self.store.transact(async |tx| put_all(&tx, queue.id, stock.id, now, &placed).await).await;
        let mut shelf = stock.shelf();
        let earlier = match committed {
            Ok(earlier) => earlier,
            Err(error) => {
                for p in &placed {
                    match &error {
                        ::store::Error::Unavailable(_) => shelf.doubt(p.place, p.group.as_ref()),
                        _ => shelf.unsent(p.place, p.group.as_ref()),
                    }
                }
                return Err(error.into());
            }
        };
        let mut sent = Vec::with_capacity(placed.len());
        for (p, earlier) in placed.into_iter().zip(earlier) {
            let (id, stamp) = match earlier {
                Some(Dedup { message_id, stamp, .. }) => {
                    shelf.unsent(p.place, p.group.as_ref());
                    (message_id, stamp)
                }
                None => {
                    let fresh = Fresh { group: p.group, kept: self.budget.keep(p.bytes) };
                    shelf.sent(p.place, fresh, p.visible, now);
                    (p.id, p.place.stamp)
                }
            };
            let number = Place { due: 0, stamp }.sequence_number();
            sent.push(Sent { id, sequence_number: queue.attributes.fifo.then_some(number) });
        }
        drop(shelf);
        live.arrivals.notify_one();
        live.ring_later();
        Ok(sent)
    }
}

/// Puts what is not a duplicate; gives for each what was sent before in its place.
async fn put_all(
    tx: &Tx,
    queue: u64,
    stock: u64,
    now: u64,
    all: &[Placed],
) -> Result<Vec<Option<Dedup>>, ::store::Error> {
    let mut earlier = Vec::with_capacity(all.len());
    for p in all {
        if let Some(digest) = &p.dedup {
            let key = Space::Dedup(queue, digest).key();
            let known: Option<Dedup> = tx.get(&key).await?;
            if let Some(known) = known {
                if known.until.millis() > now {
                    earlier.push(Some(known));
                    continue;
                }
                tx.delete(&Space::DedupEnd(queue, known.until.millis(), digest).key());
            }
            let until = Timestamp(now).plus(DEDUP);
            tx.put(&key, &Dedup { until, message_id: p.id.clone(), stamp: p.place.stamp })?;
            tx.put_bytes(&Space::DedupEnd(queue, until.millis(), digest).key(), Bytes::new())?;
        }
        tx.put_bytes(&Space::Message(stock, p.place).key(), p.bytes.clone())?;
        earlier.push(None);
    }
    Ok(earlier)
}

/// Refuses what a queue of its kind does not take.
pub fn check_kind(fifo: bool, message: &Message, content_dedup: bool, delay_s: Option<u32>) -> Result<()> {
    const OTHER_KIND: &str = "The request includes a parameter that is not valid for this queue type.";
    let head = &message.head;
    if let Some(group) = &head.group {
        crate::model::message::check_id("MessageGroupId", group)?;
    }
    if let Some(dedup) = &head.dedup {
        crate::model::message::check_id("MessageDeduplicationId", dedup)?;
    }
    match (fifo, &head.group, &head.dedup, delay_s) {
        (true, None, _, _) => Err(Error::Missing("MessageGroupId".into())),
        (true, _, _, Some(delay)) if delay > 0 => Err(Error::invalid(delay, "DelaySeconds", OTHER_KIND)),
        (true, _, None, _) if !content_dedup => Err(Error::Invalid(
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
             explicitly"
                .into(),
        )),
        (false, _, Some(dedup), _) => Err(Error::invalid(dedup, "MessageDeduplicationId", OTHER_KIND)),
        _ => Ok(()),
    }
}
