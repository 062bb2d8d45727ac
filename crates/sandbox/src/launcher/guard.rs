//! The guard: the process between the node and the launcher, which buries whoever loses its parent.
//!
//! The end of a pid namespace waits until each process in it has been asked for by its parent. The copies of a base have
//! the base for a parent, and inits have the launcher; when one of these is killed, that falls to the next ancestor that
//! takes orphans. Without a guard it is the machine's first process, which may take seconds (or, in a container, never
//! do it), and all that the launcher raised is not gone until then.

use super::sys;
use rustix::process::{Pid, Signal};

/// Leaves the launcher to go on in a child; this process stays until the child has ended and nobody is left to bury, and
/// ends as it did.
///
/// # Errors
/// The fork failed.
pub fn stand() -> std::io::Result<()> {
    let guard = std::process::id();
    let Some(launcher) = sys::fork_plain()? else {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before that.
        let alone = rustix::process::getppid().is_none_or(|parent| parent.as_raw_nonzero().get() as u32 != guard);
        return if alone { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) };
    };
    // The launcher alone holds its socket: the node notices its end by that.
    let _ = sys::place(std::fs::File::open("/dev/null")?, 0);
    let _ = rustix::process::set_child_subreaper(Pid::from_raw(1));
    let mut code = 1;
    while let Ok(ended) = sys::wait(-1) {
        if ended.pid == launcher {
            code = i32::from(ended.status != 0);
        }
    }
    std::process::exit(code)
}
