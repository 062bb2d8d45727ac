//! Receiving: messages are taken from what memory knows, and each receive is durable before it is answered.

use crate::Queues;
use crate::error::{Error, Result};
use crate::live::Live;
use crate::model::handle::Handle;
use crate::model::message::Message;
use crate::model::queue::Queue;
use crate::shelf::{Settled, Taken, Was};
use crate::stock::Stock;
use crate::store::{Held, Space, decode_message};
use std::sync::Arc;
use std::time::Duration;

/// What a receive asks for. It has been checked.
#[derive(Clone, Debug)]
pub struct Ask {
    pub max: usize,
    /// Instead of the queue's own timeout.
    pub visibility_s: Option<u32>,
    pub attempt: Option<String>,
}

/// A message as it was received.
pub struct Received {
    pub message: Message,
    pub held: Held,
    pub handle: Handle,
}

impl Received {
    /// How often, that in the queue it came from included.
    pub fn receives(&self) -> u32 {
        self.held.receives + self.message.head.receives
    }
}

impl Queues {
    /// Receives what is there; if nothing is, waits for it up to `wait` (`None`: for as long as it takes).
    pub async fn receive(&self, live: &Arc<Live>, ask: &Ask, wait: Option<Duration>) -> Result<Vec<Received>> {
        let deadline = wait.map(|wait| self.clock.elapsed() + wait);
        let mut waiting = None;
        loop {
            // Registered first: what comes while we look is not missed.
            let arrival = live.arrivals.notified();
            tokio::pin!(arrival);
            arrival.as_mut().enable();
            let received = self.receive_now(live, ask).await?;
            let left = deadline.map(|deadline| deadline.saturating_sub(self.clock.elapsed()));
            if !received.is_empty() || left.is_some_and(|left| left.is_zero()) || self.stopping.is_cancelled() {
                return Ok(received);
            }
            if waiting.is_none() {
                waiting = self.wait(live);
                if waiting.is_none() {
                    return Ok(received);
                }
            }
            let rest = async {
                match left {
                    Some(left) => self.clock.sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = arrival => {}
                () = rest => {}
                () = self.stopping.cancelled() => return Ok(received),
            }
            if live.is_gone() {
                return Err(Error::NoSuchQueue);
            }
        }
    }

    async fn receive_now(&self, live: &Arc<Live>, ask: &Ask) -> Result<Vec<Received>> {
        let (live, ask) = (live.clone(), ask.clone());
        self.whole(|this| async move {
            if let Some(again) = this.receive_again(&live, &ask).await? {
                return Ok(again);
            }
            this.receive_whole(&live, &ask).await
        })
        .await
    }

    async fn receive_whole(&self, live: &Arc<Live>, ask: &Ask) -> Result<Vec<Received>> {
        let (queue, stock) = (live.queue(), live.stock());
        stock.ready(&self.store).await?;
        loop {
            let now = self.now();
            let found = {
                let mut shelf = stock.shelf();
                if shelf.in_flight(now) >= queue.in_flight_max() {
                    return full(&queue);
                }
                shelf.take(now, queue.late_delay_ms(), ask.max)
            };
            if found.taken.is_empty() {
                let Some(fills) = found.fill else { return Ok(Vec::new()) };
                stock.fill(&self.store, &self.budget, fills).await?;
                continue;
            }
            let sorted = self.sort(live, &queue, &stock, found.taken, now).await?;
            let received = self.hold(&queue, &stock, sorted, ask.visibility_s, now).await?;
            if let Some(fills) = found.fill
                && let Err(error) = stock.fill(&self.store, &self.budget, fills).await
            {
                tracing::debug!(%error, "quiet tenants' messages were not looked for");
            }
            live.ring_later();
            if stock.shelf().has_more(now, queue.late_delay_ms()) {
                live.arrivals.notify_one();
            }
            if !received.is_empty() {
                if let Some(id) = &ask.attempt {
                    let got = received.iter().map(|r| (r.handle.place, r.handle.receipt)).collect();
                    live.attempts.lock().note(id.clone(), got, now);
                }
                return Ok(received);
            }
        }
    }

    /// Reads what was taken and sorts it: what can be given out, and what is past its time. What was received too often
    /// goes to the dead-letter queue on the way.
    async fn sort(
        &self,
        live: &Arc<Live>,
        queue: &Queue,
        stock: &Arc<Stock>,
        taken: Vec<Taken>,
        now: u64,
    ) -> Result<Sorted> {
        let mut sorted = Sorted::default();
        let mut rest = taken.into_iter();
        while let Some(taken) = rest.next() {
            let message = match self.read(stock, &taken).await {
                Ok(message) => message,
                Err(error) => {
                    let mut shelf = stock.shelf();
                    let all = sorted.good.into_iter().map(|(t, _)| t).chain(sorted.past);
                    all.chain([taken]).chain(rest).for_each(|t| shelf.settle(t, Settled::Returned));
                    return Err(error);
                }
            };
            let receives = taken.held().map_or(0, |h| h.receives);
            let exhausted = queue.attributes.redrive.as_ref().filter(|r| receives >= r.receives_max);
            match (message, exhausted) {
                (Some(message), _) if message.head.sent < queue.expired_before(now) => sorted.past.push(taken),
                (Some(message), Some(redrive)) => {
                    if let Some((taken, message)) = self.bury(live, stock, taken, message, &redrive.target).await {
                        sorted.good.push((taken, message));
                    }
                }
                (Some(message), None) => sorted.good.push((taken, message)),
                (None, _) => sorted.past.push(taken),
            }
        }
        Ok(sorted)
    }

    /// The message itself; `None` if it is no longer stored.
    pub async fn read(&self, stock: &Stock, taken: &Taken) -> Result<Option<Message>> {
        let kept = match &taken.was {
            Was::Fresh(fresh) => fresh.kept.as_ref().map(|kept| kept.bytes()),
            _ => None,
        };
        let bytes = match kept {
            Some(bytes) => Some(bytes),
            None => self.store.get_bytes(&Space::Message(stock.id, taken.place).key()).await?,
        };
        Ok(bytes.map(|b| decode_message(&b)).transpose()?)
    }

    /// Makes the receipt of what is good durable, and removes what is past.
    async fn hold(
        &self,
        queue: &Queue,
        stock: &Stock,
        sorted: Sorted,
        visibility_s: Option<u32>,
        now: u64,
    ) -> Result<Vec<Received>> {
        let visible = now + u64::from(visibility_s.unwrap_or(queue.attributes.visibility_s)) * 1000;
        let held = |taken: &Taken| {
            let before = taken.held();
            Held {
                visible,
                receives: before.map_or(0, |h| h.receives) + 1,
                first_received: before.map_or(now, |h| h.first_received),
                received: now,
                receipt: self.entropy.u64(),
                group: taken.group(),
            }
        };
        let good: Vec<_> = sorted.good.into_iter().map(|(taken, message)| (held(&taken), taken, message)).collect();
        let committed = self
            .store
            .transact(async |tx| {
                for (held, taken, _) in &good {
                    tx.put_bytes(&Space::Held(stock.id, taken.place).key(), held.encode())?;
                }
                for taken in &sorted.past {
                    tx.delete(&Space::Held(stock.id, taken.place).key());
                    tx.delete(&Space::Message(stock.id, taken.place).key());
                }
                Ok::<_, ::store::Error>(())
            })
            .await;
        let mut shelf = stock.shelf();
        if let Err(error) = committed {
            let all = good.into_iter().map(|(_, taken, _)| taken).chain(sorted.past);
            all.for_each(|taken| shelf.settle(taken, Settled::Returned));
            return Err(error.into());
        }
        sorted.past.into_iter().for_each(|taken| shelf.settle(taken, Settled::Gone));
        let receive = |(held, taken, message): (Held, Taken, Message)| {
            let (place, receipt) = (taken.place, held.receipt);
            shelf.settle(taken, Settled::Received(held.clone()));
            Received { message, held, handle: Handle { queue: queue.id, stock: stock.id, place, receipt } }
        };
        Ok(good.into_iter().map(receive).collect())
    }

    /// A receive under an id that was used before: what it got then, as far as it is in flight as it was, for another
    /// visibility timeout.
    async fn receive_again(&self, live: &Arc<Live>, ask: &Ask) -> Result<Option<Vec<Received>>> {
        let now = self.now();
        let Some(got) = ask.attempt.as_ref().and_then(|id| live.attempts.lock().find(id, now)) else { return Ok(None) };
        let (queue, stock) = (live.queue(), live.stock());
        let visible = now + u64::from(ask.visibility_s.unwrap_or(queue.attributes.visibility_s)) * 1000;
        let mut again = Vec::new();
        let flying = stock.shelf().are_flying(now, &got);
        for (place, receipt) in flying {
            let handle = Handle { queue: queue.id, stock: stock.id, place, receipt };
            let Some(held) = self.show_for(live, &handle, |_| Ok(visible)).await? else { continue };
            let bytes = self.store.get_bytes(&Space::Message(stock.id, place).key()).await?;
            if let Some(bytes) = bytes {
                again.push(Received { message: decode_message(&bytes)?, held, handle });
            }
        }
        Ok((!again.is_empty()).then_some(again))
    }
}

#[derive(Default)]
struct Sorted {
    good: Vec<(Taken, Message)>,
    past: Vec<Taken>,
}

fn full(queue: &Queue) -> Result<Vec<Received>> {
    if queue.attributes.fifo {
        return Ok(Vec::new());
    }
    Err(Error::OverLimit(format!(
        "The maximum number of in flight messages is reached: {}. Delete messages after they are processed.",
        queue.in_flight_max()
    )))
}
