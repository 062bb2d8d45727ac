//! The one suite that every engine passes: what `Store` and `Tx` promise, whatever lies below.

use crate::engine::{Batch, Check, Committed, Engine, Range, Write};
use crate::flaky::{Faults, Flaky};
use crate::memory::Memory;
use crate::sqlite::Sqlite;
use crate::{Error, KEY_BYTES_MAX, Key, Result, Store, Tx, VALUE_BYTES_MAX, outbox, trail};
use base::{Arn, Event, Source, Timestamp};
use bytes::Bytes;
use std::sync::Arc;

/// An engine and, where it is durable, how to open it again.
struct Fixture {
    engine: Arc<dyn Engine>,
    dir: Option<tempfile::TempDir>,
}

impl Fixture {
    fn memory() -> Self {
        Self { engine: Arc::new(Memory::default()), dir: None }
    }

    fn flaky() -> Self {
        let flaky = Flaky::new(Arc::new(Memory::default()), kit::ManualClock::at(Timestamp(0)), 1, Faults::default());
        Self { engine: Arc::new(flaky), dir: None }
    }

    fn sqlite() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { engine: open(&dir), dir: Some(dir) }
    }

    fn store(&self) -> Store {
        Store::new(self.engine.clone())
    }

    fn reopened(self) -> Self {
        let Self { engine, dir } = self;
        match dir {
            None => Self { engine, dir: None },
            Some(dir) => {
                drop(engine);
                Self { engine: open(&dir), dir: Some(dir) }
            }
        }
    }
}

fn open(dir: &tempfile::TempDir) -> Arc<dyn Engine> {
    Arc::new(Sqlite::open(&dir.path().join("store.db")).expect("opens"))
}

macro_rules! contract {
    ($($test:ident),* $(,)?) => { contract! { @ memory [$($test)*] sqlite [$($test)*] flaky [$($test)*] } };
    (@ $($engine:ident [$($test:ident)*])*) => { $(mod $engine { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() { super::$test(super::Fixture::$engine()).await }
    )* })* };
}

contract![
    keys_come_in_order_both_ways,
    a_transaction_sees_its_own_writes,
    changed_reads_and_phantoms_conflict,
    an_error_is_told_only_from_agreeing_reads,
    increments_are_never_lost,
    a_batch_is_seen_whole_or_not_at_all,
    bounds_are_kept,
    everything_survives_reopening,
    an_event_commits_with_its_change,
    lanes_are_read_in_order,
    a_trail_is_kept_within_its_bounds,
];

fn key(n: u64) -> Key {
    Key::of("test").number(n)
}

fn space() -> (Vec<u8>, Vec<u8>) {
    let all = Key::of("test");
    (all.clone().into_bytes(), all.end())
}

async fn put(store: &Store, n: u64, value: &str) {
    let value = Bytes::copy_from_slice(value.as_bytes());
    store.transact::<_, Error, _, _>(async |tx: Tx| tx.put_bytes(&key(n), value.clone())).await.expect("commits");
}

fn numbers(items: &[crate::engine::Item]) -> Vec<u64> {
    let last = |key: &[u8]| u64::from_be_bytes(key[key.len() - 8..].try_into().expect("eight bytes"));
    items.iter().map(|i| last(&i.key)).collect()
}

async fn keys_come_in_order_both_ways(f: Fixture) {
    let store = f.store();
    for n in [5, 300, 1, 70_000, 2] {
        put(&store, n, "x").await;
    }
    let (from, to) = space();
    let up = async |limit| numbers(&store.scan(&from, &to, limit).await.unwrap());
    let down = async |limit| numbers(&store.scan_back(&from, &to, limit).await.unwrap());
    assert_eq!(up(1000).await, [1, 2, 5, 300, 70_000]);
    assert_eq!(up(2).await, [1, 2]);
    assert!(up(0).await.is_empty());
    assert_eq!(down(1000).await, [70_000, 300, 5, 2, 1]);
    assert_eq!(down(2).await, [70_000, 300]);
    let within = store.scan(key(2).as_bytes(), key(300).as_bytes(), 10).await.unwrap();
    assert_eq!(numbers(&within), [2, 5]);
    assert!(store.scan(&to, &from, 10).await.unwrap().is_empty());
    assert_eq!(store.get_bytes(&key(3)).await.unwrap(), None);
}

