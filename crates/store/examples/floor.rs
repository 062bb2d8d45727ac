//! The floor under durable writes, measured: `floor [bytes] [callers] [seconds]` prints one JSON line for raw fsync, for
//! bare SQLite under group commit, for our store doing the same puts, and for blobs of that size.

use rusqlite::Connection;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::sqlite::Sqlite;
use store::{BlobId, Blobs, Error, Key, Store, Tx};
use tokio::sync::{mpsc, oneshot};

struct Load {
    bytes: usize,
    callers: u64,
    seconds: u64,
}

/// Puts per second and their latency in microseconds.
struct Measured {
    puts_per_second: f64,
    p50_us: u128,
    p99_us: u128,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arg = |n: usize, default: u64| std::env::args().nth(n).map_or(default, |a| a.parse().expect("a number"));
    let load = Load { bytes: arg(1, 256) as usize, callers: arg(2, 32), seconds: arg(3, 3) };
    let dir = tempfile::tempdir().expect("a temporary directory");
    print("fsync", &load, &fsync(dir.path(), &load));
    print("sqlite", &load, &bare(dir.path(), &load).await);
    print("store", &load, &ours(dir.path(), &load).await);
    print("blobs", &load, &blobs(dir.path(), &load).await);
}

fn print(what: &str, load: &Load, m: &Measured) {
    let line = serde_json::json!({
        "what": what, "bytes": load.bytes, "callers": if what == "fsync" { 1 } else { load.callers },
        "puts_per_second": m.puts_per_second.round(), "p50_us": m.p50_us as u64, "p99_us": m.p99_us as u64,
    });
    println!("{line}");
}

/// One caller appending the same bytes to a file and syncing each.
fn fsync(dir: &Path, load: &Load) -> Measured {
    use std::io::Write;
    let mut file = std::fs::File::create(dir.join("raw")).expect("creates");
    let (start, bytes, mut took) = (Instant::now(), vec![7; load.bytes], Vec::new());
    while start.elapsed() < Duration::from_secs(load.seconds) {
        let at = Instant::now();
        file.write_all(&bytes).and_then(|()| file.sync_data()).expect("writes");
        took.push(at.elapsed());
    }
    measured(start.elapsed(), took)
}

/// SQLite with nothing of ours: a thread that puts what has come in one transaction.
async fn bare(dir: &Path, load: &Load) -> Measured {
    type Put = (Key, Vec<u8>, oneshot::Sender<()>);
    let mut db = Connection::open(dir.join("bare.db")).expect("opens");
    db.execute_batch(
        "pragma journal_mode = wal; pragma synchronous = full;
         create table kv (k blob primary key, ver integer, v blob) without rowid",
    )
    .expect("makes the table");
    let (puts, mut waiting) = mpsc::channel::<Put>(1024);
    let writer = std::thread::spawn(move || {
        while let Some(first) = waiting.blocking_recv() {
            let mut group = vec![first];
            while let (true, Ok(next)) = (group.len() < 512, waiting.try_recv()) {
                group.push(next);
            }
            let tx = db.transaction().expect("begins");
            for (key, value, _) in &group {
                let mut put = tx.prepare_cached("insert or replace into kv values (?1, 1, ?2)").expect("prepares");
                put.execute((key.as_bytes(), value)).expect("puts");
            }
            tx.commit().expect("commits");
            group.into_iter().for_each(|(_, _, done)| done.send(()).expect("the caller waits"));
        }
    });
    let measured = drive(load, |key, value| {
        let puts = puts.clone();
        async move {
            let (done, committed) = oneshot::channel();
            puts.send((key, value, done)).await.expect("the writer runs");
            committed.await.expect("the writer runs");
        }
    })
    .await;
    drop(puts);
    writer.join().expect("the writer ends well");
    measured
}

async fn ours(dir: &Path, load: &Load) -> Measured {
    let store = Store::new(Arc::new(Sqlite::open(&dir.join("store.db")).expect("opens")));
    drive(load, |key, value| {
        let store = store.clone();
        async move {
            let put = store.transact::<_, Error, _, _>(async |tx: Tx| tx.put_bytes(&key, value.clone()));
            put.await.expect("commits");
        }
    })
    .await
}

async fn blobs(dir: &Path, load: &Load) -> Measured {
    let blobs = Blobs::directory(&dir.join("blobs")).expect("opens");
    drive(load, |key, value| {
        // A name spread over the sub-directories, as UUIDs are.
        let hex: String = key.as_bytes().iter().rev().take(16).map(|b| format!("{:02x}", b.wrapping_mul(37))).collect();
        let name = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        let blobs = blobs.clone();
        async move { blobs.put(&BlobId::new("floor", &name), value.into()).await.expect("puts") }
    })
    .await
}

async fn drive<F, Fut>(load: &Load, put: F) -> Measured
where
    F: Fn(Key, Vec<u8>) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let put = &put;
    let (start, end) = (Instant::now(), Duration::from_secs(load.seconds));
    let caller = |caller: u64| async move {
        let mut took = Vec::new();
        for n in 0.. {
            if start.elapsed() >= end {
                break;
            }
            let at = Instant::now();
            let done = put(Key::of("floor").number(caller).number(n), vec![7; load.bytes]);
            tokio::spawn(done).await.expect("puts");
            took.push(at.elapsed());
        }
        took
    };
    let took = futures::future::join_all((0..load.callers).map(caller)).await.concat();
    measured(start.elapsed(), took)
}

fn measured(elapsed: Duration, mut took: Vec<Duration>) -> Measured {
    took.sort();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_micros();
    Measured { puts_per_second: took.len() as f64 / elapsed.as_secs_f64(), p50_us: at(50), p99_us: at(99) }
}
