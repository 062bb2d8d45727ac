//! What functions take of the disk, all their files in /tmp together: counted beside the launcher's own work, whenever
//! the disk has filled by a little more, and who has more than it may is ended.
//!
//! Quotas would refuse the write instead, but few machines have them for directories. So a sandbox can pass its limit by
//! what it writes until it is found: [`TICK_MS`] and the count itself, a fraction of a second; and a file or a hole that
//! fills unseen takes [`BYTES_UNSEEN`] of the whole disk first. `docs/decisions/0012-tmp.md` has the figures.

use super::sys;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::process::Signal;
use std::collections::HashSet;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How often the disk is looked at while there are sandboxes.
pub const TICK_MS: u64 = 100;
/// So much the disk may fill without anybody being counted.
const BYTES_UNSEEN: u64 = 16 << 20;
const FILES_UNSEEN: u64 = 2_048;
/// Files and directories: one for each so many bytes of the limit, as file systems themselves reckon, and at least some.
const BYTES_PER_FILE: u64 = 16 << 10;
const FILES_MIN: u64 = 16 << 10;
/// Processes that are looked at, of a sandbox that no control group counts: more than it may have.
const PROCESSES_MAX: usize = 4_096;
/// Directories in each other; what goes deeper is nobody's honest work, and costs us a descriptor each.
const DEPTH_MAX: usize = 256;

/// What a sandbox may have.
#[derive(Clone, Copy, Debug)]
struct Limit {
    bytes: u64,
    files: u64,
}

/// One whose files are to be counted.
pub struct Counted {
    pub seq: u64,
    pub tmp: PathBuf,
    pub bytes_max: u64,
    pub processes: Processes,
}

/// Whose open files count.
pub enum Processes {
    /// These: a control group tells.
    All(Vec<i32>),
    /// This init and who descends from it: orphans are its children too.
    Below(i32),
}

impl Processes {
    fn pids(&self) -> Vec<i32> {
        match self {
            Self::All(pids) => pids.clone(),
            Self::Below(init) => {
                let mut pids = vec![*init];
                // Grows while it is walked, as long as there is room: a process that is being made may be missed.
                let mut next = 0;
                while next < pids.len() && pids.len() < PROCESSES_MAX {
                    pids.extend(children(pids[next]));
                    next += 1;
                }
                pids
            }
        }
    }
}

/// The children of a process now, oldest first as far as one thread has them all.
pub fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Counts when there is reason to.
pub struct Census {
    disk: PathBuf,
    /// The disk's use, as far as all are known to keep their limits: bytes and files.
    known: (u64, u64),
    next_ms: u64,
    at_work: Option<AtWork>,
}

struct AtWork {
    pid: i32,
    pidfd: OwnedFd,
    found: OwnedFd,
    /// The disk's use when it began.
    used: (u64, u64),
}

impl Census {
    pub fn new(disk: &Path) -> Self {
        Self { disk: disk.to_owned(), known: used(disk), next_ms: 0, at_work: None }
    }

    /// Looks at the disk when it is time to; `true` when somebody is to be counted.
    pub fn is_due(&mut self, now_ms: u64) -> bool {
        if now_ms < self.next_ms || self.at_work.is_some() {
            return false;
        }
        self.next_ms = now_ms + TICK_MS;
        let (bytes, files) = used(&self.disk);
        self.known = (self.known.0.min(bytes), self.known.1.min(files));
        bytes - self.known.0 >= BYTES_UNSEEN || files - self.known.1 >= FILES_UNSEEN
    }

    /// Forks the one who counts; its pidfd is to be watched.
    pub fn begin(&mut self, sandboxes: &[Counted]) -> io::Result<&OwnedFd> {
        let used = used(&self.disk);
        let (found, tells) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        match sys::fork(0)? {
            sys::Fork::Child => {
                let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
                let _ = rustix::process::nice(5);
                for sandbox in sandboxes.iter().filter(|sandbox| has_too_much(sandbox)) {
                    // The pipe holds more numbers than there are sandboxes.
                    let _ = rustix::io::write(&tells, &sandbox.seq.to_ne_bytes());
                }
                sys::end(0)
            }
            sys::Fork::Parent { pid, pidfd } => Ok(&self.at_work.insert(AtWork { pid, pidfd, found, used }).pidfd),
        }
    }

    /// It has ended: who has more than its limit.
    pub fn end(&mut self) -> Vec<u64> {
        let Some(AtWork { pid, found, used, .. }) = self.at_work.take() else { return Vec::new() };
        self.known = used;
        let _ = sys::wait(pid);
        let mut numbers = Vec::new();
        let _ = io::Read::read_to_end(&mut fs::File::from(found), &mut numbers);
        numbers.as_chunks().0.iter().map(|number| u64::from_ne_bytes(*number)).collect()
    }
}

