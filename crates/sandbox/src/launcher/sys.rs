//! The few system calls that rustix lacks or that cannot be told safely: all the launcher's `unsafe` is here.
#![allow(unsafe_code)]

use rustix::thread::CapabilitySet;
use std::ffi::CStr;
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Which side of a [`fork`] this is.
pub enum Fork {
    Child,
    Parent { pid: i32, pidfd: OwnedFd },
}

fn check(result: i64) -> Result<i64> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// `clone3` without shared memory: a fork that starts in the new namespaces of `namespaces` (`CLONE_NEW*`). The caller
/// must be single-threaded, which the launcher and all it forks are: so the child may allocate and go on in Rust.
pub fn fork(namespaces: libc::c_int) -> Result<Fork> {
    let mut pidfd: RawFd = -1;
    // SAFETY: all-zero is a valid clone_args (every field is an integer, zero meaning absent).
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = namespaces as u64 | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: args outlives the call and has the size given; without CLONE_VM the child gets a copy of everything, and
    // with one thread no lock can be held by a thread that is not copied.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        return Ok(Fork::Child);
    }
    // SAFETY: the kernel has just written a descriptor of ours there, which nobody else owns.
    Ok(Fork::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// A fork by `clone`, which the filters allow where `clone3` is refused. `None` in the child.
pub fn fork_plain() -> Result<Option<i32>> {
    // SAFETY: with one thread (see `fork`) the child may go on in Rust.
    let pid = check(i64::from(unsafe { libc::fork() }))?;
    Ok((pid != 0).then_some(pid as i32))
}

/// Sets attributes (`MOUNT_ATTR_*`) on the mount that `mount` refers to, and with `recursive` on all below it.
pub fn mount_setattr(mount: impl AsFd, set: u64, recursive: bool) -> Result<()> {
    // SAFETY: all-zero is a valid mount_attr (integers, zero meaning no change).
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = set;
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, attr outlives the call and has the size given.
    check(unsafe {
        let (fd, path) = (mount.as_fd().as_raw_fd(), c"".as_ptr());
        libc::syscall(libc::SYS_mount_setattr, fd, path, flags, &raw const attr, size_of::<libc::mount_attr>())
    })
    .map(drop)
}

/// New namespaces for this process.
pub fn unshare(namespaces: libc::c_int) -> Result<()> {
    // SAFETY: takes an integer; no CLONE_FILES or CLONE_VM is ever asked for, so no memory or table is touched.
    check(i64::from(unsafe { libc::unshare(namespaces) })).map(drop)
}

/// Makes `target` a copy of `fd`, open across exec. The caller knows that nothing owns `target`.
pub fn place(fd: impl AsFd, target: RawFd) -> Result<()> {
    // SAFETY: dup2 on descriptors; the caller's word that target has no owner keeps ownership sound.
    check(i64::from(unsafe { libc::dup2(fd.as_fd().as_raw_fd(), target) })).map(drop)
}

/// Closes every descriptor but those of `kept`, which must be sorted. Only for a forked child that never drops the
/// owners it inherited: it ends in [`end`] or in an exec.
pub fn close_all_but(kept: &[RawFd]) {
    let mut from = 0;
    for fd in kept.iter().copied().chain([RawFd::MAX]) {
        if from < fd {
            // SAFETY: takes integers. Owners of what is closed never run again in this process, see above.
            unsafe { libc::syscall(libc::SYS_close_range, from, fd - 1, 0) };
        }
        from = fd.saturating_add(1);
    }
}

/// Ends this process at once, without destructors or exit handlers: for forked children.
pub fn end(code: i32) -> ! {
    // SAFETY: never returns and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Gives every signal its default action and unblocks all.
pub fn reset_signals() {
    // The kernel's own call, because the C library keeps two signals to itself. All-zero is SIG_DFL with no flags, in
    // more room than the kernel's struct takes on any architecture.
    let default = [0_u64; 8];
    for signal in 1..=64 {
        // SAFETY: default outlives the call; signals that cannot be changed answer an error that changes nothing.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8) };
    }
    // SAFETY: an all-zero set is made empty by the call, and outlives its use.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Children that end are buried by the kernel, those adopted as well.
pub fn ignore_children() {
    // SAFETY: sets a disposition that runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

fn prctl(option: libc::c_int, argument: libc::c_ulong) -> Result<()> {
    // SAFETY: only called below with options whose arguments are integers.
    check(i64::from(unsafe { libc::prctl(option, argument, 0, 0, 0) })).map(drop)
}

/// Takes every capability but those of `kept` out of the bounding set. Needs `CAP_SETPCAP` in the present user namespace.
pub fn empty_bounding_set(kept: &[CapabilitySet]) -> Result<()> {
    for capability in (0..64).filter(|capability| !kept.iter().any(|kept| kept.bits() == 1 << capability)) {
        match prctl(libc::PR_CAPBSET_DROP, capability) {
            // The kernel knows no capability of this number nor any higher.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

/// Root has no powers by being root, and no ambient capability can be raised: for good.
pub fn lock_secure_bits() -> Result<()> {
    const NOROOT_AND_LOCK: libc::c_ulong = 0b11;
    const NO_AMBIENT_AND_LOCK: libc::c_ulong = 0b1100_0000;
    prctl(libc::PR_SET_SECUREBITS, NOROOT_AND_LOCK | NO_AMBIENT_AND_LOCK)
}

/// The version of Landlock that the kernel has; negative where it has none.
pub fn landlock_version() -> i64 {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag nothing is read: it takes no attributes.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u64>(), 0_usize, VERSION) }
}

/// A set of Landlock's rules without any exception: none of `files` is allowed, and `scoped` ends at the domain.
pub fn landlock_ruleset(files: u64, scoped: u64) -> Result<OwnedFd> {
    let attributes = [files, 0, scoped];
    // Older kernels know fewer fields, and take more as long as they are zero.
    let size = if scoped == 0 { size_of::<u64>() } else { size_of_val(&attributes) };
    // SAFETY: the attributes outlive the call and are at least as long as it says.
    let fd = check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, attributes.as_ptr(), size, 0) })?;
    // SAFETY: the kernel has just opened it for us, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Enters the domain of a set of rules, for good. Needs no_new_privs.
pub fn landlock_enter(ruleset: impl AsFd) -> Result<()> {
    // SAFETY: takes integers.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_fd().as_raw_fd(), 0) }).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub fn loopback_up() -> Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name: &CStr = c"lo";
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which outlives the call.
    check(i64::from(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }))
        .map(drop)
}

/// A child that has ended.
pub struct Ended {
    pub pid: i32,
    /// The raw wait status.
    pub status: i32,
    /// User and system time of it and of all it waited for.
    pub cpu_us: u64,
    /// The most that one of these had resident.
    pub resident_bytes_peak: u64,
}

/// Waits for a child: any (`-1`) or the one given.
pub fn wait(pid: i32) -> Result<Ended> {
    let mut status = 0;
    // SAFETY: all-zero is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to locals that outlive the call.
        match check(i64::from(unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) })) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(pid) => {
                let us = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
                let cpu_us = us(usage.ru_utime) + us(usage.ru_stime);
                return Ok(Ended {
                    pid: pid as i32,
                    status,
                    cpu_us,
                    resident_bytes_peak: usage.ru_maxrss as u64 * 1024,
                });
            }
        }
    }
}

/// The sandbox's end from the raw wait status of its program.
pub fn status_of(raw: i32) -> crate::Status {
    if libc::WIFSIGNALED(raw) {
        crate::Status::Signalled(libc::WTERMSIG(raw))
    } else {
        crate::Status::Exited(libc::WEXITSTATUS(raw))
    }
}
