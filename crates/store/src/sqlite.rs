//! The embedded engine: one SQLite file in WAL mode with synchronous=FULL. One thread writes, many callers a commit;
//! reads run on connections of their own and never wait for the writer.

mod writer;

#[cfg(test)]
mod tests;

use crate::engine::{Batch, Committed, Engine, Item, Range};
use crate::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use writer::Writer;

/// The layout of the tables below, in `user_version`. A newer one is refused, an older one would be migrated in `open`.
const LAYOUT: i32 = 1;
/// "WADI" in `application_id`: tells our file from anybody's.
const APPLICATION: i32 = 0x5741_4449;
/// The version stands before the value, so that reading it never follows a large value's overflow pages.
const TABLES: &str = "
    create table kv (k blob primary key, ver integer not null, v blob not null) without rowid;
    create table meta (name text primary key, value integer not null) without rowid;
    insert into meta values ('commits', 0);";
/// Reading connections kept open between uses.
const READERS_KEPT: usize = 8;
/// A scan of up to this many items runs on the calling task, as a point read does: pages are nearly always cached, and
/// about 10 µs is less than a hop to another thread costs. Longer scans go to the blocking pool.
const SCAN_INLINE_MAX: usize = 128;
/// Long scans at a time.
const SCANS_MAX: usize = 4;
/// Only another program's hand on the file (the `sqlite3` shell, a backup) can make us wait for a lock.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);

/// The embedded engine. Dropping it lets the commits under way finish and waits for them.
pub struct Sqlite {
    readers: Arc<Readers>,
    scans: Semaphore,
    writer: Writer,
    /// Held while this process uses the file; commit numbers are counted in memory, so there must be one writer.
    _lock: File,
}

struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Sqlite {
    /// Opens the store in the file `path`, made with mode 0600 if it is not there. Refuses a file that a newer Wadi has
    /// written, that is not Wadi's, or that another process has open.
    pub fn open(path: &Path) -> Result<Self> {
        let lock = lock(path)?;
        private(path).map_err(|e| Error::Unavailable(format!("{}: {e}", path.display())))?;
        let db = connect(path)?;
        prepare(&db, path)?;
        // SQLite syncs the directory for its log, not for the file itself.
        path.parent().map_or(Ok(()), sync_directory).map_err(unavailable)?;
        let readers = Arc::new(Readers { path: path.to_owned(), idle: Mutex::default() });
        Ok(Self { readers, scans: Semaphore::new(SCANS_MAX), writer: Writer::start(db)?, _lock: lock })
    }
}

#[async_trait]
impl Engine for Sqlite {
    async fn read(&self, key: &[u8]) -> Result<Option<Item>> {
        self.readers.with(|db| {
            let mut find = db.prepare_cached("select ver, v from kv where k = ?1")?;
            let found = find.query_row([key], |row| Ok((row.get::<_, i64>(0)?, bytes(row, 1)?))).optional()?;
            Ok(found.map(|(version, value)| Item { key: Bytes::copy_from_slice(key), value, version: version as u64 }))
        })
    }

    async fn scan(&self, range: &Range) -> Result<Vec<Item>> {
        if range.from >= range.to || range.limit == 0 {
            return Ok(Vec::new());
        }
        if range.limit <= SCAN_INLINE_MAX {
            return self.readers.with(|db| scan(db, range));
        }
        let _turn = self.scans.acquire().await.map_err(unavailable)?;
        let (readers, range) = (self.readers.clone(), range.clone());
        let scanned = tokio::task::spawn_blocking(move || readers.with(|db| scan(db, &range)));
        scanned.await.unwrap_or_else(|e| Err(unavailable(e)))
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        self.writer.commit(batch).await
    }
}

impl Readers {
    fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let idle = self.idle.lock().pop();
        let db = match idle {
            Some(db) => db,
            None => {
                let db = connect(&self.path)?;
                db.pragma_update(None, "query_only", true).map_err(failed)?;
                db
            }
        };
        // A connection that failed is not used again.
        let value = read(&db).map_err(failed)?;
        let mut idle = self.idle.lock();
        if idle.len() < READERS_KEPT {
            idle.push(db);
        }
        Ok(value)
    }
}

fn scan(db: &Connection, range: &Range) -> rusqlite::Result<Vec<Item>> {
    let mut find = db.prepare_cached(match range.reverse {
        false => "select k, ver, v from kv where k >= ?1 and k < ?2 order by k limit ?3",
        true => "select k, ver, v from kv where k >= ?1 and k < ?2 order by k desc limit ?3",
    })?;
    let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
    let item = |row: &rusqlite::Row<'_>| {
        Ok(Item { key: bytes(row, 0)?, version: row.get::<_, i64>(1)? as u64, value: bytes(row, 2)? })
    };
    find.query_map((&range.from[..], &range.to[..], limit), item)?.collect()
}

fn bytes(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(row.get_ref(column)?.as_blob()?))
}

fn lock(path: &Path) -> Result<File> {
    let path = path.with_extension("lock");
    let file = private(&path).map_err(|e| Error::Unavailable(format!("{}: {e}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::Unavailable(format!("{} is held: another process uses this data directory", path.display())))
        }
        Err(TryLockError::Error(e)) => Err(Error::Unavailable(format!("{}: {e}", path.display()))),
    }
}

/// Opens or makes a file for its owner alone; SQLite gives its side files the mode of the main one.
fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn sync_directory(dir: &Path) -> std::io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

fn connect(path: &Path) -> Result<Connection> {
    let db = Connection::open(path).map_err(failed)?;
    db.busy_timeout(BUSY_WAIT_MAX).map_err(failed)?;
    db.set_prepared_statement_cache_capacity(16);
    // Else the planner looks at the value of `limit ?`, and every other limit has the statement compiled anew.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(failed)?;
    Ok(db)
}

/// Checks whose file it is and how old, makes the tables in an empty one, and sets what durability rests on.
fn prepare(db: &Connection, path: &Path) -> Result<()> {
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(failed);
    let empty: bool = db.query_row("select count(*) = 0 from sqlite_master", [], |r| r.get(0)).map_err(failed)?;
    let (application, layout) = (pragma("application_id")?, pragma("user_version")?);
    let refuse = |why: String| Err(Error::Unavailable(format!("{}: {why}", path.display())));
    if !empty && application != APPLICATION {
        return refuse("this database is not Wadi's".into());
    }
    if layout > LAYOUT {
        return refuse(format!("written by a newer Wadi (layout {layout}; this one knows up to {LAYOUT})"));
    }
    let mode: String = db.query_row("pragma journal_mode = wal", [], |r| r.get(0)).map_err(failed)?;
    if mode != "wal" {
        return refuse(format!("the file system allows no write-ahead log (journal mode {mode})"));
    }
    db.execute_batch("pragma synchronous = full; pragma journal_size_limit = 67108864").map_err(failed)?;
    if empty {
        let marks = format!("pragma application_id = {APPLICATION}; pragma user_version = {LAYOUT};");
        db.execute_batch(&format!("begin immediate; {TABLES} {marks} commit")).map_err(failed)?;
    }
    Ok(())
}

fn unavailable(e: impl std::fmt::Display) -> Error {
    Error::Unavailable(e.to_string())
}

fn failed(e: rusqlite::Error) -> Error {
    let full = |e: &rusqlite::ffi::Error| {
        e.code == ErrorCode::DiskFull || e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
    };
    match &e {
        rusqlite::Error::SqliteFailure(inner, _) if full(inner) => Error::Full,
        _ => unavailable(e),
    }
}
