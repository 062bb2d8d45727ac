//! How fast events go in and out: `drain [events] [payload bytes] [targets]` commits events from 32 callers on SQLite,
//! then drains them to a target that is done at once, and prints both rates as JSON.

use async_trait::async_trait;
use base::port::{Clock, Denied, Target, Targets};
use base::{Arn, Event, Source, Verdict};
use delivery::{Config, Delivery, Parts};
use kit::RunningClock;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::sqlite::Sqlite;
use store::{Error, Store, Tx};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[derive(Default)]
struct Instantly(AtomicU64);

#[async_trait]
impl Target for Instantly {
    async fn accepts(&self, _: &Arn, _: &Source) -> Result<(), Denied> {
        Ok(())
    }

    async fn deliver(&self, _: &Event, _: u32) -> Verdict {
        self.0.fetch_add(1, Ordering::Relaxed);
        Verdict::Done
    }
}

impl Targets for Instantly {
    fn find(&self, _: &Arn) -> Option<&dyn Target> {
        Some(self)
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arg = |n: usize, default: u64| std::env::args().nth(n).map_or(default, |a| a.parse().expect("a number"));
    let (events, bytes, targets) = (arg(1, 100_000), arg(2, 1024), arg(3, 1));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::new(Arc::new(Sqlite::open(&dir.path().join("store.db")).expect("opens")));
    let clock = RunningClock::real();
    let accept = clock.elapsed();
    fill(&store, clock.clone(), events, bytes as usize, targets).await;
    let accepted = clock.elapsed() - accept;

    let target = Arc::new(Instantly::default());
    let entropy = Arc::new(kit::Seeded::new(1));
    let parts = Parts { store, targets: target.clone(), clock: clock.clone(), entropy, config: Config::default() };
    let (delivery, stop) = (Arc::new(Delivery::new(parts)), CancellationToken::new());
    let drain = clock.elapsed();
    let task = tokio::spawn(delivery.clone().run(stop.clone()));
    while target.0.load(Ordering::Relaxed) < events {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stop.cancel();
    task.await.expect("delivery ends well");
    let drained = clock.elapsed() - drain;
    assert_eq!((delivery.status().await.expect("counts").waiting, target.0.load(Ordering::Relaxed)), (0, events));
    let rate = |took: Duration| (events as f64 / took.as_secs_f64()).round();
    let line = serde_json::json!({
        "events": events, "payload_bytes": bytes, "targets": targets,
        "accepted_per_second": rate(accepted), "drained_per_second": rate(drained),
    });
    println!("{line}");
}

async fn fill(store: &Store, clock: Arc<RunningClock>, events: u64, bytes: usize, targets: u64) {
    const CALLERS: u64 = 32;
    let payload = RawValue::from_string(format!("\"{}\"", "x".repeat(bytes))).expect("JSON");
    let mut tasks = JoinSet::new();
    for caller in 0..CALLERS {
        let (store, clock, payload) = (store.clone(), clock.clone(), payload.clone());
        tasks.spawn(async move {
            for n in (caller..events).step_by(CALLERS as usize) {
                let event = Event {
                    id: format!("{n:032x}"),
                    target: Arn::new("lambda", "us-east-1", "000000000000", format!("function:f{}", n % targets)),
                    source: Source { service: None, arn: None, account: "000000000000".into() },
                    created: clock.now(),
                    payload: payload.clone(),
                    attributes: Default::default(),
                    terms: Default::default(),
                };
                let emit = store.transact::<_, Error, _, _>(async |tx: Tx| tx.emit(&event));
                emit.await.expect("commits");
            }
        });
    }
    tasks.join_all().await;
}