fn used(disk: &Path) -> (u64, u64) {
    rustix::fs::statvfs(disk).map_or((0, 0), |disk| {
        ((disk.f_blocks - disk.f_bfree) * disk.f_frsize, disk.f_files.saturating_sub(disk.f_ffree))
    })
}

fn has_too_much(sandbox: &Counted) -> bool {
    let limit = Limit { bytes: sandbox.bytes_max, files: (sandbox.bytes_max / BYTES_PER_FILE).max(FILES_MIN) };
    let mut count = Count { limit, bytes: 0, files: 0, linked: HashSet::new() };
    // What went away while it was looked at counts for nothing.
    count.tree(&sandbox.tmp).unwrap_or(false) || count.unlinked(&sandbox.tmp, &sandbox.processes.pids())
}

struct Count {
    limit: Limit,
    bytes: u64,
    files: u64,
    /// Files with more than one name, or none, that have been counted.
    linked: HashSet<u64>,
}

impl Count {
    /// Whether this one more is too much.
    fn add(&mut self, stat: &Stat) -> bool {
        if stat.st_nlink == 1 || is_directory(stat) || self.linked.insert(stat.st_ino) {
            self.bytes += stat.st_blocks as u64 * 512;
            self.files += 1;
        }
        self.bytes > self.limit.bytes || self.files > self.limit.files
    }

    /// Counts all below a directory, until it is too much. Follows no link.
    fn tree(&mut self, top: &Path) -> rustix::io::Result<bool> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut stack = vec![Dir::new(rustix::fs::open(top, flags, Mode::empty())?)?];
        while let Some(directory) = stack.last_mut() {
            let Some(entry) = directory.read() else {
                stack.pop();
                continue;
            };
            let entry = entry?;
            let name: &CStr = entry.file_name();
            if [c".", c".."].contains(&name) {
                continue;
            }
            let at = directory.fd()?;
            let Ok(stat) = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if self.add(&stat) {
                return Ok(true);
            }
            if is_directory(&stat)
                && let Ok(below) = rustix::fs::openat(at.as_fd(), name, flags, Mode::empty()).and_then(Dir::new)
            {
                stack.push(below);
                if stack.len() > DEPTH_MAX {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Counts files that have no name any more and are held open, or mapped, by these processes.
    fn unlinked(&mut self, top: &Path, pids: &[i32]) -> bool {
        let Ok(disk) = rustix::fs::stat(top) else { return false };
        let held = pids.iter().flat_map(|pid| [format!("/proc/{pid}/fd"), format!("/proc/{pid}/map_files")]);
        held.flat_map(|held| fs::read_dir(held).into_iter().flatten().flatten()).any(|entry| {
            let stat = rustix::fs::stat(entry.path());
            stat.is_ok_and(|stat| stat.st_dev == disk.st_dev && stat.st_nlink == 0 && self.add(&stat))
        })
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(tmp: &Path, bytes_max: u64) -> bool {
        let own = std::process::id() as i32;
        let of = |processes| has_too_much(&Counted { seq: 1, tmp: tmp.to_owned(), bytes_max, processes });
        let (all, below) = (of(Processes::All(vec![own])), of(Processes::Below(own)));
        assert_eq!(all, below, "both ways count the same");
        all
    }

    #[test]
    fn counts_what_a_tree_takes_and_what_has_no_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let top = dir.path();
        fs::create_dir_all(top.join("a/b")).expect("directories");
        fs::write(top.join("a/b/one"), vec![1; 1 << 20]).expect("a file");
        for link in 0..50 {
            fs::hard_link(top.join("a/b/one"), top.join(format!("link-{link}"))).expect("a link");
        }
        std::os::unix::fs::symlink("/usr", top.join("usr")).expect("a link");
        assert!(!has(top, 2 << 20) && has(top, 1 << 20), "many names of one file are one file");
        let held = tempfile::tempfile_in(top).expect("a file");
        io::Write::write_all(&mut &held, &vec![1; 3 << 20]).expect("written");
        assert!(has(top, 2 << 20) && !has(top, 8 << 20));
        drop(held);
        assert!(!has(top, 2 << 20) && !has(&top.join("gone"), 1));

        let mut deep = top.to_owned();
        (0..=DEPTH_MAX).for_each(|_| deep.push("d"));
        fs::create_dir_all(deep).expect("directories");
        assert!(has(top, 1 << 30), "too deep");
    }

    #[test]
    fn counts_files_however_small() {
        let dir = tempfile::tempdir().expect("a directory");
        for n in 0..=FILES_MIN {
            fs::write(dir.path().join(n.to_string()), "").expect("a file");
        }
        assert!(has(dir.path(), 1 << 20) && !has(dir.path(), 1 << 30));
    }
}
