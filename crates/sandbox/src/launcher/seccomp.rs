//! The filters of `allowed` and `filter` in the words of OCI runtimes, which know calls by name.

use super::filter::NAMESPACES;
use serde_json::{Value, json};

/// As in `allowed`.
const ALLOWED: &str = "\
    read write close fstat lseek pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2 dup dup3 fcntl \
    ioctl flock fsync fdatasync sync syncfs sync_file_range truncate ftruncate fadvise64 readahead getdents64 \
    getcwd chdir fchdir fchmod fchmodat fchown fchownat umask statfs fstatfs statx newfstatat openat openat2 \
    mkdirat mknodat unlinkat renameat renameat2 linkat symlinkat readlinkat faccessat faccessat2 utimensat \
    close_range setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr \
    removexattr lremovexattr fremovexattr copy_file_range sendfile splice tee vmsplice pipe2 memfd_create \
    inotify_init1 inotify_add_watch inotify_rm_watch io_setup io_destroy io_submit io_cancel io_getevents \
    io_pgetevents fchmodat2 cachestat mmap mprotect munmap brk mremap msync mincore madvise mlock mlock2 \
    mlockall munlock munlockall mbind get_mempolicy set_mempolicy remap_file_pages pkey_alloc pkey_free \
    pkey_mprotect membarrier map_shadow_stack mseal shmget shmat shmctl shmdt clone execve execveat exit \
    exit_group wait4 waitid getpid getppid gettid getpgid setpgid getsid setsid set_tid_address \
    set_robust_list get_robust_list rseq prctl personality pidfd_open pidfd_send_signal futex futex_waitv \
    futex_wake futex_wait futex_requeue sched_yield sched_setparam sched_getparam sched_setscheduler \
    sched_getscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_setaffinity \
    sched_getaffinity sched_setattr sched_getattr getpriority setpriority ioprio_get ioprio_set getrlimit \
    setrlimit prlimit64 getrusage times getcpu kill tkill tgkill rt_sigaction rt_sigprocmask rt_sigreturn \
    rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo rt_sigsuspend sigaltstack signalfd4 \
    restart_syscall getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid \
    setregid setresuid setresgid setgroups setfsuid setfsgid capget capset seccomp landlock_create_ruleset \
    landlock_add_rule landlock_restrict_self socket socketpair connect accept accept4 bind listen shutdown \
    sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg getsockname getpeername setsockopt getsockopt pselect6 \
    ppoll epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 eventfd2 semget semop semctl semtimedop msgget \
    msgsnd msgrcv msgctl mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr nanosleep \
    clock_nanosleep clock_gettime clock_getres gettimeofday getitimer setitimer timer_create timer_settime \
    timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime timerfd_gettime uname sysinfo \
    getrandom open creat stat lstat access pipe select poll pause alarm fork vfork getdents rename mkdir rmdir \
    link unlink symlink readlink chmod chown lchown getpgrp utime utimes futimesat mknod arch_prctl time dup2 \
    epoll_create epoll_wait inotify_init signalfd eventfd";
/// As in `filter`.
const DENIED: &str = "\
    mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr unshare \
    setns name_to_handle_at open_by_handle_at fanotify_init quotactl quotactl_fd swapon swapoff acct ptrace \
    process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp bpf perf_event_open kexec_load \
    kexec_file_load init_module finit_module delete_module syslog reboot lookup_dcookie add_key request_key \
    keyctl io_uring_setup io_uring_enter io_uring_register userfaultfd vhangup settimeofday clock_settime \
    adjtimex clock_adjtime sethostname setdomainname migrate_pages move_pages iopl ioperm modify_ldt uselib \
    ustat _sysctl";

/// Sockets that pass; `filter` has those that do not.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// Of an argument's bits, those that the kernel looks at where it takes an `int`.
const INT: u64 = 0xffff_ffff;

