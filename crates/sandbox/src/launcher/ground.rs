//! What this machine lets us promise: tried, not guessed, once at the launcher's start.

use super::cgroup::Hierarchy;
use super::{landlock, sys};
use crate::{Kept, Network, Promise, Role, Spec};

/// The namespaces of every sandbox. Its network is per spec, its cgroup namespace is made once it has joined.
const NAMESPACES: libc::c_int = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// The namespaces that a sandbox's init is forked into. A base has the host's processes above it, because a process can
/// be copied only into namespaces of processes below its own.
pub fn namespaces(spec: &Spec, root: bool) -> libc::c_int {
    let pids = if spec.role == Role::Base { !libc::CLONE_NEWPID } else { !0 };
    // With root the network is made before, and the user namespace comes last, so that the others belong to the host's.
    let network = if spec.network != Network::Host && !root { libc::CLONE_NEWNET } else { 0 };
    let user = if root { 0 } else { libc::CLONE_NEWUSER };
    NAMESPACES & pids | network | user
}

/// What a node that strangers reach cannot do without.
const VITAL: [&str; 5] = [
    "namespaces and a root of its own",
    "no capabilities, no_new_privs",
    "system call filter",
    "memory limit",
    "process limit",
];

/// Forks a child into every namespace a sandbox needs and lets it end.
fn try_namespaces(root: bool) -> std::io::Result<()> {
    let user = if root { 0 } else { libc::CLONE_NEWUSER };
    match sys::fork(NAMESPACES | libc::CLONE_NEWNET | user)? {
        sys::Fork::Child => sys::end(i32::from(root && sys::unshare(libc::CLONE_NEWUSER).is_err())),
        sys::Fork::Parent { pid, .. } => match sys::wait(pid)?.status {
            0 => Ok(()),
            _ => Err(std::io::Error::from_raw_os_error(libc::EPERM)),
        },
    }
}

/// Whether sandboxes have clocks of their own: without root that right comes with their user namespace.
fn has_clocks() -> bool {
    std::fs::exists("/proc/self/ns/time_for_children").unwrap_or(false)
}

/// The promises, strongest first; `egress` says whether networks lead out, where any is to.
pub fn promises(root: bool, hierarchy: &Hierarchy, egress: Option<&Result<(), String>>) -> Vec<Promise> {
    let kept = |yes: bool, or: Kept| if yes { Kept::Yes } else { or };
    let promise = |name: &str, kept: Kept, remedy: &str| {
        let remedy = (kept != Kept::Yes).then(|| remedy.to_owned());
        Promise { name: name.to_owned(), kept, vital: VITAL.contains(&name), remedy }
    };
    let isolated = match try_namespaces(root) {
        Ok(()) => Kept::Yes,
        Err(error) => Kept::No(format!("the kernel refuses to make them: {error}")),
    };
    let filters = std::fs::metadata("/proc/sys/kernel/seccomp/actions_avail").is_ok();
    let shared = "all sandboxes run as the node's own user and in its groups, parted by namespaces only".to_owned();
    let per_process = "per process, not for the sandbox as a whole; passing it is not told as out of memory".to_owned();
    let delegate = "run as root, or give the node a cgroup with memory and pids (systemd: Delegate=yes)";
    let mut promises = vec![
        promise(
            "namespaces and a root of its own",
            isolated,
            "run as root, or allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns)",
        ),
        promise("no capabilities, no_new_privs", Kept::Yes, ""),
        promise(
            "system call filter",
            kept(filters, Kept::No("the kernel has no seccomp filters".into())),
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ),
        promise("a user of its own", kept(root, Kept::Weaker(shared)), "run as root"),
        promise("memory limit", kept(hierarchy.limits_memory(), Kept::Weaker(per_process.clone())), delegate),
        promise("process limit", kept(hierarchy.limits_pids(), Kept::Weaker("per user namespace".into())), delegate),
        promise(
            "processor share",
            kept(hierarchy.shares_cpu(), Kept::Weaker("the same for all, whatever their memory, of all cores".into())),
            delegate,
        ),
        promise(
            "/tmp of bounded size",
            kept(
                root,
                Kept::Weaker("files that have been removed, and closed while they are mapped, are not counted".into()),
            ),
            "run as root",
        ),
        promise(
            "a landlock domain",
            kept(landlock::is_whole(), Kept::Weaker("the kernel has no Landlock of version 6 or above".into())),
            "use Linux 6.12 or above with CONFIG_SECURITY_LANDLOCK, and landlock in its lsm= list",
        ),
        promise(
            "time of its own",
            kept(has_clocks(), Kept::Weaker("the host's uptime is seen".into())),
            "use a kernel with CONFIG_TIME_NS",
        ),
    ];
    promises.extend(egress.map(|leads_out| {
        let kept = leads_out.clone().map_or_else(Kept::No, |()| Kept::Yes);
        promise("networks that lead out, each as its policy says", kept, "install nftables, and run as root")
    }));
    promises
}
