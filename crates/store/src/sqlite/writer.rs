//! Group commit: one thread takes what callers have brought, checks and applies it in order in one SQLite transaction,
//! and answers after the one fsync that all share.

use super::{failed, unavailable};
use crate::engine::{Batch, Check, Committed, Version};
use crate::{Error, Result};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Batches that may wait for the writer; beyond it callers wait to hand theirs over.
const WAITING_MAX: usize = 1024;
/// What one commit takes at most: enough to share an fsync well, short enough to keep its latency in milliseconds.
const GROUP_BATCHES_MAX: usize = 512;
const GROUP_BYTES_MAX: usize = 8 << 20;
/// Who was answered by the last commit brings the next batch a moment later. A commit that begins with the first of them makes
/// the others wait for two, so a group that is smaller than the last one waits this often, as long as more come.
const NAPS_MAX: u32 = 4;
const NAP: Duration = Duration::from_micros(40);

/// A handle on the writing thread, which ends when this is dropped.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

enum Job {
    Commit(Batch, oneshot::Sender<Result<Committed>>),
    /// Bounds the file's pages (of 4 KiB): a full disk that a test can make and unmake.
    #[cfg(test)]
    PagesMax(u32, oneshot::Sender<Result<Committed>>),
}

/// Where applying a group failed.
enum Failure {
    /// In one of its batches; the others may still be applied, alone.
    Batch(Error),
    /// In the commit that they share.
    Commit(Error),
}

