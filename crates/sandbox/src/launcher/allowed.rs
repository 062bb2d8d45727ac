//! What a function may ask the kernel for: everything that programs of any runtime are known to need, and nothing else.
//!
//! A call that is not here answers `ENOSYS`, as on a kernel that has not got it: libraries then do without. That is right
//! for calls that are newer than this list, and for `clone3`, whose flags lie behind a pointer where no filter sees them.
//! What is known and refused answers `EPERM` (`filter`). The x32 table kills.

use seccompiler::{BpfProgram, sock_filter};
use std::collections::BTreeMap;

/// Calls of every architecture.
#[rustfmt::skip]
const ALLOWED: &[libc::c_long] = &[
    // Files.
    libc::SYS_read, libc::SYS_write, libc::SYS_close, libc::SYS_fstat, libc::SYS_lseek, libc::SYS_pread64,
    libc::SYS_pwrite64, libc::SYS_readv, libc::SYS_writev, libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2,
    libc::SYS_pwritev2, libc::SYS_dup, libc::SYS_dup3, libc::SYS_fcntl, libc::SYS_ioctl, libc::SYS_flock,
    libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync, libc::SYS_syncfs, libc::SYS_sync_file_range,
    libc::SYS_truncate, libc::SYS_ftruncate, libc::SYS_fadvise64, libc::SYS_readahead,
    libc::SYS_getdents64, libc::SYS_getcwd, libc::SYS_chdir, libc::SYS_fchdir, libc::SYS_fchmod, libc::SYS_fchmodat,
    libc::SYS_fchown, libc::SYS_fchownat, libc::SYS_umask, libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_statx,
    libc::SYS_newfstatat, libc::SYS_openat, libc::SYS_openat2, libc::SYS_mkdirat, libc::SYS_mknodat,
    libc::SYS_unlinkat, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_linkat, libc::SYS_symlinkat,
    libc::SYS_readlinkat, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_utimensat, libc::SYS_close_range,
    libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr, libc::SYS_getxattr, libc::SYS_lgetxattr,
    libc::SYS_fgetxattr, libc::SYS_listxattr, libc::SYS_llistxattr, libc::SYS_flistxattr, libc::SYS_removexattr,
    libc::SYS_lremovexattr, libc::SYS_fremovexattr, libc::SYS_copy_file_range, libc::SYS_sendfile, libc::SYS_splice,
    libc::SYS_tee, libc::SYS_vmsplice, libc::SYS_pipe2, libc::SYS_memfd_create, libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch, libc::SYS_inotify_rm_watch, libc::SYS_io_setup, libc::SYS_io_destroy,
    libc::SYS_io_submit, libc::SYS_io_cancel, libc::SYS_io_getevents, IO_PGETEVENTS, FCHMODAT2, CACHESTAT,
    // Memory.
    libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_munmap, libc::SYS_brk, libc::SYS_mremap, libc::SYS_msync,
    libc::SYS_mincore, libc::SYS_madvise, libc::SYS_mlock, libc::SYS_mlock2, libc::SYS_mlockall, libc::SYS_munlock,
    libc::SYS_munlockall, libc::SYS_mbind, libc::SYS_get_mempolicy, libc::SYS_set_mempolicy,
    libc::SYS_remap_file_pages, libc::SYS_pkey_alloc, libc::SYS_pkey_free, libc::SYS_pkey_mprotect,
    libc::SYS_membarrier, MAP_SHADOW_STACK, MSEAL, libc::SYS_shmget, libc::SYS_shmat, libc::SYS_shmctl,
    libc::SYS_shmdt,
    // Processes and threads.
    libc::SYS_clone, libc::SYS_execve, libc::SYS_execveat, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_wait4,
    libc::SYS_waitid, libc::SYS_getpid, libc::SYS_getppid, libc::SYS_gettid, libc::SYS_getpgid, libc::SYS_setpgid,
    libc::SYS_getsid, libc::SYS_setsid, libc::SYS_set_tid_address, libc::SYS_set_robust_list,
    libc::SYS_get_robust_list, libc::SYS_rseq, libc::SYS_prctl, libc::SYS_personality, libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal, libc::SYS_futex, FUTEX_WAITV, FUTEX_WAKE, FUTEX_WAIT, FUTEX_REQUEUE,
    libc::SYS_sched_yield, libc::SYS_sched_setparam, libc::SYS_sched_getparam, libc::SYS_sched_setscheduler,
    libc::SYS_sched_getscheduler, libc::SYS_sched_get_priority_max, libc::SYS_sched_get_priority_min,
    libc::SYS_sched_rr_get_interval, libc::SYS_sched_setaffinity, libc::SYS_sched_getaffinity,
    libc::SYS_sched_setattr, libc::SYS_sched_getattr, libc::SYS_getpriority, libc::SYS_setpriority,
    libc::SYS_ioprio_get, libc::SYS_ioprio_set, libc::SYS_getrlimit, libc::SYS_setrlimit, libc::SYS_prlimit64,
    libc::SYS_getrusage, libc::SYS_times, libc::SYS_getcpu,
    // Signals.
    libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill, libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn, libc::SYS_rt_sigpending, libc::SYS_rt_sigtimedwait, libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo, libc::SYS_rt_sigsuspend, libc::SYS_sigaltstack, libc::SYS_signalfd4,
    libc::SYS_restart_syscall,
    // Users: asking, and what no capability is there for.
    libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getresuid,
    libc::SYS_getresgid, libc::SYS_getgroups, libc::SYS_setuid, libc::SYS_setgid, libc::SYS_setreuid,
    libc::SYS_setregid, libc::SYS_setresuid, libc::SYS_setresgid, libc::SYS_setgroups, libc::SYS_setfsuid,
    libc::SYS_setfsgid, libc::SYS_capget, libc::SYS_capset, libc::SYS_seccomp, libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self,
    // Sockets and events.
    libc::SYS_socket, libc::SYS_socketpair, libc::SYS_connect, libc::SYS_accept, libc::SYS_accept4, libc::SYS_bind,
    libc::SYS_listen, libc::SYS_shutdown, libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg,
    libc::SYS_sendmmsg, libc::SYS_recvmmsg, libc::SYS_getsockname, libc::SYS_getpeername, libc::SYS_setsockopt,
    libc::SYS_getsockopt, libc::SYS_pselect6, libc::SYS_ppoll, libc::SYS_epoll_create1, libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_semget, libc::SYS_semop,
    libc::SYS_semctl, libc::SYS_semtimedop, libc::SYS_msgget, libc::SYS_msgsnd, libc::SYS_msgrcv, libc::SYS_msgctl,
    libc::SYS_mq_open, libc::SYS_mq_unlink, libc::SYS_mq_timedsend, libc::SYS_mq_timedreceive, libc::SYS_mq_notify,
    libc::SYS_mq_getsetattr,
    // Time, and what the machine says of itself.
    libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_clock_gettime, libc::SYS_clock_getres,
    libc::SYS_gettimeofday, libc::SYS_getitimer, libc::SYS_setitimer, libc::SYS_timer_create,
    libc::SYS_timer_settime, libc::SYS_timer_gettime, libc::SYS_timer_getoverrun, libc::SYS_timer_delete,
    libc::SYS_timerfd_create, libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime, libc::SYS_uname,
    libc::SYS_sysinfo, libc::SYS_getrandom,
];