async fn a_transaction_sees_its_own_writes(f: Fixture) {
    let store = f.store();
    for n in 1..=5 {
        put(&store, n, "old").await;
    }
    let (from, to) = space();
    let run = store.transact::<_, Error, _, _>(async |tx: Tx| {
        tx.put_bytes(&key(3), "new")?;
        tx.delete(&key(1));
        tx.delete(&key(5));
        tx.put_bytes(&key(9), "new")?;
        assert_eq!(tx.get_bytes(&key(3)).await?.unwrap(), "new");
        assert_eq!(tx.get_bytes(&key(1)).await?, None);
        let (up, down) = (tx.scan(&from, &to, 3).await?, tx.scan_back(&from, &to, 2).await?);
        Ok((numbers(&up), numbers(&down), up[1].value.clone()))
    });
    let (up, down, third) = run.await.unwrap();
    assert_eq!((up, down, third), (vec![2, 3, 4], vec![9, 4], Bytes::from("new")));
    assert_eq!(numbers(&store.scan(&from, &to, 10).await.unwrap()), [2, 3, 4, 9]);
    // A closure that fails writes nothing.
    let run = store.transact(async |tx: Tx| {
        tx.put_bytes(&key(2), "lost")?;
        Err::<(), Error>(Error::Damaged("mine".into()))
    });
    assert_eq!(run.await, Err(Error::Damaged("mine".into())));
    assert_eq!(store.get_bytes(&key(2)).await.unwrap().unwrap(), "old");
}

async fn changed_reads_and_phantoms_conflict(f: Fixture) {
    let (engine, store) = (f.engine.clone(), f.store());
    put(&store, 1, "a").await;
    let version = engine.read(key(1).as_bytes()).await.unwrap().unwrap().version;
    let (from, to) = space();
    let range = |limit, reverse| Range { from: from.clone().into(), to: to.clone().into(), limit, reverse };
    let seen = vec![(Bytes::from(key(1).into_bytes()), version)];
    let on_key = |version| Check::Key { key: key(1).into_bytes().into(), version };
    let on_range = |limit, reverse| Check::Range { range: range(limit, reverse), seen: seen.clone() };
    let commit = async |check: Check| {
        let write = Write { key: Key::of("other").into_bytes().into(), value: Some("x".into()) };
        engine.commit(Batch { checks: vec![check], writes: vec![write] }).await.unwrap()
    };
    assert_eq!(commit(on_key(version)).await, Committed::Yes);
    assert_eq!(commit(on_range(10, false)).await, Committed::Yes);
    put(&store, 2, "phantom").await;
    assert_eq!(commit(on_range(10, false)).await, Committed::Conflict);
    assert_eq!(commit(on_range(1, false)).await, Committed::Yes, "beyond what the limited scan saw");
    assert_eq!(commit(on_range(1, true)).await, Committed::Conflict);
    put(&store, 1, "b").await;
    assert_eq!(commit(on_key(version)).await, Committed::Conflict);
    assert_eq!(commit(on_range(1, false)).await, Committed::Conflict);
    // Deleted and written again is another version; deleted is version 0.
    let delete = Write { key: key(1).into_bytes().into(), value: None };
    engine.commit(Batch { checks: vec![], writes: vec![delete] }).await.unwrap();
    assert_eq!(commit(on_key(0)).await, Committed::Yes);
    put(&store, 1, "a").await;
    assert_eq!(commit(on_key(version)).await, Committed::Conflict);
    assert_eq!(commit(on_key(0)).await, Committed::Conflict);
}

async fn an_error_is_told_only_from_agreeing_reads(f: Fixture) {
    let store = f.store();
    put(&store, 1, "same").await;
    put(&store, 2, "same").await;
    let tries = std::sync::atomic::AtomicU32::new(0);
    let (other, tries) = (&store, &tries);
    let run = store.transact(async |tx: Tx| {
        let one = tx.get_bytes(&key(1)).await?;
        if tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
            // Another writer comes between the two reads.
            let both = async |t: Tx| t.put_bytes(&key(1), "new").and_then(|()| t.put_bytes(&key(2), "new"));
            other.transact::<_, Error, _, _>(both).await?;
        }
        match tx.get_bytes(&key(2)).await? == one {
            true => Ok(()),
            false => Err(Error::Damaged("they differ".into())),
        }
    });
    assert_eq!(run.await, Ok(()));
}

