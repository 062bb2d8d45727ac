//! What a user of blobs would notice: whole or not there, ranges, flat memory, sweeping.

use super::*;
use base::Timestamp;
use futures::{StreamExt, TryStreamExt};
use std::time::Duration;

fn id(n: u64) -> BlobId {
    BlobId::new("objects", &format!("{:08x}-0000-4000-8000-{n:012x}", n * 0x0101_0101))
}

fn fixture() -> (tempfile::TempDir, Blobs) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let blobs = Blobs::directory(&dir.path().join("blobs")).expect("opens");
    (dir, blobs)
}

fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("lists") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path.file_name().expect("a name").to_string_lossy().into_owned()),
        }
    }
    found
}

async fn ids(blobs: &Blobs) -> Vec<BlobId> {
    let mut all: Vec<_> = blobs.list("objects").map_ok(|i| i.id).try_collect().await.expect("lists");
    all.sort();
    all
}

#[tokio::test]
async fn put_get_read_delete() {
    let (_dir, blobs) = fixture();
    blobs.put(&id(1), Bytes::from_static(b"0123456789")).await.unwrap();
    assert_eq!(blobs.get(&id(1)).await.unwrap(), "0123456789");
    let part: Vec<Bytes> = blobs.read(&id(1), 3..7).await.unwrap().try_collect().await.unwrap();
    assert_eq!(part.concat(), b"3456");
    assert!(blobs.read(&id(1), 4..4).await.unwrap().next().await.is_none());
    assert!(matches!(blobs.read(&id(1), 3..11).await, Err(Error::Damaged(_))));
    let path = blobs.local_path(&id(1)).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"0123456789");
    blobs.delete(&id(1)).await.unwrap();
    blobs.delete(&id(1)).await.unwrap();
    assert_eq!(blobs.get(&id(1)).await, Err(Error::NoSuchBlob(id(1).to_string())));
    assert!(blobs.read(&id(1), 0..1).await.is_err());
}

#[tokio::test]
async fn names_outside_are_refused() {
    let (_dir, blobs) = fixture();
    for name in ["../x", "objects/../../etc/passwd", "objects/ab", "objects/", "/etc/passwd", "objects/a/b", ""] {
        let id = BlobId(name.to_owned());
        assert!(matches!(blobs.put(&id, Bytes::new()).await, Err(Error::Damaged(_))), "{name}");
        assert!(blobs.get(&id).await.is_err() && blobs.local_path(&id).is_none(), "{name}");
    }
}

#[tokio::test]
async fn writers_show_nothing_before_they_finish() {
    let (dir, blobs) = fixture();
    for (n, pieces) in [(1, 0u64), (2, 1), (3, 40)] {
        let mut w = blobs.writer(&id(n));
        for i in 0..pieces {
            w.write(Bytes::from(vec![i as u8; 100_000])).await.unwrap();
            assert!(blobs.get(&id(n)).await.is_err());
        }
        assert_eq!(w.finish().await.unwrap(), pieces * 100_000);
        let got = blobs.get(&id(n)).await.unwrap();
        assert!(got.chunks(100_000).enumerate().all(|(i, c)| c.iter().all(|&b| b == i as u8)));
        assert_eq!(got.len() as u64, pieces * 100_000);
    }
    for drop_it in [true, false] {
        let mut w = blobs.writer(&id(9));
        for _ in 0..30 {
            w.write(Bytes::from(vec![7; 100_000])).await.unwrap();
        }
        if drop_it { drop(w) } else { w.abort().await }
    }
    assert_eq!(ids(&blobs).await, [id(1), id(2), id(3)]);
    // The drop removes its file in the background.
    for _ in 0..200 {
        if files(dir.path()).len() == 3 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("left behind: {:?}", files(dir.path()));
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

#[tokio::test]
async fn two_hundred_megabytes_in_flat_memory() {
    const PIECE: usize = 64 << 10;
    const BYTES: u64 = 200 << 20;
    let (_dir, blobs) = fixture();
    let before = resident_kb();
    let mut peak = before;
    let mut w = blobs.writer(&id(1));
    for i in 0..BYTES / PIECE as u64 {
        w.write(Bytes::from(vec![i as u8; PIECE])).await.unwrap();
        if i % 64 == 0 {
            peak = peak.max(resident_kb());
        }
    }
    assert_eq!(w.finish().await.unwrap(), BYTES);
    let (mut stream, mut at) = (blobs.read(&id(1), 0..BYTES).await.unwrap(), 0u64);
    while let Some(piece) = stream.next().await {
        let piece = piece.unwrap();
        assert!(piece.len() <= 1 << 20);
        for chunk in piece.chunks(PIECE) {
            assert_eq!(chunk[0], (at / PIECE as u64) as u8);
            at += chunk.len() as u64;
        }
        peak = peak.max(resident_kb());
    }
    assert_eq!(at, BYTES);
    assert!(peak - before < 32 << 10, "grew by {} KiB", peak - before);
}

#[tokio::test]
async fn the_sweep_takes_old_orphans_only() {
    let (dir, blobs) = fixture();
    for n in 1..=3 {
        blobs.put(&id(n), Bytes::from_static(b"x")).await.unwrap();
    }
    let stale = blobs.local_path(&id(1)).unwrap().with_file_name("unfinished#1");
    std::fs::write(&stale, b"half").unwrap();
    let listed: Vec<BlobInfo> = blobs.list("objects").try_collect().await.unwrap();
    let newest = listed.iter().map(|i| i.modified).max().unwrap();
    let sweep = |age, now: Timestamp| blobs.sweep("objects", age, now, |i| async move { Ok(i == id(2)) });
    assert_eq!(sweep(Duration::from_secs(60), newest).await, Ok(0));
    assert_eq!(files(dir.path()).len(), 4);
    assert_eq!(sweep(Duration::from_secs(60), newest.plus(Duration::from_secs(120))).await, Ok(2));
    assert_eq!(ids(&blobs).await, [id(2)]);
    assert!(!stale.exists());
    assert_eq!(blobs.sweep("code", Duration::ZERO, newest, |_| async { Ok(false) }).await, Ok(0));
}

#[test]
fn a_full_disk_is_told_apart() {
    let io = std::io::Error::from_raw_os_error(28);
    let e = object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(io) };
    assert_eq!(failed("x", &e), Error::Full);
    let io = std::io::Error::from_raw_os_error(5);
    let e = object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(io) };
    assert!(matches!(failed("x", &e), Error::Unavailable(_)));
}