/// A runtime's `linux.seccomp`. Every rule has one condition: of several on one argument runtimes make either all of them or
/// any of them. Names that it does not know it leaves out.
pub fn profile() -> Value {
    let names = |text: &'static str, but: &[&str]| -> Vec<&str> {
        text.split_ascii_whitespace().filter(|name| !but.contains(name)).collect()
    };
    let errno = |names: Vec<&str>, errno: i32| json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno});
    let allow_if = |name: &str, holds: Value| json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": [holds]});
    let bits = |index: u8, mask: u64, are: u64| json!({"index": index, "value": mask, "valueTwo": are, "op": "SCMP_CMP_MASKED_EQ"});
    let flags = NAMESPACES.iter().fold(0, |all, flag| all | *flag as u64);
    let mut calls = vec![
        json!({"names": names(ALLOWED, &["clone", "socket", "personality", "ioctl"]), "action": "SCMP_ACT_ALLOW"}),
        errno(names(DENIED, &[]), libc::EPERM),
        errno(vec!["fallocate"], libc::EOPNOTSUPP),
        allow_if("clone", bits(0, flags, 0)),
    ];
    calls.extend(FAMILIES.map(|family| allow_if("socket", bits(0, INT, family as u64))));
    calls.extend([0, INT].map(|plain| allow_if("personality", bits(0, INT, plain))));
    // All requests but two, which have all but their last four bits in common.
    let (typing, shared) = ([libc::TIOCSTI, libc::TIOCLINUX], libc::TIOCSTI & !0xf);
    let unlike = (4..32).map(|bit| 1_u64 << bit).map(|bit| allow_if("ioctl", bits(1, bit, !shared & bit)));
    let near = (shared..=shared | 0xf).filter(|request| !typing.contains(request));
    calls.extend(unlike.chain(near.map(|request| allow_if("ioctl", bits(1, INT, request)))));
    json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": libc::ENOSYS, "syscalls": calls})
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The names in a list of `libc::SYS_…`, as its source has them.
    fn listed(source: &str, end: &str) -> BTreeSet<String> {
        let source = source.split(end).next().expect("a beginning");
        let word = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
        source.split("libc::SYS_").skip(1).map(word).collect()
    }

    #[test]
    fn names_what_the_filters_number() {
        let names = |text: &str| text.split_ascii_whitespace().map(str::to_owned).collect::<BTreeSet<_>>();
        // Those that libc does not name everywhere.
        const BEYOND: [&str; 9] = [
            "cachestat",
            "fchmodat2",
            "futex_requeue",
            "futex_wait",
            "futex_waitv",
            "futex_wake",
            "io_pgetevents",
            "map_shadow_stack",
            "mseal",
        ];
        let mut allowed = listed(include_str!("allowed.rs"), "// The same numbers");
        allowed.extend(BEYOND.map(str::to_owned));
        assert_eq!(names(ALLOWED), allowed);
        // What passes by its arguments, as a runtime puts it together: whatever rule holds lets it through.
        let profile = profile();
        let passes = |call: &str, index: u64, argument: u64| {
            let rules = profile["syscalls"].as_array().expect("rules").iter().filter(|rule| rule["names"][0] == call);
            let of = |value: &Value| value.as_u64().expect("a number");
            rules
                .flat_map(|rule| rule["args"].as_array().expect("conditions"))
                .any(|held| of(&held["index"]) == index && argument & of(&held["value"]) == of(&held["valueTwo"]))
        };
        for request in [0, 0x5401, 0x5411, 0x5413, 0x541b, 0x541d, 0x5452, 0x8912, 0xffff_ffff, 0x1_0000_5401] {
            assert!(passes("ioctl", 1, request), "{request:x}");
        }
        for request in [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSTI | 1 << 32, libc::TIOCLINUX | 7 << 40] {
            assert!(!passes("ioctl", 1, request), "{request:x}");
        }
        let sockets = |family: i32| passes("socket", 0, family as u64) || passes("socket", 0, 1 << 32 | family as u64);
        assert!(FAMILIES.into_iter().all(sockets) && !super::super::filter::FAMILIES.into_iter().any(sockets));
        assert!(passes("clone", 0, 17) && NAMESPACES.iter().all(|flag| !passes("clone", 0, *flag as u64 | 17)));
        assert_eq!(names(DENIED), listed(include_str!("filter.rs"), "/// `clone` that asks"));
    }
}
