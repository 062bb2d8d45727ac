//! The time a sandbox sees of its machine: since its own start, not since the host's.
//!
//! A time namespace that this process makes is its children's, and takes its offsets before the first of them is in it.
//! The wall clock is the same everywhere.

use super::sys;
use rustix::time::{ClockId, clock_gettime};
use std::io;

/// Where the clocks begin: some programs take a time near zero for none at all.
const BEGINS_AT_S: i64 = 60;

/// Makes one for those that this process forks from now on. Needs the host's /proc, and rights.
pub fn start() -> io::Result<()> {
    sys::unshare(libc::CLONE_NEWTIME)?;
    let offset = |clock| (BEGINS_AT_S - clock_gettime(clock).tv_sec).min(0);
    let (monotonic, boottime) = (offset(ClockId::Monotonic), offset(ClockId::Boottime));
    std::fs::write("/proc/self/timens_offsets", format!("monotonic {monotonic} 0\nboottime {boottime} 0\n"))
}