async fn increments_are_never_lost(f: Fixture) {
    let store = f.store();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..10 {
                let add = store.transact::<_, Error, _, _>(async |tx: Tx| {
                    let n =
                        tx.get_bytes(&key(0)).await?.map_or(0, |b| b.as_ref().try_into().map_or(0, u64::from_be_bytes));
                    tx.put_bytes(&key(0), (n + 1).to_be_bytes().to_vec())
                });
                add.await.expect("commits");
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(store.get_bytes(&key(0)).await.unwrap().unwrap(), 320u64.to_be_bytes().to_vec());
}

async fn a_batch_is_seen_whole_or_not_at_all(f: Fixture) {
    let store = f.store();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..16 {
        let store = store.clone();
        tasks.spawn(async move {
            for i in 0..20 {
                let three = store.transact::<_, Error, _, _>(async |tx: Tx| {
                    (0..3).try_for_each(|part| tx.put_bytes(&key(task * 1000 + i * 3 + part), "x"))
                });
                three.await.expect("commits");
            }
        });
    }
    let (from, to) = space();
    while !tasks.is_empty() {
        assert_eq!(store.scan(&from, &to, 2000).await.unwrap().len() % 3, 0);
        while tasks.try_join_next().is_some_and(|done| done.is_ok()) {}
        tokio::task::yield_now().await;
    }
    assert_eq!(store.scan(&from, &to, 2000).await.unwrap().len(), 16 * 20 * 3);
}

async fn bounds_are_kept(f: Fixture) {
    let store = f.store();
    let write = async |key: &Key, bytes: usize| {
        store.transact::<_, Error, _, _>(async |tx: Tx| tx.put_bytes(key, vec![7; bytes])).await
    };
    assert_eq!(write(&key(1), VALUE_BYTES_MAX).await, Ok(()));
    assert!(matches!(write(&key(2), VALUE_BYTES_MAX + 1).await, Err(Error::TooLarge { what: "value", .. })));
    let long = Key::of("test").bytes(&vec![1; KEY_BYTES_MAX]);
    assert!(matches!(write(&long, 1).await, Err(Error::TooLarge { what: "key", .. })));
    assert_eq!(store.get_bytes(&key(1)).await.unwrap().unwrap().len(), VALUE_BYTES_MAX);
    assert_eq!(write(&key(3), 0).await, Ok(()));
    assert_eq!(store.get_bytes(&key(3)).await.unwrap().unwrap().len(), 0);
}

async fn everything_survives_reopening(f: Fixture) {
    let store = f.store();
    for n in 0..300 {
        put(&store, n, &format!("value {n}")).await;
    }
    let delete = store.transact::<_, Error, _, _>(async |tx: Tx| {
        tx.delete(&key(7));
        Ok(())
    });
    delete.await.unwrap();
    let (from, to) = space();
    let before = store.scan(&from, &to, 1000).await.unwrap();
    drop(store);
    let f = f.reopened();
    let store = f.store();
    assert_eq!(store.scan(&from, &to, 1000).await.unwrap(), before);
    assert_eq!(before.len(), 299);
    // Versions go on from where they were.
    put(&store, 7, "again").await;
    let again = f.engine.read(key(7).as_bytes()).await.unwrap().unwrap();
    assert!(before.iter().all(|i| i.version < again.version));
}

fn event(n: u64, target: &str, created: u64) -> Event {
    Event {
        id: format!("event-{n}"),
        target: Arn::new("lambda", "us-east-1", "000000000000", format!("function:{target}")),
        source: Source { service: None, arn: None, account: "000000000000".into() },
        created: Timestamp(created),
        payload: serde_json::value::RawValue::from_string(format!("{{\"n\":{n}}}")).expect("JSON"),
        attributes: Default::default(),
        terms: Default::default(),
    }
}

async fn an_event_commits_with_its_change(f: Fixture) {
    let store = f.store();
    let emit = async |n: u64, well: bool| {
        let run = store.transact(async |tx: Tx| {
            tx.put_bytes(&key(n), "changed")?;
            tx.emit(&event(n, "a", 100 + n))?;
            if well { Ok(()) } else { Err(Error::Damaged("no".into())) }
        });
        run.await.is_ok()
    };
    assert!(emit(1, true).await && !emit(2, false).await && emit(3, true).await);
    let waiting = outbox::waiting(&store, None, 10).await.unwrap();
    assert_eq!(waiting.iter().map(|w| w.event.id.as_str()).collect::<Vec<_>>(), ["event-1", "event-3"]);
    let rest = outbox::waiting(&store, Some(&waiting[0]), 10).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(store.get_bytes(&key(2)).await.unwrap(), None);
    let nowhere = Event { target: Arn::new("lambda", "us-east-1", "0", ""), ..event(4, "a", 104) };
    assert!(store.transact::<_, Error, _, _>(async |tx: Tx| tx.emit(&nowhere)).await.is_err());
    assert_eq!(store.emitted().await, [(outbox::Lane::of(&waiting[0].event), Timestamp(101))]);
}

async fn lanes_are_read_in_order(f: Fixture) {
    let store = f.store();
    let run = store.transact::<_, Error, _, _>(async |tx: Tx| {
        (0..6).try_for_each(|n| tx.emit(&event(n, if n % 2 == 0 { "a" } else { "b" }, 100 - n)))
    });
    run.await.unwrap();
    let (a, b) = (outbox::Lane::of(&event(0, "a", 0)), outbox::Lane::of(&event(0, "b", 0)));
    assert_eq!(outbox::next_lane(&store, None).await.unwrap(), Some((a.clone(), Timestamp(96))));
    assert_eq!(outbox::next_lane(&store, Some(&a)).await.unwrap(), Some((b.clone(), Timestamp(95))));
    assert_eq!(outbox::next_lane(&store, Some(&b)).await.unwrap(), None);
    let lane = outbox::lane(&store, &a, None, 10).await.unwrap();
    assert_eq!(lane.iter().map(|f| f.place.0.0).collect::<Vec<_>>(), [96, 98, 100]);
    let rest = outbox::lane(&store, &a, Some(&lane[0].place), 1).await.unwrap();
    assert_eq!(rest[0].place, (Timestamp(98), "event-2".into()));
    let from = outbox::lane(&store, &a, Some(&(Timestamp(98), String::new())), 1).await.unwrap();
    assert_eq!(from[0].place, rest[0].place, "a place without an id is before all of its time");
    let first = lane[0].waiting().unwrap();
    let attempt = |at: u64, reason: &str| outbox::Attempt { at: Timestamp(at), reason: reason.into() };
    let busy = attempt(400, "busy");
    let later: Result<()> = store.transact(async |tx: Tx| outbox::put_off(&tx, &first, Timestamp(500), &busy)).await;
    later.unwrap();
    let last = outbox::lane(&store, &a, None, 10).await.unwrap().pop().unwrap().waiting().unwrap();
    assert_eq!((last.due, last.attempts, last.event.id.as_str()), (Timestamp(500), 1, "event-4"));
    let why = attempt(600, "why");
    let buried: Result<()> = store.transact(async |tx: Tx| outbox::bury(&tx, &last, &why)).await;
    buried.unwrap();
    let dead = outbox::dead(&store, None, 10).await.unwrap();
    assert_eq!((dead.len(), dead[0].attempts, dead[0].reason.as_str()), (1, 2, "why"));
    assert_eq!(dead[0].tried, [busy, why]);
    assert_eq!(outbox::counts(&store, 100).await.unwrap(), outbox::Counts { waiting: 5, dead: 1 });
    assert_eq!(outbox::counts(&store, 2).await.unwrap().waiting, 2);
    let redriven: Result<()> = store.transact(async |tx: Tx| outbox::redrive(&tx, &dead[0], Timestamp(700))).await;
    redriven.unwrap();
    assert_eq!(outbox::counts(&store, 100).await.unwrap(), outbox::Counts { waiting: 6, dead: 0 });
    let last = outbox::lane(&store, &a, None, 10).await.unwrap().pop().unwrap().waiting().unwrap();
    assert_eq!((last.event.created, last.attempts), (Timestamp(700), 0));
}

async fn a_trail_is_kept_within_its_bounds(f: Fixture) {
    let store = f.store();
    let waiting =
        |n: u64| outbox::Waiting { event: event(n, "a", n), attempts: 0, due: Timestamp(n), tried: Vec::new() };
    let run = store.transact::<_, Error, _, _>(async |tx: Tx| {
        (0..200).try_for_each(|n| trail::put(&tx, &trail::Way::of(&waiting(n), Timestamp(1000 + n), None, Vec::new())))
    });
    run.await.unwrap();
    let ids = |ways: Vec<trail::Way>| ways.into_iter().map(|w| w.id).collect::<Vec<_>>();
    assert_eq!(ids(trail::latest(&store, None, 2).await.unwrap()), ["event-199", "event-198"]);
    let place = (Timestamp(1197), "event-197".to_owned());
    assert_eq!(ids(trail::latest(&store, Some(&place), 1).await.unwrap()), ["event-196"]);
    assert_eq!(ids(trail::after(&store, &place, 9).await.unwrap()), ["event-198", "event-199"]);
    assert_eq!(trail::count(&store).await.unwrap(), 200);
    assert_eq!(trail::sweep(&store, Timestamp(0), 130, 200).await.unwrap(), 130);
    assert_eq!(trail::sweep(&store, Timestamp(1190), 130, 130).await.unwrap(), 10);
    assert_eq!(trail::count(&store).await.unwrap(), 10);
}
