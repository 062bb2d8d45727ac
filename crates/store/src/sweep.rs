//! What rooms do again and again behind their requests: rounds of a sweep, each in bounded steps.

use crate::engine::Item;
use crate::{Error, Result, Store, Tx};
use base::port::Clock;
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Records that one transaction of a sweep removes.
pub const STEP: usize = 64;

/// Runs a round every `interval`, the first after one, until `stop`, which also cuts short a round that is under way.
/// What fails is tried again with the next round. `what` is for the log.
pub async fn every<F, Fut, E>(clock: &dyn Clock, interval: Duration, stop: &CancellationToken, what: &str, round: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = std::result::Result<(), E>>,
    E: Display,
{
    let rounds = async {
        loop {
            clock.sleep(interval).await;
            if let Err(error) = round().await {
                tracing::warn!(what, %error, "the sweep will be tried again");
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = rounds => {}
    }
}

/// Removes every record of `[from, to)`, [`STEP`] at a time. Nobody else writes there any more.
pub async fn remove(store: &Store, from: &[u8], to: &[u8]) -> Result<()> {
    loop {
        let items = store.scan(from, to, STEP).await?;
        remove_items(store, &items).await?;
        if items.len() < STEP {
            return Ok(());
        }
    }
}

/// Removes records that a scan found, in one transaction.
pub async fn remove_items(store: &Store, items: &[Item]) -> Result<()> {
    store
        .transact(async |tx: Tx| {
            items.iter().for_each(|i| tx.delete_bytes(&i.key));
            Ok::<_, Error>(())
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, memory::Memory};
    use base::Timestamp;
    use kit::ManualClock;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn rounds_go_on_after_a_failure_until_told_to_stop() {
        let (clock, stop) = (ManualClock::at(Timestamp(0)), CancellationToken::new());
        let rounds = AtomicUsize::new(0);
        let round = async || match rounds.fetch_add(1, Ordering::Relaxed) {
            0 => Err(Error::Full),
            1 => Ok(()),
            _ => std::future::pending().await,
        };
        let sweep = every(&*clock, Duration::from_secs(60), &stop, "numbers", round);
        let time = async {
            for _ in 0..3 {
                clock.pass_one_sleep().await;
            }
            while rounds.load(Ordering::Relaxed) < 3 {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        };
        tokio::join!(sweep, time);
        assert_eq!((rounds.load(Ordering::Relaxed), clock.elapsed()), (3, Duration::from_secs(180)));
    }

    #[tokio::test]
    async fn a_range_goes_and_its_neighbours_stay() {
        let store = Store::new(Arc::new(Memory::default()));
        let key = |n: u64| Key::of("t").number(n);
        store
            .transact(async |tx: Tx| (0..200).try_for_each(|n| tx.put_bytes(&key(n), Vec::new())))
            .await
            .expect("commits");
        remove(&store, key(1).as_bytes(), key(1 + 2 * STEP as u64).as_bytes()).await.expect("removes");
        let all = Key::of("t");
        assert_eq!(store.scan(all.as_bytes(), &all.end(), 500).await.expect("reads").len(), 200 - 2 * STEP);
    }
}
