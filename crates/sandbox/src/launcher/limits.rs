//! What each process of a sandbox is limited in by itself, besides the limits of the whole (`cgroup`, `census`).

use super::inside::Plan;
use rustix::process::{Resource, Rlimit};

/// Locked memory is counted with the rest; this is what hosts give to users.
const LOCKED_BYTES_MAX: u64 = 8 << 20;
/// Messages in POSIX queues, in bytes, and signals that wait: both are the kernel's memory.
const QUEUED_BYTES_MAX: u64 = 800 << 10;
const SIGNALS_MAX: u64 = 4096;

/// Sets them on this process, for all that it starts, for good.
pub fn set(plan: &Plan<'_>) -> rustix::io::Result<()> {
    let limits = &plan.spec.limits;
    let set = |resource, to: u64| {
        // Never above what the launcher itself may have; that would need a right given up by now.
        let to = rustix::process::getrlimit(resource).maximum.map_or(to, |most| most.min(to));
        rustix::process::setrlimit(resource, Rlimit { current: Some(to), maximum: Some(to) })
    };
    for (resource, _, to) in of_each(plan) {
        set(resource, to)?;
    }
    // Poor substitutes where no cgroup counts. Data, not address space: interpreters reserve far more than they use.
    if plan.group.is_some_and(|group| !group.limits_memory()) {
        set(Resource::Data, limits.memory_bytes)?;
    }
    if plan.group.is_some_and(|group| !group.limits_pids()) {
        set(Resource::Nproc, limits.pids)?;
    }
    Ok(())
}

/// Those of every process, with the names that OCI runtimes know them by.
fn of_each(plan: &Plan<'_>) -> [(Resource, &'static str, u64); 8] {
    let limits = &plan.spec.limits;
    [
        (Resource::Core, "RLIMIT_CORE", 0),
        (Resource::Nofile, "RLIMIT_NOFILE", limits.open_files),
        (Resource::Fsize, "RLIMIT_FSIZE", limits.file_bytes),
        (Resource::Memlock, "RLIMIT_MEMLOCK", LOCKED_BYTES_MAX),
        (Resource::Msgqueue, "RLIMIT_MSGQUEUE", QUEUED_BYTES_MAX),
        (Resource::Sigpending, "RLIMIT_SIGPENDING", SIGNALS_MAX),
        (Resource::Nice, "RLIMIT_NICE", 0),
        (Resource::Rtprio, "RLIMIT_RTPRIO", 0),
    ]
}

/// For an OCI runtime to set.
pub fn by_name(plan: &Plan<'_>) -> impl Iterator<Item = (&'static str, u64)> {
    of_each(plan).into_iter().map(|(_, name, to)| (name, to))
}
