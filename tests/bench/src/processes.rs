//! What the kernel says of a node's processes: who descends from whom, what they hold, and an end for one of them.
//!
//! A process is named by its id and its start time, and ended through a pidfd after its name has been checked again, so
//! that nothing but a descendant of the node is ever ended.

use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::thread::CpuSet;
use std::fs;

/// A process, told apart from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Process {
    pub pid: u32,
    started: u64,
}

impl Process {
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // After the command's closing bracket; the start time is the 22nd field of all.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        // A zombie has ended and only waits to be asked for.
        (state != "Z" && state != "X").then_some(Self { pid, started })
    }

    pub fn lives(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// SIGKILL to this process and no other; `false` if it had ended.
    pub fn kill(self) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return false };
        let Ok(held) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return false };
        self.lives() && rustix::process::pidfd_send_signal(&held, Signal::KILL).is_ok()
    }
}

/// The children of all threads of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let read = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    threads
        .map(read)
        .flat_map(|list| list.split_whitespace().filter_map(|c| c.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// All below a process, itself not included.
pub fn descendants(pid: u32) -> Vec<Process> {
    let (mut found, mut next) = (Vec::new(), children(pid));
    while let Some(pid) = next.pop() {
        found.extend(Process::of(pid));
        next.extend(children(pid));
    }
    found
}

/// The sandbox launcher of a node: the first child of its guard, whose others are orphans.
pub fn launcher(node: u32) -> Option<u32> {
    let is_launcher = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"sandbox-launcher")
    };
    let guard = children(node).into_iter().find(is_launcher)?;
    children(guard).into_iter().filter_map(Process::of).min_by_key(|process| process.started).map(|process| process.pid)
}

/// Proportional memory.
pub fn pss_kb(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?.split_whitespace().next()?.parse().ok()
}

/// Open descriptors.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Has all threads of one of our processes run on one core, or (`None`) on any.
pub fn pin(pid: u32, core: Option<usize>) {
    let mut cores = CpuSet::new();
    match core {
        Some(core) => cores.set(core),
        None => (0..CpuSet::MAX_CPU).for_each(|core| cores.set(core)),
    }
    for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let thread = thread.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
        // A thread that has just ended needs no core.
        let _ = rustix::thread::sched_setaffinity(thread, &cores);
    }
}
