//! The seccomp filters: what a function has no business asking the kernel for.
//!
//! A list of what passes (`allowed`), and before it a list of what is denied in so many words: everything by which a
//! process changes what it is isolated from, reaches another process or the machine, or that has been a door out of
//! sandboxes more than once (io_uring, userfaultfd, keyrings, foreign sockets). Denied calls answer EPERM, so that
//! programs that merely try go on; those on neither list ENOSYS; calls of a foreign architecture or the x32 table kill,
//! because the numbers below do not mean there what they mean here.

use super::allowed;
use crate::Role;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, TargetArch, sock_filter};
use std::collections::BTreeMap;

/// Denied whatever the arguments.
const DENIED: &[libc::c_long] = &[
    // What is seen of the file system, and of others' namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_syslog,
    libc::SYS_reboot,
    libc::SYS_lookup_dcookie,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    // The machine's clock and name.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Memory policy of the machine's nodes.
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
];

#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[libc::c_long] =
    &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_uselib, libc::SYS_ustat, libc::SYS__sysctl];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[libc::c_long] = &[];

/// `clone` that asks for a namespace. (`CLONE_NEWTIME` shares its bit with the exit signal and cannot be asked so.)
pub const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];
/// Sockets that no namespace confines (a VM's host, kernel crypto, …) or that only an administrator needs.
pub const FAMILIES: [libc::c_int; 8] = [
    libc::AF_VSOCK,
    libc::AF_ALG,
    libc::AF_PACKET,
    libc::AF_KEY,
    libc::AF_XDP,
    libc::AF_TIPC,
    libc::AF_BLUETOOTH,
    libc::AF_CAN,
];

/// What an errand has no use for beside the above: other programs and processes, sockets (but for pairs, which lead nowhere, and
/// which async runtimes wake themselves by), and memory that no bound of a process counts.
const DENIED_TO_ERRANDS: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_socket,
    libc::SYS_memfd_create,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    libc::SYS_kill,
    libc::SYS_pidfd_open,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
];
#[cfg(target_arch = "x86_64")]
const DENIED_TO_ERRANDS_HERE: &[libc::c_long] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_TO_ERRANDS_HERE: &[libc::c_long] = &[];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The filters, made once; each sandbox installs all of a role.
pub struct Filters {
    instance: Vec<BpfProgram>,
    template: Vec<BpfProgram>,
}

impl Filters {
    pub fn new() -> Result<Self, String> {
        Ok(Self { instance: programs(Role::Instance)?, template: programs(Role::Template)? })
    }

    fn of(&self, role: Role) -> &[BpfProgram] {
        match role {
            Role::Template => &self.template,
            Role::Instance | Role::Base | Role::Cell => &self.instance,
        }
    }

    /// Installs them on this process, for good; no_new_privs comes with it.
    pub fn apply(&self, role: Role) -> Result<(), String> {
        self.of(role)
            .iter()
            .try_for_each(|program| seccompiler::apply_filter(program))
            .map_err(|error| error.to_string())
    }

    /// As the kernel takes them (`struct sock_filter[]`), for a process that has them from elsewhere.
    pub fn in_hex(&self, role: Role) -> Vec<String> {
        let bytes = |one: &sock_filter| {
            [one.code.to_ne_bytes(), [one.jt, one.jf]].concat().into_iter().chain(one.k.to_ne_bytes())
        };
        let hex = |program: &BpfProgram| program.iter().flat_map(bytes).map(|byte| format!("{byte:02x}")).collect();
        self.of(role).iter().map(hex).collect()
    }
}

fn programs(role: Role) -> Result<Vec<BpfProgram>, String> {
    let mut denied = [DENIED, DENIED_HERE].concat();
    // A template's copies enter the sandboxes made for them; its rights reach into no others.
    let more: &[libc::c_long] = if role == Role::Template { &[libc::SYS_setns] } else { &[] };
    denied.retain(|call| !more.contains(call));
    Ok(vec![allowed::program(&denied, more), program(by_arguments()?)?])
}

/// Installs on this process, for good, what an errand is let through with: threads, files and memory.
pub fn apply_to_errand() -> Result<(), String> {
    let denied = [DENIED, DENIED_HERE, DENIED_TO_ERRANDS, DENIED_TO_ERRANDS_HERE].concat();
    let mut rules = by_arguments()?;
    // Of `clone`, what makes no thread.
    let none = SeccompCondition::new(0, Qword, MaskedEq(libc::CLONE_THREAD as u64), 0).map_err(|e| e.to_string())?;
    rules.entry(libc::SYS_clone).or_default().push(SeccompRule::new(vec![none]).map_err(|e| e.to_string())?);
    [allowed::program(&denied, &[]), program(rules)?]
        .iter()
        .try_for_each(|program| seccompiler::apply_filter(program))
        .map_err(|error| error.to_string())
}

/// Denied for what they are given.
fn by_arguments() -> Result<Rules, String> {
    let mut rules = Rules::new();
    let fails = |error: seccompiler::BackendError| error.to_string();
    let mut deny_if = |call: libc::c_long, argument, length, operator, value: u64| {
        let condition = SeccompCondition::new(argument, length, operator, value).map_err(fails)?;
        rules.entry(call).or_default().push(SeccompRule::new(vec![condition]).map_err(fails)?);
        Ok::<(), String>(())
    };
    for flag in NAMESPACES {
        deny_if(libc::SYS_clone, 0, Qword, MaskedEq(flag as u64), flag as u64)?;
    }
    for family in FAMILIES {
        deny_if(libc::SYS_socket, 0, Dword, Eq, family as u64)?;
    }
    // Typing into a terminal that someone else reads.
    for request in [libc::TIOCSTI, libc::TIOCLINUX] {
        deny_if(libc::SYS_ioctl, 1, Dword, Eq, request)?;
    }
    // Only the plain personality, and asking which it is.
    let other = [0, 0xffff_ffff].map(|value| SeccompCondition::new(0, Dword, Ne, value));
    let other = other.into_iter().collect::<Result<Vec<_>, _>>().map_err(fails)?;
    rules.insert(libc::SYS_personality, vec![SeccompRule::new(other).map_err(fails)?]);
    Ok(rules)
}

fn program(rules: Rules) -> Result<BpfProgram, String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32), arch)
        .and_then(BpfProgram::try_from)
        .map_err(|error| error.to_string())
}
