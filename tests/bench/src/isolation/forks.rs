//! What the reference's launcher forks with, for which rustix has nothing safe.
#![allow(unsafe_code)]

use std::io::{Error, Result};

fn check(result: i64) -> Result<i64> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// A fork whose child starts in the new namespaces of `namespaces` (`CLONE_NEW*`); `None` in the child. The caller has one thread.
pub fn fork(namespaces: libc::c_int) -> Result<Option<i32>> {
    // SAFETY: all-zero is a valid clone_args (every field is an integer, zero meaning absent).
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = namespaces as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: args outlives the call and has the size given; without CLONE_VM the child has a copy of everything, and with one
    // thread no lock can be held by a thread that is not copied.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) })?;
    Ok((pid != 0).then_some(pid as i32))
}

/// New namespaces for this thread.
pub fn unshare(namespaces: libc::c_int) -> Result<()> {
    // SAFETY: takes an integer; no CLONE_FILES or CLONE_VM is asked for, so no memory or table is touched.
    check(i64::from(unsafe { libc::unshare(namespaces) })).map(drop)
}