/// Older forms that x86-64 alone has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_HERE: &[libc::c_long] = &[
    libc::SYS_open, libc::SYS_creat, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_pipe,
    libc::SYS_select, libc::SYS_poll, libc::SYS_pause, libc::SYS_alarm, libc::SYS_fork, libc::SYS_vfork,
    libc::SYS_getdents, libc::SYS_rename, libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_link, libc::SYS_unlink,
    libc::SYS_symlink, libc::SYS_readlink, libc::SYS_chmod, libc::SYS_chown, libc::SYS_lchown, libc::SYS_getpgrp,
    libc::SYS_utime, libc::SYS_utimes, libc::SYS_futimesat, libc::SYS_mknod, libc::SYS_arch_prctl, libc::SYS_time,
    libc::SYS_dup2, libc::SYS_epoll_create, libc::SYS_epoll_wait, libc::SYS_inotify_init, libc::SYS_signalfd,
    libc::SYS_eventfd,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[libc::c_long] = &[];

// The same numbers on every architecture; not yet named everywhere.
const FUTEX_WAITV: libc::c_long = 449;
const CACHESTAT: libc::c_long = 451;
const FCHMODAT2: libc::c_long = 452;
const MAP_SHADOW_STACK: libc::c_long = 453;
const FUTEX_WAKE: libc::c_long = 454;
const FUTEX_WAIT: libc::c_long = 455;
const FUTEX_REQUEUE: libc::c_long = 456;
const MSEAL: libc::c_long = 462;
#[cfg(target_arch = "x86_64")]
const IO_PGETEVENTS: libc::c_long = 333;
#[cfg(not(target_arch = "x86_64"))]
const IO_PGETEVENTS: libc::c_long = 292;

