//! What only the embedded engine promises: it survives `kill -9` and a full disk, and guards its file.

use super::*;
use crate::engine::Write;
use crate::{Key, Store, Tx};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// Where the child of [`killed_writers_lose_nothing_acknowledged`] writes; unset when the suite runs it by itself.
const CHILD_DIR: &str = "WADI_STORE_TEST_CHILD_DIR";
const CALLERS: u64 = 16;

fn pair(side: &str, caller: u64, n: u64) -> Key {
    Key::of(side).number(caller).number(n)
}

/// The child: writes pairs in transactions from many callers and prints each that was acknowledged, until killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_writes_until_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let round: u64 = dir.bytes().map(u64::from).sum();
    let store = Store::new(Arc::new(Sqlite::open(&Path::new(&dir).join("store.db")).unwrap()));
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let store = store.clone();
        tasks.spawn(async move {
            let taken = Key::of("left").number(caller);
            let start = store.scan(taken.as_bytes(), &taken.end(), 100_000).await.unwrap().len() as u64;
            // Bounded, should the parent die first.
            for n in start..start + 20_000 {
                let put = store.transact::<_, Error, _, _>(async |tx: Tx| {
                    tx.put_bytes(&pair("left", caller, n), vec![round as u8; 200])?;
                    tx.put_bytes(&pair("right", caller, n), vec![round as u8; 200])
                });
                put.await.unwrap();
                writeln!(std::io::stdout().lock(), "\nacknowledged {caller} {n}").unwrap();
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn killed_writers_lose_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for kill_after in [1, 5, 40, 130, 400, 900] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sqlite::tests::child_writes_until_killed", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        // Reads on after the kill: what was printed before it was acknowledged too.
        for line in lines.map_while(std::io::Result::ok) {
            let Some(rest) = line.strip_prefix("acknowledged ") else { continue };
            let (caller, n) = rest.split_once(' ').unwrap();
            if let (Ok(caller), Ok(n)) = (caller.parse::<u64>(), n.parse::<u64>()) {
                acknowledged.push((caller, n));
            }
            seen += 1;
            if seen == kill_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= kill_after, "the child ended by itself after {seen}");
        let store = Store::new(Arc::new(Sqlite::open(&dir.path().join("store.db")).unwrap()));
        for &(caller, n) in &acknowledged {
            assert!(store.get_bytes(&pair("left", caller, n)).await.unwrap().is_some(), "lost {caller} {n}");
        }
        let count = async |side: &str| {
            let all = Key::of(side);
            store.scan(all.as_bytes(), &all.end(), 1_000_000).await.unwrap().len()
        };
        assert_eq!(count("left").await, count("right").await, "half a transaction");
    }
}

fn write(n: u64, bytes: usize) -> Batch {
    let value = (bytes > 0).then(|| vec![7; bytes].into());
    Batch { checks: vec![], writes: vec![Write { key: Key::of("full").number(n).into_bytes().into(), value }] }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Sqlite::open(&dir.path().join("store.db")).unwrap();
    engine.writer.pages_max(64).await;
    let mut kept = 0;
    while engine.commit(write(kept, 10_000)).await == Ok(Committed::Yes) {
        kept += 1;
        assert!(kept < 64);
    }
    assert_eq!(engine.commit(write(kept, 10_000)).await, Err(Error::Full));
    // Reads go on, and what is small or frees space still works, also when it shares a commit with what does not.
    assert!(engine.read(Key::of("full").number(0).as_bytes()).await.unwrap().is_some());
    let (large, freed, other) =
        tokio::join!(engine.commit(write(98, 100_000)), engine.commit(write(0, 0)), engine.commit(write(99, 100_000)));
    assert_eq!((large, freed, other), (Err(Error::Full), Ok(Committed::Yes), Err(Error::Full)));
    assert_eq!(engine.commit(write(kept, 10_000)).await, Ok(Committed::Yes));
    engine.writer.pages_max(100_000).await;
    assert_eq!(engine.commit(write(98, 100_000)).await, Ok(Committed::Yes));
    let all = Key::of("full");
    let range = Range { from: all.as_bytes().to_vec().into(), to: all.end().into(), limit: 1000, reverse: false };
    assert_eq!(engine.scan(&range).await.unwrap().len(), kept as usize + 1);
}

#[test]
fn the_file_is_private_and_guarded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let refused = |path: &Path| match Sqlite::open(path) {
        Ok(_) => panic!("opened"),
        Err(e) => e.to_string(),
    };
    let first = Sqlite::open(&path).unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    assert!(refused(&path).contains("another process uses this data directory"));
    drop(first);
    let db = Connection::open(&path).unwrap();
    db.execute_batch("pragma user_version = 99").unwrap();
    assert!(refused(&path).contains("written by a newer Wadi (layout 99"));
    db.execute_batch("pragma user_version = 1; pragma application_id = 5").unwrap();
    assert!(refused(&path).contains("not Wadi's"));
    let text = dir.path().join("text.db");
    std::fs::write(&text, "this is a letter and not a database at all".repeat(100)).unwrap();
    assert!(refused(&text).contains("not a database"));
}
