//! A second wall where the kernel has Landlock: what a sandbox is kept from by its namespaces and its lack of rights, it
//! is kept from by its domain as well, and with the host's network by that alone.
//!
//! No device is made, whatever file system is written to; nothing is mounted; sockets without a name in the file system
//! and signals reach only what is in the same domain. Files are not listed one by one: what is seen at all is decided by
//! the root that the sandbox has, which a copy changes after it has got its domain.

use super::sys;
use std::os::fd::OwnedFd;

const MAKE_CHARACTER_DEVICE: u64 = 1 << 6;
const MAKE_BLOCK_DEVICE: u64 = 1 << 11;
const SCOPE_ABSTRACT_SOCKETS: u64 = 1 << 0;
const SCOPE_SIGNALS: u64 = 1 << 1;
/// The kernel's version of the interface that first knows scopes.
const VERSION_OF_SCOPES: i64 = 6;

/// The domain of every function, to be entered; `None` where the kernel has no Landlock.
pub fn domain() -> Option<OwnedFd> {
    let scoped = if sys::landlock_version() >= VERSION_OF_SCOPES { SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS } else { 0 };
    sys::landlock_ruleset(MAKE_CHARACTER_DEVICE | MAKE_BLOCK_DEVICE, scoped).ok()
}

/// Whether the kernel has all of it.
pub fn is_whole() -> bool {
    sys::landlock_version() >= VERSION_OF_SCOPES
}