/// The x32 table is x86-64's under other numbers, and would walk around the lists.
const X32_BIT: u32 = 0x4000_0000;

/// The filter: the calls listed here and those of `more` pass, those of `denied` answer `EPERM`, all others `ENOSYS`.
///
/// The kernel runs it once for every number when it is installed, to remember what passes whatever its arguments, and
/// each start of a sandbox waits for that. So it is a tree: eight questions for any number, not one for each on a list.
pub fn program(denied: &[libc::c_long], more: &[libc::c_long]) -> BpfProgram {
    let errno = |errno: libc::c_int| libc::SECCOMP_RET_ERRNO | errno as u32;
    let mut answers = BTreeMap::new();
    let mut answer = |calls: &[libc::c_long], with| answers.extend(calls.iter().map(|call| (*call as u32, with)));
    // It takes a whole disk in no time. As on file systems that have it not, libraries write zeros instead.
    answer(&[libc::SYS_fallocate], errno(libc::EOPNOTSUPP));
    [ALLOWED, ALLOWED_HERE, more].iter().for_each(|calls| answer(calls, libc::SECCOMP_RET_ALLOW));
    answer(denied, errno(libc::EPERM));
    // From which number on which answer.
    let mut from = vec![(0, errno(libc::ENOSYS))];
    for (call, with) in answers {
        from.extend([(call, with), (call + 1, errno(libc::ENOSYS))]);
    }
    if cfg!(target_arch = "x86_64") {
        from.push((X32_BIT, libc::SECCOMP_RET_KILL_PROCESS));
    }
    // Of two for the same number the later counts, and one that changes nothing goes.
    from.reverse();
    from.dedup_by_key(|(number, _)| *number);
    from.reverse();
    from.dedup_by_key(|(_, answer)| *answer);
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    program.extend(tree(&from));
    program
}

fn step(code: u32, jt: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt, jf: 0, k }
}

fn tree(from: &[(u32, u32)]) -> BpfProgram {
    let [_, _, ..] = from else {
        return vec![step(libc::BPF_RET | libc::BPF_K, 0, from[0].1)];
    };
    let (below, above) = from.split_at(from.len() / 2);
    let below = tree(below);
    // The lists would have to be four times as long for this not to fit.
    let jump = u8::try_from(below.len()).expect("a jump over half of the tree");
    let mut all = vec![step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, jump, above[0].0)];
    all.extend(below);
    all.extend(tree(above));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter answers to a call, and after how many steps.
    fn answer(program: &BpfProgram, call: u32) -> (u32, usize) {
        let (mut at, mut steps) = (1, 1);
        loop {
            let step = &program[at];
            if u32::from(step.code) == libc::BPF_RET | libc::BPF_K {
                return (step.k, steps);
            }
            at += 1 + usize::from(if call >= step.k { step.jt } else { step.jf });
            steps += 1;
        }
    }

    #[test]
    fn lets_through_what_is_listed_and_nothing_else() {
        let denied = [libc::SYS_mount, libc::SYS_bpf, libc::SYS_keyctl];
        let filter = program(&denied, &[libc::SYS_setns]);
        for call in 0..1000 {
            let number = libc::c_long::from(call);
            let listed = [ALLOWED, ALLOWED_HERE].concat().contains(&number) || number == libc::SYS_setns;
            let expect = match denied.contains(&number) {
                true => libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
                false if listed => libc::SECCOMP_RET_ALLOW,
                false if number == libc::SYS_fallocate => libc::SECCOMP_RET_ERRNO | libc::EOPNOTSUPP as u32,
                false => libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
            };
            let (answer, steps) = answer(&filter, call);
            assert!(answer == expect && steps < 12, "{call}: {answer:x} after {steps}");
        }
        assert!(![ALLOWED, ALLOWED_HERE].concat().contains(&libc::SYS_clone3));
        if cfg!(target_arch = "x86_64") {
            assert_eq!(answer(&filter, X32_BIT + 39).0, libc::SECCOMP_RET_KILL_PROCESS);
        }
    }
}
