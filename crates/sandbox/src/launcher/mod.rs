//! The launcher: a single-threaded process that raises sandboxes for the node.

/// The launcher's entry. The binary calls it when its first argument is [`crate::LAUNCHER_ARG`], before any thread or
/// runtime exists. The socket to the node is descriptor 0.
pub fn launcher_main() -> ! {
    std::process::exit(2)
}