impl Writer {
    pub(super) fn start(db: Connection) -> Result<Self> {
        let commits: i64 =
            db.query_row("select value from meta where name = 'commits'", [], |r| r.get(0)).map_err(failed)?;
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let write = move || State { db, commits: commits as Version }.run(waiting);
        let thread = std::thread::Builder::new().name("wadi-store".into()).spawn(write).map_err(unavailable)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    pub(super) async fn commit(&self, batch: Batch) -> Result<Committed> {
        self.ask(|answer| Job::Commit(batch, answer)).await
    }

    #[cfg(test)]
    pub(super) async fn pages_max(&self, pages: u32) {
        self.ask(|answer| Job::PagesMax(pages, answer)).await.expect("sets the bound");
    }

    async fn ask(&self, job: impl FnOnce(oneshot::Sender<Result<Committed>>) -> Job) -> Result<Committed> {
        let stopped = || Error::Unavailable("the store's writer has stopped".into());
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(job(answer)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the writing thread owns.
struct State {
    db: Connection,
    /// The number of the last commit, as on disk.
    commits: Version,
}

type Answer = oneshot::Sender<Result<Committed>>;

/// What one commit takes.
#[derive(Default)]
struct Group {
    batches: Vec<Batch>,
    answers: Vec<Answer>,
    bytes: usize,
}

impl State {
    fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut last = 0;
        while let Some(first) = waiting.blocking_recv() {
            let mut group = Group::default();
            self.take(first, &mut group);
            self.take_waiting(&mut waiting, &mut group);
            for _ in 0..NAPS_MAX {
                let before = group.batches.len();
                if before >= last {
                    break;
                }
                std::thread::sleep(NAP);
                self.take_waiting(&mut waiting, &mut group);
                if group.batches.len() == before {
                    break;
                }
            }
            last = group.batches.len();
            self.commit(group.batches, group.answers);
        }
    }

    fn take_waiting(&mut self, waiting: &mut mpsc::Receiver<Job>, group: &mut Group) {
        while group.batches.len() < GROUP_BATCHES_MAX
            && group.bytes < GROUP_BYTES_MAX
            && let Ok(job) = waiting.try_recv()
        {
            self.take(job, group);
        }
    }

    fn take(&mut self, job: Job, group: &mut Group) {
        match job {
            Job::Commit(batch, answer) => {
                group.bytes += size(&batch);
                group.batches.push(batch);
                group.answers.push(answer);
            }
            #[cfg(test)]
            Job::PagesMax(pages, answer) => {
                let set = format!("pragma max_page_count = {pages}");
                let set = self.db.query_row(&set, [], |_| Ok(Committed::Yes)).map_err(failed);
                let _ = answer.send(set);
            }
        }
    }

    /// Commits a group and answers its callers, who may have gone.
    fn commit(&mut self, batches: Vec<Batch>, answers: Vec<Answer>) {
        match self.apply(&batches) {
            Ok(done) => answers.into_iter().zip(done).for_each(|(a, done)| drop(a.send(Ok(done)))),
            Err(Failure::Batch(e) | Failure::Commit(e)) if batches.len() == 1 => {
                answers.into_iter().for_each(|a| drop(a.send(Err(e.clone()))));
            }
            // One bad batch must not fail the others, and a deletion may free the space that a write lacks.
            Err(Failure::Batch(_)) => {
                for (batch, answer) in batches.into_iter().zip(answers) {
                    self.commit(vec![batch], vec![answer]);
                }
            }
            Err(Failure::Commit(e)) => answers.into_iter().for_each(|a| drop(a.send(Err(e.clone())))),
        }
    }

    /// Applies all batches in one transaction, each checked against the state that those before it left.
    fn apply(&mut self, batches: &[Batch]) -> std::result::Result<Vec<Committed>, Failure> {
        let mut commits = self.commits;
        // Dropped on any error, it rolls back.
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|e| Failure::Commit(failed(e)))?;
        let mut done = Vec::with_capacity(batches.len());
        for batch in batches {
            done.push(apply_one(&tx, batch, &mut commits).map_err(|e| Failure::Batch(failed(e)))?);
        }
        if commits != self.commits {
            tx.prepare_cached("update meta set value = ?1 where name = 'commits'")
                .and_then(|mut update| update.execute([commits as i64]))
                .map_err(|e| Failure::Commit(failed(e)))?;
        }
        tx.commit().map_err(|e| Failure::Commit(failed(e)))?;
        self.commits = commits;
        Ok(done)
    }
}

fn size(batch: &Batch) -> usize {
    batch.writes.iter().map(|w| w.key.len() + w.value.as_ref().map_or(0, |v| v.len())).sum()
}

fn apply_one(tx: &Transaction<'_>, batch: &Batch, commits: &mut Version) -> rusqlite::Result<Committed> {
    for check in &batch.checks {
        if !holds(tx, check)? {
            return Ok(Committed::Conflict);
        }
    }
    if batch.writes.is_empty() {
        return Ok(Committed::Yes);
    }
    *commits += 1;
    let mut put = tx.prepare_cached(
        "insert into kv (k, ver, v) values (?1, ?2, ?3)
         on conflict (k) do update set ver = excluded.ver, v = excluded.v",
    )?;
    let mut delete = tx.prepare_cached("delete from kv where k = ?1")?;
    for write in &batch.writes {
        match &write.value {
            Some(value) => put.execute((&write.key[..], *commits as i64, &value[..]))?,
            None => delete.execute([&write.key[..]])?,
        };
    }
    Ok(Committed::Yes)
}

fn holds(tx: &Transaction<'_>, check: &Check) -> rusqlite::Result<bool> {
    match check {
        Check::Key { key, version } => {
            let mut find = tx.prepare_cached("select ver from kv where k = ?1")?;
            let now: Option<i64> = find.query_row([&key[..]], |row| row.get(0)).optional()?;
            Ok(now.unwrap_or(0) as Version == *version)
        }
        Check::Range { range, seen } => {
            let mut find = tx.prepare_cached(match range.reverse {
                false => "select k, ver from kv where k >= ?1 and k < ?2 order by k limit ?3",
                true => "select k, ver from kv where k >= ?1 and k < ?2 order by k desc limit ?3",
            })?;
            let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
            let mut rows = find.query((&range.from[..], &range.to[..], limit))?;
            let mut seen = seen.iter();
            while let Some(row) = rows.next()? {
                let same = |(k, v): &(bytes::Bytes, Version)| {
                    Ok::<_, rusqlite::Error>(row.get_ref(0)?.as_blob()? == &k[..] && row.get::<_, i64>(1)? as u64 == *v)
                };
                if !seen.next().map_or(Ok(false), same)? {
                    return Ok(false);
                }
            }
            Ok(seen.next().is_none())
        }
    }
}
