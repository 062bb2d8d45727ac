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
    set(Resource::Core, 0)?;
    set(Resource::Nofile, limits.open_files)?;
    set(Resource::Fsize, limits.file_bytes)?;
    set(Resource::Memlock, LOCKED_BYTES_MAX)?;
    set(Resource::Msgqueue, QUEUED_BYTES_MAX)?;
    set(Resource::Sigpending, SIGNALS_MAX)?;
    set(Resource::Nice, 0)?;
    set(Resource::Rtprio, 0)?;
    // Poor substitutes where no cgroup counts. Data, not address space: interpreters reserve far more than they use.
    if plan.group.is_some_and(|group| !group.limits_memory()) {
        set(Resource::Data, limits.memory_bytes)?;
    }
    if plan.group.is_some_and(|group| !group.limits_pids()) {
        set(Resource::Nproc, limits.pids)?;
    }
    Ok(())
}
